"""Tests, laid out like the package; what they share is imported from here."""
