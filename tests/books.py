"""The book as its generator reads it, once for all tests of a process, which only look at it."""

from functools import cache

from tools.generator.book import Book

book = cache(Book)
