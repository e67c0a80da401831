"""Cauchy probes: bias, spread and coverage are those of the formulas."""

import math

import numpy as np
import pytest
import torch

from companion.hessian import (
    Dense,
    cauchy_median,
    cauchy_rows,
    geometric_mean,
    median_factor,
    rademacher_rows,
    scale_mle,
)
from companion.hessian.norms import METHODS
from tests.hessian.matrices import Copies, generator, symmetric

UNBIASED = {
    "median": lambda *args, **options: cauchy_median(*args, corrected=True, **options),
    "geometric mean": geometric_mean,
    "rademacher rows": rademacher_rows,
    "cauchy rows": cauchy_rows,
}


@pytest.mark.parametrize("n", [11, 21, 51])
def test_the_papers_median_is_too_large_by_the_factor_predicted(n):
    # 20,000 rows of size 1 that share no probe. Standard error below 0.5 %.
    op = Copies(torch.ones(1, 1).double(), 20_000)
    value = cauchy_median(op, n).value / op.d
    factor = median_factor(n)
    assert factor == pytest.approx(1 + math.pi**2 / 8 / n, abs=3 / n**2)
    assert value == pytest.approx(factor, abs=4 * 1.75 / math.sqrt(n * op.d))
    assert value - 1 > 4 * 1.75 / math.sqrt(n * op.d)
    for unbiased in (UNBIASED["median"], geometric_mean):
        mean = unbiased(op, n).value / op.d
        assert mean == pytest.approx(1, abs=4 * 1.75 / math.sqrt(n * op.d))


@pytest.mark.parametrize("n", [3, 4, 11, 50])
def test_the_factor_of_the_median_is_that_of_a_simulation(n):
    x = torch.empty(200_000, n, dtype=torch.float64).cauchy_(generator=generator()).abs()
    # Against heavy tails at n = 3, 4: means of the part below 100, whose rest is known to be small.
    medians = x.quantile(0.5, dim=1)
    assert medians.clamp_max(1e4).mean() == pytest.approx(median_factor(n), rel=0.03)


def test_few_probes_have_an_infinite_mean():
    assert median_factor(1) == median_factor(2) == math.inf
    for method in (cauchy_median, geometric_mean, scale_mle):
        with pytest.raises(ValueError, match="at least 3"):
            method(Dense(torch.eye(3)), 2)


@pytest.mark.parametrize("n", [11, 12, 51])
def test_the_error_of_one_median_counts_the_probes_on_either_side(n):
    # n probes, or all but the middle one, move it by ± π/2n of its size each.
    value, stderr, *_ = cauchy_median(Dense(torch.ones(1, 1).double()), n, seed=n)
    sides = n - n % 2
    expected = value * math.pi / 2 / n * math.sqrt(sides * n / (n - 1))
    torch.testing.assert_close(stderr, expected)


@pytest.mark.parametrize(
    ("method", "variance"), [("geometric mean", None), ("mle", 2 / 51), ("median", 2.467 / 51)]
)
def test_the_spread_of_a_row_is_what_the_formula_says(method, variance):
    n = 51
    if variance is None:
        variance = math.cos(math.pi / 2 / n) ** (2 * n) / math.cos(math.pi / n) ** n - 1
    op = Copies(torch.ones(1, 1).double(), 20_000)
    value = METHODS[method](op, n, partition=op.d).value
    assert value.var() == pytest.approx(variance, rel=0.08)
    assert value.mean() == pytest.approx(1, abs=0.006)


@pytest.mark.parametrize("matrix", ["rank one", "dense", "diagonal"])
@pytest.mark.parametrize("method", ["median", "geometric mean", "mle"])
def test_intervals_of_the_probes_cover(method, matrix):
    h = {"rank one": torch.ones(5, 5), "dense": symmetric(10), "diagonal": torch.eye(5)}[matrix]
    op = Copies(h.double(), 500)
    value, stderr, *_ = METHODS[method](op, 151, partition=500, seed=1)
    covered = (value - h.abs().sum()).abs() <= 1.96 * stderr
    assert 0.92 <= covered.double().mean() <= 0.98


def test_the_median_is_the_papers():
    h, n = symmetric(40), 20  # an even number of probes: NumPy's median, as in the paper's code
    v = torch.empty(n, 40, dtype=torch.float64).cauchy_(generator=generator(5)).T
    expected = abs((h @ v).numpy())
    value = cauchy_median(Dense(h), n, seed=5).value
    assert value == pytest.approx(np.median(expected, axis=1).sum(), rel=1e-12)


def test_a_geometric_mean_is_the_formula():
    h, n = symmetric(40), 37
    v = torch.empty(n, 40, dtype=torch.float64).cauchy_(generator=generator(5)).T
    product = ((h @ v).abs().pow(1 / n).prod(1) * math.cos(math.pi / 2 / n) ** n).sum()
    assert geometric_mean(Dense(h), n, seed=5).value == pytest.approx(float(product), rel=1e-10)


def test_the_scale_is_the_most_likely_one():
    h, n = symmetric(4), 37
    v = torch.empty(n, 4, dtype=torch.float64).cauchy_(generator=generator(5)).T
    x = (h @ v).abs().unsqueeze(1)  # (4, 1, n)
    grid = torch.logspace(-1, 2, 20_001, dtype=torch.float64).view(1, -1, 1)
    likelihood = (grid.log() - (grid**2 + x**2).log()).sum(2)  # (4, 20001)
    best = grid.flatten()[likelihood.argmax(1)] * (1 - 1 / n)
    rows = scale_mle(Dense(h), n, seed=5, partition=4).value
    torch.testing.assert_close(rows, best, rtol=1e-3, atol=0)


def test_probes_are_drawn_in_float64_for_a_float32_operator(monkeypatch):
    seen, draw = [], torch.Tensor.cauchy_

    def spy(self, *args, **options):
        seen.append(self.dtype)
        return draw(self, *args, **options)

    monkeypatch.setattr(torch.Tensor, "cauchy_", spy)
    assert geometric_mean(Dense(torch.eye(50)), 16).value.dtype == torch.float32
    assert seen == [torch.float64]
