r"""Random numbers that are the same in Python and in the reader's browser.

A number is a function of seed, stream and index alone, so that draw i is the same whatever was
drawn before. ``static/core.js`` holds the same text in JavaScript, ``Play.draws``.
"""

import math

import numpy as np

TURNS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY = 0x1BD11BDA


def threefry(counter, key):
    """Return two words of 32 bits from a counter and a key: Threefry-2x32 with 20 rounds.

    Parameters
    ----------
    counter, key : pair of array_like
        Two words each, whole numbers below 2³², that broadcast.

    Returns
    -------
    pair of ndarray of uint32

    Notes
    -----
    Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).

    Examples
    --------
    >>> [hex(word.item()) for word in threefry((0, 0), (0, 0))]
    ['0x6b200159', '0x99ba4efe']
    """
    a, b = (np.atleast_1d(np.asarray(word, dtype=np.uint32)) for word in counter)
    k = [np.atleast_1d(np.asarray(word, dtype=np.uint32)) for word in key]
    k.append(k[0] ^ k[1] ^ np.uint32(PARITY))
    a, b = a + k[0], b + k[1]
    for i in range(20):
        turn = TURNS[i % 8]
        a = a + b
        b = ((b << np.uint32(turn)) | (b >> np.uint32(32 - turn))) ^ a
        if i % 4 == 3:
            n = (i + 1) // 4
            a, b = a + k[n % 3], b + k[(n + 1) % 3] + np.uint32(n)
    return a, b


class Draws:
    """A stream of random numbers, that of ``Play.draws(seed, stream)`` in the browser.

    Parameters
    ----------
    seed, stream : int
        Whole numbers from 0 to 2³² - 1. Streams of one seed are independent.

    Attributes
    ----------
    index : int
        The number of uniforms drawn so far; it may be set.

    Notes
    -----
    An array holds what as many single draws would give, in the order of its memory. Cost: about
    0.2 µs a number. Source: `threefry`.

    Examples
    --------
    >>> draws = Draws(0)
    >>> first = draws.uniform(3)
    >>> draws.index = 2
    >>> bool(draws.uniform() == first[2])
    True
    """

    def __init__(self, seed: int, stream: int = 0):
        for name, value in (("seed", seed), ("stream", stream)):
            if isinstance(value, bool) or int(value) != value or not 0 <= value < 1 << 32:
                raise ValueError(
                    f"{name} must be a whole number from 0 to 2**32 - 1, got {value!r}"
                )
        self.key, self.index = (int(seed), int(stream)), 0

    def uniform(self, shape=()) -> np.ndarray:
        """Return numbers of 53 bits, uniform on [0, 1); one number without a shape."""
        count = math.prod(np.atleast_1d(np.asarray(shape, dtype=int)).tolist())
        i = np.arange(self.index, self.index + count, dtype=np.uint64)
        self.index += count
        low, high = i & np.uint64(0xFFFFFFFF), i >> np.uint64(32)
        a, b = threefry((low, high), self.key)
        bits = (a >> np.uint32(5)).astype(np.float64) * 2.0**26 + (b >> np.uint32(6))
        return (bits / 2.0**53).reshape(shape)[()]

    def normal(self, shape=()) -> np.ndarray:
        """Return standard normal numbers: √(-2 log(1 - u)) cos(2π w) of two uniforms u, w each."""
        pairs = self.uniform((*np.atleast_1d(np.asarray(shape, dtype=int)), 2))
        radius = np.sqrt(-2 * np.log(1 - pairs[..., 0]))
        return (radius * np.cos(2 * np.pi * pairs[..., 1])).reshape(shape)[()]

    def integers(self, n: int, shape=()) -> np.ndarray:
        """Return whole numbers from 0 to n - 1, for n up to 2⁵³."""
        return np.floor(self.uniform(shape) * n).astype(np.int64)[()]

    def permutation(self, n: int) -> np.ndarray:
        """Return 0, …, n - 1 in random order, by n - 1 uniforms.

        Fisher and Yates: places n - 1, n - 2, …, 1 in turn change with one not above them.
        """
        order, places = np.arange(n), np.arange(n - 1, 0, -1)
        partners = np.floor(self.uniform(len(places)) * (places + 1)).astype(np.int64)
        for i, j in zip(places.tolist(), partners.tolist(), strict=True):
            order[[i, j]] = order[[j, i]]
        return order
