"""Kernels made from rules."""
