"""Checks of the exercises of the chapter on tuning Adam."""

import math
import statistics

from companion.checks import against

SHARED = [0.1, 1.0, 10.0, 100.0]  # what a seed does to both settings
INTERVAL = "take the standard deviation, over k - 1, of the differences of seeds"


@against(
    [(1000, 100, 0.9), (1077, 8, 0.0), (60_000, 64, 0.5), (100, 40, 0.9)],
    hint="n is the number of batches in an epoch, not of examples; κ depends on β₁ and on n; "
    "no rate is negative",
)
def check_beta2_floor(samples, batch, beta1):
    """Exercise 1: the threshold of β2 on the worst case, for reshuffled batches."""
    n = samples // batch
    kappa = sum((1 - beta1 ** (p + 1)) * (n - 1 - p) for p in range(n)) / (n * (n - 1))
    return max(0.0, 1 - 2 / (kappa * n**2))


@against(
    [(0.04, 0.95, 128, 8), (0.01, 0.999, 32, 64), (0.1, 0.5, 4, 4)],
    hint={
        "lr": "the root of new / old",
        "beta2": "after old / new times as many steps, the same weight must be left",
    },
)
def check_transfer(lr, beta2, old, new):
    """Exercise 2: step size and β2 for another batch size."""
    return lr * math.sqrt(new / old), beta2 ** (new / old)


@against(
    [
        (SHARED, [s * f for s, f in zip(SHARED, [1.1, 1.2] * 2, strict=True)], 3.182),
        ([1.0, 2.0, 4.0], [2.0, 1.0, 2.0], 4.303),
    ],
    hint={
        "ratio": "exp of the mean of log(b/a), which is no mean of ratios and no ratio of means",
        "lower end": INTERVAL,
        "upper end": INTERVAL,
    },
)
def check_paired_ratio(a, b, t):
    """Exercise 3: paired ratio of two settings with its interval."""
    d = [math.log(y / x) for x, y in zip(a, b, strict=True)]
    mean, half = statistics.mean(d), t * statistics.stdev(d) / math.sqrt(len(d))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


@against(
    [(0.01, 1e-8, 64), (0.3, 1e-3, 10)],
    hint={
        "lr": "does Adam's step grow with the loss?",
        "eps": "the gradients shrink; what must eps do to stay as large beside them?",
    },
)
def check_same_run(lr, eps, batch):
    """Exercise 4: step size and ε of Adam when a loss becomes a mean instead of a sum."""
    return lr, eps / batch
