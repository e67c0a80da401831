"""Checks of the exercises of the chapter on AdaGrad and RMSprop."""

import math

import torch

from companion.checks import against, check, double, expect, expect_rule, fail, numbers
from companion.optim import SGD, AdaGrad


@check
def check_adagrad(rule):
    """Exercise 1: AdaGrad's rule, on random gradients."""
    # A large eps, so that its place shows.
    hint = "add g² to v first; eps stands outside the root"
    expect_rule(rule, AdaGrad, lr=0.1, eps=0.5, hint=hint)


@against(
    [(1, 0.1, 0.75), (2, 0.1, 0.5), (10_000, 0.1, 0.9)],
    hint="after t steps the weights of the average add up to 1 - alpha**t",
)
def check_step_length(t, lr, alpha):
    """Exercise 2: the length of RMSprop's step t on a constant gradient."""
    return lr / math.sqrt(1 - alpha**t)


@against([(1, 0.5), (2, 0.75), (200, 0.9)], hint="the last n weights add up to 1 - alpha**n")
def check_memory(n, share):
    """Exercise 3: the decay whose last n weights add up to a share."""
    return (1 - share) ** (1 / n)


@check
def check_rescaling(rescaling_gap):
    """Exercise 4: how far the iterates part when the gradient's coordinates are rescaled."""
    x0, c = double([1.0, -1.0]), double([2.0, 3.0])
    # SGD: the coordinates shrink by 1 - 0.2 and by 1 - 0.3 a step, instead of by 1 - 0.1.
    for steps, factors, hint in (
        (1, c, "multiply the gradient, not the point, and take the largest coordinate"),
        (10, c, "keep the largest difference over all steps, not the last one"),
        (10, c.flip(0), "take the largest of all coordinates"),
    ):
        want = max(0.9**t - 0.7**t for t in range(steps + 1))
        gap = rescaling_gap(SGD, torch.clone, factors, x0, steps, lr=0.1)
        expect(gap, want, hint=hint, what=f"SGD, {steps} steps")
    c = double([1.0, 1e-6])
    gap = numbers(rescaling_gap(AdaGrad, torch.clone, c, x0, 20, lr=0.5, eps=0.0))
    if not (gap.abs() < 1e-9).all():
        fail("AdaGrad: the iterates part", "pass eps and lr on, and start both runs from x0")


@against(
    [
        (double([1.0, 1.0, -2.0]), 0.9),
        (double([3.0, -1.0, -1.0, -1.0]), 0.99),
        (double([1.0, -1.0]), 0.9),  # no skewness
    ],
    hint="the parameter moves against the gradient, so the minus sign of the formula turns",
)
def check_drift(g, alpha):
    """Exercise 5: the drift of RMSprop's parameter when the mean gradient is zero."""
    return (1 - alpha) / 2 * (g**3).mean() / (g**2).mean() ** 1.5
