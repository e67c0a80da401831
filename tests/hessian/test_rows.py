"""Exact rows: coverage, bounds, what blocks do not know."""

import math

import pytest
import torch

from companion.hessian import Dense, cauchy_rows, rademacher_rows, uniform_rows
from companion.hessian.norms import METHODS
from tests.hessian.matrices import ORACLES, symmetric


@pytest.mark.parametrize(
    ("method", "name"),
    [
        *[(f"{way} rows", "Kronecker") for way in ("uniform", "rademacher", "cauchy")],
        ("cauchy rows", "zero rows"),
        ("cauchy rows", "uneven"),  # the other two rarely draw the heavy rows
    ],
)
def test_intervals_of_the_rows_cover(method, name):
    matrix, truth = ORACLES[name]
    answers = [METHODS[method](Dense(matrix), 80, seed=seed) for seed in range(500)]
    value, stderr = (torch.stack([a[i] for a in answers]) for i in (0, 1))
    assert 0.92 <= ((value - truth).abs() <= 1.96 * stderr).double().mean() <= 0.98
    assert value.mean() == pytest.approx(float(truth), abs=4 * float(value.std()) / math.sqrt(500))


@pytest.mark.parametrize("name", ORACLES)
def test_cauchy_rows_keep_below_their_bound(name):
    matrix, truth = ORACLES[name]
    k = m = 20
    bound = (math.cos(math.pi / k) ** -k - 1) / m
    value = torch.stack([cauchy_rows(Dense(matrix), k + m, seed=s).value for s in range(200)])
    # The sample variance of 200 is above 1.4 times its mean with a probability below 1e-3.
    assert (value / truth - 1).square().mean() <= 1.4 * bound


def test_blocks_of_drawn_rows_are_unbiased_and_say_what_they_do_not_know():
    h = symmetric(150)
    truth = h.abs().sum(1).view(3, 50).sum(1)
    answers = [cauchy_rows(Dense(h), 80, seed=s, partition=3) for s in range(400)]
    value, stderr = (torch.stack([a[i] for a in answers]) for i in (0, 1))
    z = (value.mean(0) - truth) / (value.std(0) / 20)
    assert z.abs().max() < 4
    covered = ((value - truth).abs() <= 1.96 * stderr)[stderr.isfinite()]
    assert 0.9 <= covered.double().mean() <= 0.98
    assert cauchy_rows(Dense(h), 80, partition=150).stderr.isnan().any()


@pytest.mark.parametrize("values", [[1.0] + [0.0] * 59, [10 ** (-i / 2) for i in range(60)]])
def test_few_heavy_rows_leave_no_false_certainty(values):
    """Draws that miss the uniform part of p are alike, and wrong by the share of that part."""
    op, true = Dense(torch.diag(torch.tensor(values, dtype=torch.float64))), sum(values)
    runs = [rademacher_rows(op, 40, seed=seed) for seed in range(200)]
    inside = sum(bool((run.value - true).abs() <= 2 * run.stderr + 1e-9) for run in runs)
    assert inside >= 175
    mean = torch.stack([run.value for run in runs]).mean()
    assert mean == pytest.approx(true, rel=0.01)


def test_uniform_rows_of_all_rows_are_exact():
    h = symmetric(30)
    value, stderr, *_ = uniform_rows(Dense(h), 30)
    torch.testing.assert_close(value, h.abs().sum())
    assert stderr == 0
