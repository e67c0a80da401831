"""Statements of the chapters on rotations and estimators, against independent computations."""

import math

import pytest
import torch
from torch import float64

from companion.evidence import interval
from companion.hessian import Dense, cauchy_median, spectral_norm
from companion.hessian.base import LinearOperator
from companion.hessian.lanczos import Lanczos
from companion.rotation import haar, skew


def expectation(n, f, points=200_001):
    """Return E f(M) for the median M of n uniform numbers, n odd, by the midpoint rule."""
    u = (torch.arange(points, dtype=float64) + 0.5) / points
    a = (n + 1) / 2
    log = math.lgamma(2 * a) - 2 * math.lgamma(a) + (a - 1) * (u.log() + (-u).log1p())
    return (log.exp() * f(u)).mean().item()


@pytest.mark.parametrize("n", [1, 5, 11, 51, 201])
def test_the_median_of_uniform_numbers_is_as_concentrated_as_a_normal_variable(n):
    for s in (0.5, 3.0, 30.0):
        assert expectation(n, lambda u, s=s: (s * (u - 0.5)).exp()) <= math.exp(s**2 / 8 / (n + 2))
    assert expectation(n, lambda u: (u - 0.5) ** 2) == pytest.approx(1 / 4 / (n + 2), rel=1e-6)
    for eps in (0.05, 0.1, 0.2, 0.4):
        tail = expectation(n, lambda u, eps=eps: ((u - 0.5).abs() >= eps).double())
        assert tail <= 2 * math.exp(-2 * (n + 2) * eps**2)


def test_the_slope_of_the_tangent_is_that_of_the_proof():
    """The theorem's 25 π² / 8 is half the square of the slope, 5π/2, which is nearly attained."""
    steepest = math.pi / 2 * (1 + math.tan(0.35 * math.pi) ** 2)
    assert 0.97 * 5 * math.pi / 2 < steepest < 5 * math.pi / 2
    assert math.tan(0.35 * math.pi) < 1.97


@pytest.mark.parametrize("matrix", ["ones", "identity"])
def test_a_second_moment_bounds_the_error_of_the_medians_in_every_dimension(matrix):
    n, d, runs = 21, 40, 400
    H = torch.ones(d, d, dtype=float64) if matrix == "ones" else torch.eye(d, dtype=float64)
    square = expectation(n, lambda u: ((math.pi / 2 * u).tan() - 1) ** 2)
    off = [cauchy_median(Dense(H), n, seed=s).value / H.sum() - 1 for s in range(runs)]
    off = torch.stack(off)
    found = interval(off.square(), 0.9999)
    if matrix == "ones":  # all rows err together: attained
        assert found.low < square < found.high
    else:
        assert found.high < square
    for delta in (0.3, 0.6, 1.0):  # a share has a standard error of at most 0.025
        assert (off.abs() >= delta).double().mean() <= square / delta**2 + 0.1


@pytest.mark.parametrize("d", [3, 4, 20, 21])
def test_the_mean_squared_trace_of_exp_ta_tends_to_d_and_that_of_uniform_rotations_is_one(d):
    """Intervals of 99.99 % hold the limits."""
    A = torch.stack([skew(d, seed=s) for s in range(1500)])
    far = torch.linalg.eigvalsh(1j * A).mul(1000.0).cos().sum(1)
    direct = torch.linalg.matrix_exp(0.05 * A[:5]).diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(direct, torch.linalg.eigvalsh(1j * A[:5]).mul(0.05).cos().sum(1))
    uniform = torch.stack([haar(d, seed=s, dtype=float64).dense().trace() for s in range(1500)])
    for traces, limit in ((far, d), (uniform, 1)):
        _, low, high = interval(traces**2, 0.9999)
        assert low < limit < high


class Diagonal(LinearOperator):
    def __init__(self, entries):
        super().__init__(len(entries), entries.dtype, entries.device)
        self.entries = entries

    def matmat(self, V):
        return self.entries[:, None] * V


def test_what_a_random_start_misses_it_misses_with_the_stated_probability():
    """|p_m(λ)| |⟨u, q₁⟩| ≤ 1 at all m, and the share of small parts is at most δ."""
    d, delta = 400, 0.2
    entries = torch.cat([torch.ones(1), torch.full((100,), 0.9), torch.linspace(0, 0.5, 299)])
    op, missed = Diagonal(entries.double()), []
    for seed in range(200):
        start = torch.randn(d, 1, dtype=float64, generator=torch.Generator().manual_seed(seed))
        run, part = Lanczos(op, start, 10), (start[0] / start.norm()).abs().item()
        for _ in range(10):
            run.step()
            if seed < 20:
                p = ((1 - run.ritz()[0][0]) / run.beta[0]).abs().prod().item()
                assert p * part <= 1 + 1e-9
        missed.append(part < delta * math.sqrt(math.pi / 2 / d))
    assert sum(missed) / len(missed) <= delta + 4 * math.sqrt(delta * (1 - delta) / 200)


def test_a_crowd_beside_one_eigenvalue_fools_the_residual_and_not_the_package():
    entries = torch.cat([torch.ones(1), torch.full((30_000,), 0.9), torch.linspace(0, 0.5, 69_999)])
    found = spectral_norm(Diagonal(entries.double()), tolerance=1e-3, seed=1)
    assert found.value == pytest.approx(1, abs=1e-3)
    start = torch.randn(100_000, 1, dtype=float64, generator=torch.Generator().manual_seed(1))
    run = Lanczos(Diagonal(entries.double()), start, 20)
    while run.more:
        run.step()
        values, vectors = run.ritz()
        if run.beta[0, -1] * vectors[0, -1, -1].abs() <= 1e-3 * values[0, -1]:
            break
    assert values[0, -1] == pytest.approx(0.9, abs=1e-3)
