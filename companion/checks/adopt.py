"""Checks of the exercises of the chapter on ADOPT."""

import math

from companion.checks import against, check, double, expect_rule
from companion.optim import ADOPT


@check
def check_adopt(rule):
    """Exercise 1: ADOPT without clip, ``rule(x, g, m, v, t, lr, beta1, beta2, eps)``."""
    hint = "divide by the v of before, then average; eps is a floor; the first call only sets v"
    # A floor that is often reached, and an addition that would be seen.
    expect_rule(rule, ADOPT, lr=0.1, betas=(0.8, 0.5), eps=0.7, clip_lambda=None, hint=hint)


@against(
    [2, 3, 10, 50],
    hint={
        "Adam": "what is g / |g|?",
        "ADOPT": "the two gradients are independent, and the mean of g is one",
    },
)
def check_mean_steps(k):
    """Exercise 2: the mean normalised gradients of Adam and ADOPT with no memory, on the toy."""
    return 2 / k - 1, 1 / k**3 + (k - 1) / k**2


@against([3, 10, 50], hint="solve D(c) > 0 for c; the call t has the clip (t - 1)^(1/4); round up")
def check_first_right_call(k):
    """Exercise 3: the first call at which the mean clipped gradient of the toy is positive."""
    # No fourth power here is near a whole number.
    return 1 + math.ceil(((k - 1) - 1 / (k * (k - 1))) ** 4)


def _share(beta1: float, n: int) -> float:
    """Return κ(β1, n) of Adam, counted batch by batch."""
    total = 0.0
    for p in range(n):  # batches of the epoch that came before
        for age in range(p + 1):
            total += (1 - beta1) * beta1**age * (1 - p / (n - 1)) / n
    return total


@against(
    {
        "without momentum": (double([2.0, -1.0, -1.0]), 1.0, 0.0, 0.9),
        "beta1 = 0.5, h = 2": (double([3.0, -1.0, -1.0, -1.0]), 2.0, 0.5, 0.99),
        "beta1 = 0.9, ten components": (double([-6.0] + [2 / 3] * 9), 0.02, 0.9, 0.999),
    },
    hint={
        "Adam": "κ(β₁, n) is a mean over p = 0, …, n - 1, and ½ only where β₁ = 0; the moments are "
        "means over the components, and the mean gradient is h x",
        "ADOPT": "κ is −½, the moments are means over the components, and the mean gradient is h x",
    },
)
def check_resting_points(g, h, beta1, beta2):
    """Exercise 4: where Adam and ADOPT come to rest when samples are reshuffled."""
    unit = (1 - beta2) * (g**3).mean() / (2 * (g**2).mean()) / h
    return _share(beta1, len(g)) * unit, -0.5 * unit
