"""Checks of the exercises of the chapter on measuring a Hessian by products."""

import torch

from companion.checks import check, expect, fail
from companion.hessian.cauchy import median_factor


def _symmetric(d, seed):
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return A + A.T


def _expect_pair(got, value, stderr, hints, what):
    if got is None or got is ...:
        expect(got, value)  # says "not yet"
    if not isinstance(got, tuple | list) or len(got) != 2:
        fail("expected two values, the estimate and its standard error")
    expect(got[0], value, hint=hints[0], what=f"{what}, estimate")
    expect(got[1], stderr, hint=hints[1], what=f"{what}, standard error")


@check
def check_hvp(hvp):
    """Exercise 1: a Hessian-vector product, ``hvp(f, x, v)``."""
    x = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    v = torch.tensor([1.0, 3.0, -1.0], dtype=torch.float64)
    hint = "differentiate the gradient along v"
    expect(hvp(lambda z: (z**4).sum(), x, v), 12 * x**2 * v, hint=hint, what="sum of x⁴")
    H = _symmetric(3, 0)
    expect(hvp(lambda z: z @ H @ z / 2, x, v), H @ v, hint=hint, what="quadratic")
    p = x.softmax(0)
    right = p * v - p * (p @ v)  # of log Σ exp(x): (diag(p) − p pᵀ) v
    expect(hvp(lambda z: z.logsumexp(0), x, v), right, hint=hint, what="log-sum-exp")
    expect(hvp(lambda z: z.logsumexp(0), x, 1e6 * v), 1e6 * right, hint=hint, what="a long v")


@check
def check_hutchinson(hutchinson):
    """Exercise 2: the trace and its standard error, ``hutchinson(product, V)``."""
    generator = torch.Generator().manual_seed(0)
    hints = (
        "the mean of vᵀHv over the columns",
        "standard deviation of the terms (over n - 1) divided by the root of n",
    )
    for d, n in ((2, 3), (5, 8)):
        H = _symmetric(d, d)
        V = torch.randint(2, (d, n), generator=generator).double() * 2 - 1
        terms = (V * (H @ V)).sum(0)
        got = hutchinson(lambda v, H=H: H @ v, V)
        _expect_pair(got, terms.mean(), terms.std() / n**0.5, hints, f"d = {d}, n = {n}")


@check
def check_corrected_median(corrected_median):
    """Exercise 3: the (1,1)-norm without bias by medians, ``corrected_median(X)``."""
    generator = torch.Generator().manual_seed(0)
    for d, n in ((3, 5), (4, 11), (4, 10)):
        X = torch.empty(d, n, dtype=torch.float64).cauchy_(generator=generator)
        expected = X.abs().quantile(0.5, dim=1).sum() / median_factor(n)
        hint = "absolute values, a median for each row, their sum, and divide the factor out"
        if n % 2 == 0:
            hint = "torch.median takes the lower middle value"
        expect(corrected_median(X), expected, hint=hint, what=f"n = {n}")


@check
def check_importance(importance):
    """Exercise 4: importance sampling of rows, ``importance(product, p, draws)``."""
    H = _symmetric(5, 1)
    hints = (
        "divide the norm of each drawn row by its probability, and take the mean",
        "standard deviation of the terms (over m - 1) divided by the root of m",
    )
    for weights, draws in (
        ([1, 1, 1, 1, 1], [0, 3, 4]),
        ([1, 2, 3, 4, 10], [4, 4, 1, 2, 4, 3]),
    ):
        p = torch.tensor(weights, dtype=torch.float64)
        p, draws = p / p.sum(), torch.tensor(draws)
        terms = H.abs().sum(1)[draws] / p[draws]
        stderr = terms.std() / len(draws) ** 0.5
        got = importance(lambda v: H @ v, p, draws)
        _expect_pair(got, terms.mean(), stderr, hints, f"p ∝ {weights}")
