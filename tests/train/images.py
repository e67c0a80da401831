"""The digits, read once for all tests of a process, which copy what they take."""

from functools import cache

from companion.data import digits

images = cache(lambda: digits(flatten=True))
