"""Checks of the exercises of the chapter on the counterexamples to Adam."""

import torch

from companion.checks import against, check, double, expect, fail, numbers
from companion.theory import cyclic_drift, cyclic_threshold

CYCLES = (
    ([4.0, -1.0, -1.0], 1 / 17),
    ([4.0, -1.0, -1.0], 0.9),
    ([-2.0, 3.0], 0.5),
    ([1.0, -5.0, 2.0, 3.0], 0.5),
    ([1.0, -5.0, 2.0, 3.0], 0.0),
)
BETAS = ((0.0, 0.9), (0.5, 0.9), (0.9, 0.99), (0.9, 0.999))
LONGEST = 1_000_000  # gradients of a cycle that are tried


@against(
    CYCLES,
    hint="just after gradient p, the gradient of i steps ago has the index p - i, and its square "
    "the weight (1 - β₂) β₂ⁱ / (1 - β₂ⁿ)",
)
def check_cycle_sum(gradients, beta2):
    """Exercise 1: the sum of the normalised gradients over a cycle, for β1 = 0."""
    g, n, total = double(gradients), len(gradients), 0.0
    weights = (1 - beta2) / (1 - beta2**n) * beta2 ** torch.arange(n, dtype=torch.float64)
    for p in range(n):
        v = (weights * torch.stack([g[p - i] for i in range(n)]).square()).sum()
        total += g[p] / v.sqrt()
    return total


@against(
    [2.5, 3.0, 4.0, 10.0],
    rtol=1e-4,
    hint="the sum of exercise 1 is negative at β₂ = 0 and positive near one; halve the interval "
    "in which it changes its sign",
)
def check_threshold(C):
    """Exercise 2: the β2 from which on Adam is right on the three lines."""
    return cyclic_threshold(0.0, n=3, rare=C)


@check
def check_gammas(gammas):
    """Exercise 3: Γ_t for given second moments and the step size α / √t."""
    generator = torch.Generator().manual_seed(0)
    for alpha in (1.0, 0.1):
        v = torch.rand(50, generator=generator, dtype=torch.float64)
        ratio = v.sqrt() * torch.arange(1, 51, dtype=torch.float64).sqrt() / alpha
        got = numbers(gammas(v, alpha))
        if got.shape == (49,):
            fail("expected 50 values, got 49", "the first one is √v₁ / α₁: nothing comes before it")
        if got.shape == (50,):
            expect(
                got.sum(),
                ratio[-1],
                hint="Γ_t is √v_t / α_t minus the same of the step before",
                what=f"for alpha = {alpha} the values add up to √v_T / α_T",
            )
        expect(got, ratio.diff(prepend=double([0])), hint="the step size is alpha / √t, t = 1, …")


@check
def check_breaking_problem(breaking_problem):
    """Exercise 4: an n for which Adam with these betas goes the wrong way."""
    for beta1, beta2 in BETAS:
        n = numbers(breaking_problem(beta1, beta2))
        if n.numel() != 1 or n.dtype != torch.float64 or n != n.round() or not 2 <= n <= LONGEST:
            fail(f"expected a whole number n from 2 to {LONGEST:,}, got {n.tolist()}")
        drift = cyclic_drift(beta1, beta2, int(n)).item()
        if not drift < 0:
            fail(
                f"with n = {int(n)} Adam with ({beta1}, {beta2}) goes the right way: the sum over "
                f"a cycle is {drift:+.3g}",
                "a larger n makes the large gradient rarer; theory.cyclic_drift knows its sign",
            )
