"""Checks of the exercises of the chapter on ADOPT."""

import math

import torch

from companion.checks import check, expect, expect_rule, fail
from companion.optim import ADOPT


@check
def check_adopt(rule):
    """Exercise 1: ADOPT without clip, ``rule(x, g, m, v, t, lr, beta1, beta2, eps)``."""
    hint = "divide by the v of before, then average; eps is a floor; the first call only sets v"
    # A floor that is often reached, and an addition that would be seen.
    expect_rule(rule, ADOPT, lr=0.1, betas=(0.8, 0.5), eps=0.7, clip_lambda=None, hint=hint)


@check
def check_mean_steps(mean_steps):
    """Exercise 2: the mean normalised gradients of Adam and ADOPT with no memory, on the toy."""
    for k in (2, 3, 10, 50):
        got = mean_steps(k)
        if got is None or got is ...:
            expect(got, 0.0)
        if not isinstance(got, tuple | list) or len(got) != 2:
            fail(f"expected two numbers, got {got!r}")
        expect(got[0], 2 / k - 1, hint="what is g / |g|?", what=f"Adam, k = {k}")
        adopt = 1 / k**3 + (k - 1) / k**2
        hint = "the two gradients are independent, and the mean of g is one"
        expect(got[1], adopt, hint=hint, what=f"ADOPT, k = {k}")


@check
def check_first_right_call(first_right_call):
    """Exercise 3: the first call at which the mean clipped gradient of the toy is positive."""
    for k in (3, 10, 50):
        got = first_right_call(k)
        if isinstance(got, float) and not got.is_integer():
            fail(f"expected a whole number of calls, got {got:.4g}", "round up")
        # No fourth power here is near a whole number.
        wanted = 1 + math.ceil(((k - 1) - 1 / (k * (k - 1))) ** 4)
        hint = "solve D(c) > 0 for c; the call t has the clip (t - 1)^(1/4)"
        expect(got, wanted, rtol=1e-9, hint=hint, what=f"k = {k}")


@check
def check_resting_point(resting_point):
    """Exercise 4: where ADOPT comes to rest when samples are reshuffled."""
    cases = (([2.0, -1.0, -1.0], 1.0, 0.9), ([-6.0] + [2 / 3] * 9, 0.02, 0.999))
    for gradients, h, beta2 in cases:
        g = torch.tensor(gradients, dtype=torch.float64)
        bias = -0.5 * (1 - beta2) * (g**3).mean() / (2 * (g**2).mean())
        hint = "κ is −½, the moments are means over the components, and the mean gradient is h x"
        got = resting_point(g, h, beta2)
        what = f"g = {[round(z, 2) for z in gradients]}, h = {h}, beta2 = {beta2}"
        expect(got, bias / h, hint=hint, what=what)
