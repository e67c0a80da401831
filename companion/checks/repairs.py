"""Checks of the exercises of the chapter on AMSGrad and other repairs."""

import math

from companion.checks import against, check, expect_rule
from companion.optim import AdaFom, AMSGrad


@check
def check_amsgrad(rule):
    """Exercise 1: the paper's AMSGrad, ``rule(x, g, m, v, u, lr, beta1, beta2, eps)``."""
    hint = "keep v as in Adam, its maximum apart in u, and correct nothing"
    options = {"lr": 0.1, "betas": (0.8, 0.5), "eps": 1e-2, "variant": "paper"}
    expect_rule(rule, AMSGrad, hint=hint, **options)


@against(
    [(1.0, 0.9), (10.0, 0.99), (100.0, 0.999), (3.0, 0.0)],
    hint="what is v right after the outlier, and what does the maximum keep of it?",
)
def check_step_after(A, beta2):
    """Exercise 2: the length of AMSGrad's steps after an outlier, in units of the step size."""
    return 1 / math.sqrt(beta2 + (1 - beta2) * A**2)


@check
def check_adafom(rule):
    """Exercise 3: the rule of AdaFom, ``rule(x, g, m, v, t, lr, beta1, eps)``."""
    hint = "v is the mean of the t squared gradients so far; m is a moving average"
    expect_rule(rule, AdaFom, lr=0.1, beta1=0.8, eps=1e-2, hint=hint)


@against(
    # None of these is near a whole number, but for the last, which is one exactly.
    [(1e-3, 0.3), (0.03, 0.07), (1.0, 0.7), (7e-3, 0.013), (0.5, 0.25)],
    hint="which of the two bounds is further away from the final step size? Then round up",
)
def check_closing_time(gamma, tolerance):
    """Exercise 4: the first step at which both bounds of AdaBound are near the final step size."""
    return math.ceil(1 / (gamma * tolerance))
