"""Checks of the exercises of the chapter on phase diagrams of networks."""

import math

import torch

from companion.checks import against, check, double, expect, fail


@against(
    [(0.0, 0.9, 7), (0.9, 0.999, 1), (0.9, 0.99, 30), (0.9, 0.5, 40)],
    hint="q is β₁²/β₂, and the sum has t terms, from s = 0",
)
def check_longest_step(beta1, beta2, t):
    """Exercise 1: the largest bias-corrected ratio of Adam after t steps."""
    s = torch.arange(t, dtype=torch.float64)  # steps ago
    g = (beta1 / beta2) ** s  # the gradients that attain the bound
    m = (beta1**s * g).sum() / (beta1**s).sum()
    v = (beta2**s * g.square()).sum() / (beta2**s).sum()
    return m / v.sqrt()


@against(
    [(1000.0, 0.9, 0.5), (10.0, 0.99, 0.9), (3.0, 0.5, 0.2)],
    hint="it is (1 - β₁)/√(1 - β₂) before the first zero, and each zero multiplies it; round up",
)
def check_zeros_until(K, beta1, beta2):
    """Exercise 2: the number of zeros after which a step has grown to K."""
    m, v, k = 1 - beta1, 1 - beta2, 0
    while m < K * math.sqrt(v):
        m, v, k = beta1 * m, beta2 * v, k + 1
    return k


@against(
    [
        (double([10.0] + [-1.0] * 9), 0.0),
        (double([10.0] + [-1.0] * 9), 0.9),
        (double([3.0, 1.0, -1.0, -2.0, 0.5]), 0.5),
    ],
    hint="b is the mean there; cov(g, g²) is E[g³] - E[g] E[g²], and κ depends on β₁ and on n",
)
def check_needed_beta2(g, beta1):
    """Exercise 3: the β₂ above which a coordinate's mean step has the sign of its mean gradient."""
    n, p = len(g), torch.arange(len(g), dtype=torch.float64)
    kappa = ((1 - beta1 ** (p + 1)) * (n - 1 - p)).sum() / (n * (n - 1))
    excess = g**2 - (g**2).mean()
    return 1 - 2 * g.mean() * (g**2).mean() / (kappa * (g * excess).mean())


@check
def check_safe_beta2(safe_beta2):
    """Exercise 4: the smallest β₂ from which on all seeds end well."""
    inf, nan = math.inf, math.nan
    hint = "go down from the largest β₂, look at the worst seed, and stop at the first bad value"
    cases = (
        ({0.5: [9.0, 9.0, 9.0], 0.9: [1.2, 1.0, 1.1], 0.99: [1.0, 1.3, 0.9]}, 0.9),
        ({0.5: [1.0, 1.0, 1.0], 0.9: [1.0, 1.0, 5.0], 0.99: [1.1, 1.2, 1.1]}, 0.99),
        ({0.9: [1.0, 1.0, nan], 0.99: [1.0, 1.0, 1.0], 0.999: [1.0, 1.4, 1.4]}, 0.99),
        ({0.99: [2.0, 2.0, 1.0], 0.9: [2.5, 2.5, 2.5], 0.5: [inf, nan, nan]}, 0.9),
        ({0.5: [1.0, 1.0, 1.0], 0.9: [2.0, 2.0, 2.0]}, None),
    )
    for losses, want in cases:
        got = safe_beta2(losses, 1.5)
        what = f"losses = {losses}, factor = 1.5"
        if (got is None) != (want is None) and got is not ...:  # None is an answer here
            fail(f"{what}: expected {want}, got {got!r}", hint)
        if want is not None or got is ...:
            expect(got, want or 0.0, hint=hint, what=what)
