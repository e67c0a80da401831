"""Companion package of the book: optimizers, engines that run them, data, plots and checks."""

__version__ = "0.1.0"
