"""Checks of the exercises of the chapter on phase diagrams of networks."""

import math

import torch

from companion.checks import check, expect, fail


@check
def check_longest_step(longest_step):
    """Exercise 1: the largest bias-corrected ratio of Adam after t steps."""
    for beta1, beta2, t in ((0.0, 0.9, 7), (0.9, 0.999, 1), (0.9, 0.99, 30), (0.9, 0.5, 40)):
        s = torch.arange(t, dtype=torch.float64)  # steps ago
        g = (beta1 / beta2) ** s  # the gradients that attain the bound
        m = (beta1**s * g).sum() / (beta1**s).sum()
        v = (beta2**s * g.square()).sum() / (beta2**s).sum()
        expect(
            longest_step(beta1, beta2, t),
            (m / v.sqrt()).item(),
            hint="q is β₁²/β₂, and the sum has t terms, from s = 0",
            what=f"beta1 = {beta1}, beta2 = {beta2}, t = {t}",
        )


@check
def check_zeros_until(zeros_until):
    """Exercise 2: the number of zeros after which a step has grown to K."""
    for K, beta1, beta2 in ((1000.0, 0.9, 0.5), (10.0, 0.99, 0.9), (3.0, 0.5, 0.2)):
        got = zeros_until(K, beta1, beta2)
        if isinstance(got, float) and not got.is_integer():
            fail(f"expected a whole number of steps, got {got:.4g}", "round up")
        m, v, k = 1 - beta1, 1 - beta2, 0
        while m < K * math.sqrt(v):
            m, v, k = beta1 * m, beta2 * v, k + 1
        expect(
            got,
            k,
            hint="it is (1 - β₁)/√(1 - β₂) before the first zero, and each zero multiplies it",
            what=f"K = {K:g}, beta1 = {beta1}, beta2 = {beta2}",
        )


@check
def check_needed_beta2(needed_beta2):
    """Exercise 3: the β₂ at which the skewness expansion of a coordinate's mean step is zero."""
    samples = ([10.0] + [-1.0] * 9, [3.0, 1.0, -1.0, -2.0, 0.5], [1.0, 1.0, -1.5])
    for values in samples:
        n = len(values)
        mean, second, third = (sum(z**k for z in values) / n for k in (1, 2, 3))
        expect(
            needed_beta2(torch.tensor(values, dtype=torch.float64)),
            1 - 4 * mean * second / third,
            hint="set the bracket to zero and solve for β₂; moments are means over the batches",
            what=f"g = {values}",
        )


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
        got = safe_beta2({beta2: list(seeds) for beta2, seeds in losses.items()}, 1.5)
        what = f"losses = {losses}, factor = 1.5"
        if want is None and got is not ...:
            if got is not None:
                fail(f"{what}: expected None, got {got!r}", hint)
        elif got is None:
            fail(f"{what}: expected {want}, got None", hint)
        else:
            expect(got, want, hint=hint, what=what)
