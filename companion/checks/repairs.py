"""Checks of the exercises of the chapter on AMSGrad and other repairs."""

import math

from companion.checks import check, expect, expect_rule, fail
from companion.optim import AdaFom, AMSGrad


@check
def check_amsgrad(rule):
    """Exercise 1: the paper's AMSGrad, ``rule(x, g, m, v, u, lr, beta1, beta2, eps)``."""
    hint = "keep v as in Adam, its maximum apart in u, and correct nothing"
    options = {"lr": 0.1, "betas": (0.8, 0.5), "eps": 1e-2, "variant": "paper"}
    expect_rule(rule, AMSGrad, hint=hint, **options)


@check
def check_step_after(step_after):
    """Exercise 2: the length of AMSGrad's steps after an outlier, in units of the step size."""
    for outlier, beta2 in ((1.0, 0.9), (10.0, 0.99), (100.0, 0.999), (3.0, 0.0)):
        expect(
            step_after(outlier, beta2),
            1 / math.sqrt(beta2 + (1 - beta2) * outlier**2),
            hint="what is v right after the outlier, and what does the maximum keep of it?",
            what=f"A = {outlier:g}, beta2 = {beta2}",
        )


@check
def check_adafom(rule):
    """Exercise 3: the rule of AdaFom, ``rule(x, g, m, v, t, lr, beta1, eps)``."""
    hint = "v is the mean of the t squared gradients so far; m is a moving average"
    expect_rule(rule, AdaFom, lr=0.1, beta1=0.8, eps=1e-2, hint=hint)


@check
def check_closing_time(closing_time):
    """Exercise 4: the first step at which both bounds of AdaBound are near the final step size."""
    # None of these is a whole number, which rounding errors could push to the next.
    for gamma, tolerance in ((1e-3, 0.3), (0.03, 0.07), (1.0, 0.7), (7e-3, 0.013)):
        got = closing_time(gamma, tolerance)
        if isinstance(got, float) and not got.is_integer():
            fail(f"expected a whole number of steps, got {got:.4g}", "round up")
        expect(
            got,
            math.ceil(1 / (gamma * tolerance)),
            hint="which of the two bounds is further away from the final step size?",
            what=f"gamma = {gamma}, tolerance = {tolerance}",
        )
