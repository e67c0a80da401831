"""Checks of the exercises of the chapter on generative models."""

import math

from companion.checks import against


@against(
    [(0.0, 0.0, 0.5), (2.0, 0.0, 0.0), (1.0, 0.5, -1.0), (0.0, -1.0, 3.0)],
    hint="the shift is measured in units of the prior's standard deviation; the scale is relative "
    "to it already",
)
def check_residual_kl(shift, log_scale, log_std):
    """Exercise 1: the divergence of a posterior that is given relative to its prior."""
    square = (shift / math.exp(log_std)) ** 2
    return (square + math.exp(2 * log_scale) - 1) / 2 - log_scale


@against(
    [([3.0], 0.9), ([1.0, -16.0, 1.0, 2.0], 0.5), ([4.0, 0.0, 0.0], 0.9), ([1.0, 2.0, 4.0], 0.999)],
    hint="every gradient has faded by a factor β₂ for each step since; its sign does not count",
)
def check_fading_maximum(gradients, beta2):
    """Exercise 2: Adamax's u after the last of some gradients, with ε = 0."""
    last = len(gradients) - 1
    return max(beta2 ** (last - i) * abs(g) for i, g in enumerate(gradients))


@against(
    [(0.003, 0.05, 0.9, 1e-6, None), (0.003, 0.05, 0.9, 1e-6, 0.25), (0.1, -1e-8, 0.5, 1e-6, 0.25)],
    hint="v is zero, so the floor ε divides; the clip, 1 at the first move, comes before the "
    "average, which starts at zero",
)
def check_first_move(lr, g, beta1, eps, clip):
    """Exercise 3: ADOPT's first move of an entry whose first gradient was zero."""
    u = g / eps
    if clip is not None:
        u = max(-1.0, min(1.0, u))
    return -lr * (1 - beta1) * u
