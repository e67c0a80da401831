"""Checks of the exercises of the chapter on Adam."""

import math

import torch

from companion.checks import against, check, double, expect_rule, fail, numbers
from companion.optim import Adam, AdamW
from companion.simulate import trajectory

BETAS = ((0.9, 0.999), (0.9, 0.99), (0.5, 0.9))


@against(
    # The last is whole without rounding up.
    [(0.9, 0.1), (0.999, 0.1), (0.9999, 0.5), (0.5, 0.3), (0.5, 0.25)],
    hint="the missing share of v is β₂ᵗ; find the first t at which it is small enough, so round up",
)
def check_steps_until(beta2, tolerance):
    """Exercise 1: the first step at which the expectation of v is within a tolerance."""
    return math.ceil(math.log(tolerance) / math.log(beta2))


@check
def check_adam(rule):
    """Exercise 2: Adam's rule, ``rule(x, g, m, v, t, lr, beta1, beta2, eps)``."""
    hint = "correct both averages by 1 - βᵗ, and add ε to the root, not under it"
    expect_rule(rule, Adam, lr=0.1, betas=(0.8, 0.95), eps=1e-2, hint=hint)


@check
def check_adamw(rule):
    """Exercise 3: the rule of AdamW, with the argument ``weight_decay`` in addition."""
    hint = "shrink x by 1 - ηλ, and leave the decay out of the gradient"
    expect_rule(rule, AdamW, lr=0.1, betas=(0.8, 0.95), weight_decay=0.5, hint=hint)


@against(
    [(0.1, 0.0), (0.1, 0.9), (double([0.03, 0.3, 1.0]), 0.5)],
    hint="the average has the same mean; its variance is (1 - β₁)/(1 + β₁) of a gradient's",
)
def check_wrong_way(ratio, beta1):
    """Exercise 4: the share of Adam's steps with the wrong sign, in normal noise."""
    sharper = math.sqrt((1 + beta1) / (1 - beta1))
    return torch.special.ndtr(-sharper * torch.as_tensor(ratio, dtype=torch.float64))


@check
def check_longest_step(gradients):
    """Exercise 5: gradients after which Adam's last step is as long as can be."""
    t = 200
    for beta1, beta2 in BETAS:
        g = numbers(gradients(t, beta1, beta2))
        if g.shape != (t,):
            fail(f"expected {t} gradients, got shape {tuple(g.shape)}")
        if g.dtype != torch.float64 or not g.isfinite().all():
            fail("a gradient is NaN, infinite, or no number")
        step, most = abs(last_step(g, beta1, beta2)), longest_step(t, beta1, beta2)
        if not step >= most * (1 - 1e-6):
            fail(
                f"for beta1 = {beta1} and beta2 = {beta2} the last step is {step:.7g} η long, "
                f"and {most:.7g} η is possible",
                "when does Cauchy and Schwarz's inequality hold with equality?",
            )


def last_step(g, beta1, beta2):
    """Return the last step of Adam on a sequence of gradients, in units of lr."""
    sequence = iter(g)
    options = {"lr": 1.0, "betas": (beta1, beta2), "eps": 1e-150}
    start = torch.zeros(1, dtype=torch.float64)
    x = trajectory(Adam, lambda x: next(sequence).expand_as(x), start, len(g), **options)
    return (x[-1] - x[-2]).item()


def longest_step(t, beta1, beta2):
    """Return the longest step of Adam at step t, in units of lr."""
    age = torch.arange(t, dtype=torch.float64)
    a = (1 - beta1) * beta1**age / (1 - beta1**t)
    b = (1 - beta2) * beta2**age / (1 - beta2**t)
    return (a.square() / b).sum().sqrt().item()
