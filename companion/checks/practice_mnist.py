"""Checks of the exercises of the chapter on MNIST."""

import math
import statistics

from companion.checks import against


@against(
    [(0.01, 1e-4, 10_000), (1.0, 0.1, 3), (0.5, 0.01, 1)],
    hint="each step multiplies the weights by one minus its step size times the decay; the first "
    "step is t = 1",
)
def check_shrinkage(alpha, decay, steps):
    """Exercise 1: what decoupled decay leaves of a weight, with step sizes α/√t."""
    return math.prod(1 - alpha * decay / math.sqrt(t) for t in range(1, steps + 1))


@against(
    [
        ([1.9, 2.1, 1.7], [2.0, 2.0, 2.0], 4.303),
        ([1.0, 2.0, 3.0, 4.0], [1.2, 2.1, 3.2, 4.1], 3.182),
    ],
    hint={
        "mean": "the mean of a - b, seed by seed",
        "half": "the standard deviation of the differences, over k - 1, by the root of k, times t",
    },
)
def check_half_width(a, b, t):
    """Exercise 2: mean difference over seeds, and half the width of its interval."""
    d = [x - y for x, y in zip(a, b, strict=True)]
    return statistics.mean(d), t * statistics.stdev(d) / math.sqrt(len(d))
