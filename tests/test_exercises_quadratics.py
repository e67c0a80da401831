"""The checks of the chapter on quadratics: stubs, typical errors, right answers."""

import math

import pytest
import torch

from companion.checks import quadratics


def nothing(*arguments):
    return ...


def turned(angle):
    return (abs(math.cos(angle)) + abs(math.sin(angle))) ** 2


def ones(k, d):
    entry = (d * k - k**2) / ((d - 1) * d * (d + 2))
    return (k + d * (d - 1) * math.sqrt(2 / math.pi * entry)) / d


def without_diagonal(k, d):
    return ones(k, d) - k / d


def root_mean_square(k, d):
    entry = (d * k - k**2) / ((d - 1) * d * (d + 2))
    return (k + d * (d - 1) * math.sqrt(entry)) / d


def ranks(x):
    return torch.stack([(x < v).sum() + ((x == v).sum() + 1) / 2 for v in x]).double()


def spearman(x, y):
    return torch.corrcoef(torch.stack([ranks(x), ranks(y)]))[0, 1]


def pearson(x, y):
    return torch.corrcoef(torch.stack([x, y]))[0, 1]


def without_ties(x, y):
    both = torch.stack([x.argsort().argsort(), y.argsort().argsort()])
    return torch.corrcoef(both.double())[0, 1]


def argsorted_once(x, y):
    return torch.corrcoef(torch.stack([x.argsort(), y.argsort()]).double())[0, 1]


def twin(grad, x0, R):
    return lambda x: grad(x @ R.T) @ R, R.T @ x0


def forward_start(grad, x0, R):
    return lambda x: grad(x @ R.T) @ R, R @ x0


def not_pulled_back(grad, x0, R):
    return lambda x: grad(x @ R.T), R.T @ x0


@pytest.mark.parametrize(
    "check",
    [
        quadratics.check_turned,
        quadratics.check_ones,
        quadratics.check_spearman,
        quadratics.check_twin,
    ],
)
def test_a_stub_is_not_yet_an_answer(check):
    verdict = check(nothing)
    assert not verdict.passed
    assert ": not yet: " in verdict.message


@pytest.mark.parametrize(
    ("check", "answer", "part"),
    [
        (quadratics.check_turned, lambda angle: 1 + math.sin(2 * angle), "q q^T"),
        (quadratics.check_turned, lambda angle: 1.0, "q q^T"),
        (quadratics.check_ones, without_diagonal, "the diagonal"),
        (quadratics.check_ones, root_mean_square, "both the trace"),
        (quadratics.check_spearman, pearson, "correlate ranks"),
        (quadratics.check_spearman, without_ties, "share the mean rank"),
        (quadratics.check_spearman, argsorted_once, "a place"),
        (quadratics.check_twin, forward_start, "at the start?"),
        (quadratics.check_twin, not_pulled_back, "the chain rule"),
        (quadratics.check_twin, lambda grad, x0, R: x0, "return grad, x0"),
    ],
)
def test_a_typical_error_is_named(check, answer, part):
    verdict = check(answer)
    assert not verdict.passed
    assert "not right yet" in verdict.message
    assert part in verdict.message


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (quadratics.check_turned, turned),
        (quadratics.check_ones, ones),
        (quadratics.check_spearman, spearman),
        (quadratics.check_twin, twin),
    ],
)
def test_a_right_answer_passes(check, answer):
    assert check(answer).passed


def test_the_formula_of_a_random_rotation_agrees_with_one():
    """One Haar rotation of k ones in 400 dimensions is within 2 % of the reference formula."""
    d, k = 400, 12
    generator = torch.Generator().manual_seed(0)
    Q, R = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=generator))
    Q = Q * R.diagonal().sign()
    measured = (Q[:k].T @ Q[:k]).abs().sum().item() / d
    assert measured == pytest.approx(ones(k, d), rel=0.02)
