"""Checks of the exercises of the chapter on AdaGrad and RMSprop."""

import torch

from companion.checks import check, expect, expect_rule, fail
from companion.optim import SGD, AdaGrad


@check
def check_adagrad(rule):
    """Exercise 1: AdaGrad's rule, on random gradients."""
    # A large eps, so that its place shows.
    hint = "add g² to v first; eps stands outside the root"
    expect_rule(rule, AdaGrad, lr=0.1, eps=0.5, hint=hint)


@check
def check_step_length(step_length):
    """Exercise 2: the length of RMSprop's step t on a constant gradient."""
    hint = "after t steps the weights of the average add up to 1 - alpha**t"
    expect(step_length(1, 0.1, 0.75), 0.2, hint=hint, what="t = 1, lr = 0.1, alpha = 0.75")
    expect(step_length(2, 0.1, 0.5), 0.1 / 0.75**0.5, hint=hint, what="t = 2, alpha = 0.5")
    expect(step_length(10_000, 0.1, 0.9), 0.1, hint=hint, what="t = 10000, alpha = 0.9")


@check
def check_memory(alpha_for):
    """Exercise 3: the decay whose last n weights add up to a share."""
    hint = "the last n weights add up to 1 - alpha**n"
    expect(alpha_for(1, 0.5), 0.5, hint=hint, what="n = 1, share = 0.5")
    expect(alpha_for(2, 0.75), 0.5, hint=hint, what="n = 2, share = 0.75")
    expect(alpha_for(200, 0.9), 0.1 ** (1 / 200), hint=hint, what="n = 200, share = 0.9")


@check
def check_rescaling(rescaling_gap):
    """Exercise 4: how far the iterates part when the gradient's coordinates are rescaled."""
    x0 = torch.tensor([1.0, -1.0], dtype=torch.float64)
    c = torch.tensor([1.0, 3.0], dtype=torch.float64)
    problem = (lambda x: x, c, x0)
    # SGD: the coordinates shrink by 1 - 0.1 and by 1 - 0.3 in the one step.
    gap = rescaling_gap(SGD, *problem, 1, lr=0.1)
    expect(gap, torch.tensor(0.2), hint="multiply the gradient, not the point", what="SGD, 1 step")
    hint = "keep the largest difference over all steps, not the last one"
    gap = rescaling_gap(SGD, *problem, 10, lr=0.1)
    expect(gap, torch.tensor(0.9**5 - 0.7**5), hint=hint, what="SGD, 10 steps")
    c = torch.tensor([1.0, 1e-6], dtype=torch.float64)
    if not rescaling_gap(AdaGrad, problem[0], c, x0, 20, lr=0.5, eps=0.0) < 1e-9:
        fail("AdaGrad: the iterates part", "pass eps and lr on, and start both runs from x0")


@check
def check_drift(predicted_drift):
    """Exercise 5: the drift of RMSprop's parameter when the mean gradient is zero."""
    hint = "the parameter moves against the gradient, so the minus sign of the formula turns"
    gradients = torch.tensor([1.0, 1.0, -2.0], dtype=torch.float64)  # E g² = 2, E g³ = -2
    drift = predicted_drift(gradients, 0.9)
    expect(drift, torch.tensor(-0.05 / 2**0.5), hint=hint, what="gradients 1, 1, -2, alpha = 0.9")
    drift = predicted_drift(torch.tensor([1.0, -1.0], dtype=torch.float64), 0.9)
    expect(drift, torch.tensor(0.0), hint="symmetric gradients have no skewness", what="1, -1")
