"""Trace, diagonal and Frobenius norm: exact cases, honest errors."""

import pytest
import scipy.stats
import torch

from companion.hessian import (
    Dense,
    Hessian,
    diagonal,
    frobenius_norm,
    hutchpp,
    spectral_norm,
    spectrum,
    trace,
)
from tests.hessian.matrices import kronecker, network, normal, rank_one, rotated

RUNS = 500
ESTIMATES = {  # name: estimate of (op, seed), truth of A, degrees of freedom
    "trace": (lambda op, s: trace(op, 20, seed=s), torch.trace, 19),
    "trace by block": (
        lambda op, s: trace(op, 20, [slice(0, 3), slice(3, op.d)], seed=s),
        lambda A: torch.stack([A.diag()[:3].sum(), A.diag()[3:].sum()]),
        19,
    ),
    "hutch++": (lambda op, s: hutchpp(op, 45, seed=s), torch.trace, 14),
    "diagonal": (lambda op, s: diagonal(op, 20, seed=s), torch.diag, 19),
    "frobenius": (lambda op, s: frobenius_norm(op, 40, seed=s), torch.linalg.norm, 39),
    "second moment": (
        lambda op, s: spectrum(op, 20, 3, seed=s).mean(torch.square),
        lambda A: (A @ A).trace() / len(A),
        19,
    ),
}


@pytest.mark.parametrize("oracle", ["kronecker", "dense"])
@pytest.mark.parametrize("name", ESTIMATES)
def test_intervals_cover_at_their_level(name, oracle):
    estimate, truth, freedom = ESTIMATES[name]
    A = kronecker() if oracle == "kronecker" else rotated(list(range(-10, 30)))
    op, true = Dense(A), truth(A)
    quantile = scipy.stats.t.ppf(0.975, freedom)
    runs = [estimate(op, seed) for seed in range(RUNS)]
    covered = [((r.value - true).abs() <= quantile * r.stderr).double().mean() for r in runs]
    # 500 independent intervals of level .95 cover .92 to .98 with probability .998.
    assert 0.92 <= sum(covered) / RUNS <= 0.98
    values = torch.stack([r.value for r in runs])
    bias = (values.mean(0) - true).abs() / (values.std(0) / RUNS**0.5)
    assert bias.max() < 4.5
    assert all(r.seed == seed for seed, r in enumerate(runs))


def test_standard_errors_are_those_of_the_formula():
    A = kronecker()
    off = A - torch.diag(A.diag())
    several = [(trace(Dense(A), 50, seed=s), diagonal(Dense(A), 50, seed=s)) for s in range(100)]
    of_trace = torch.stack([t.stderr**2 for t, _ in several]).mean()
    of_diagonal = torch.stack([t.stderr**2 for _, t in several]).mean(0)
    torch.testing.assert_close(of_trace, 2 * off.square().sum() / 50, rtol=0.1, atol=0)
    torch.testing.assert_close(of_diagonal, off.square().sum(1) / 50, rtol=0.15, atol=0)


def test_diagonal_matrices_and_low_rank_are_exact():
    A = Dense(torch.diag(normal(9)))
    for found, true in (
        (trace(A, 3), A.matrix.trace()),
        (diagonal(A, 3), A.matrix.diag()),
        (frobenius_norm(A, 3), A.matrix.norm()),
    ):
        torch.testing.assert_close(found.value, true, rtol=1e-10, atol=1e-10)
        assert found.stderr.max() < 1e-12
    low = Dense(rank_one(30))
    found = hutchpp(low, 6)
    torch.testing.assert_close(found.value, low.matrix.trace(), rtol=1e-10, atol=1e-10)
    assert found.stderr < 1e-10
    found = hutchpp(A, 27)
    assert (found.products, found.stderr.item()) == (9, 0)
    torch.testing.assert_close(found.value, A.matrix.trace(), rtol=1e-10, atol=1e-10)


def test_hutchpp_beats_hutchinson_where_few_eigenvalues_dominate():
    op = Dense(rotated([1 / k**2 for k in range(1, 101)]))
    true = op.matrix.trace()
    errors = [
        torch.stack([(f(op, 60, seed=s).value - true) ** 2 for s in range(20)]).mean().sqrt()
        for f in (trace, hutchpp)
    ]
    assert errors[1] < 0.1 * errors[0]


def test_estimators_of_a_network_agree_with_its_dense_hessian():
    op = Hessian(*network((4, 5, 3)))
    A = op.dense()
    for found, true in (
        (trace(op, 400), A.trace()),
        (hutchpp(op, 42), A.trace()),
        (frobenius_norm(op, 400), A.norm()),
    ):
        assert (found.value - true).abs() < 4 * found.stderr
    torch.testing.assert_close(spectral_norm(op, 1e-9).value, torch.linalg.norm(A, 2))
    blocks = trace(op, 400, list(op.splits.values()))
    true = torch.stack([A.diag()[s].sum() for s in op.splits.values()])
    assert ((blocks.value - true).abs() < 4.5 * blocks.stderr + 1e-12).all()
