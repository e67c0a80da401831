"""The checks of the chapter on networks: stubs, typical errors, right answers."""

import pytest
import torch

from companion.checks import network_geometry as checks
from companion.rotation import haar


def paired(a, b):
    difference = a - b
    return difference.mean(), difference.std() / len(a) ** 0.5


def unpaired(a, b):
    return a.mean() - b.mean(), ((a.var() + b.var()) / len(a)) ** 0.5


def rotated_product(product, R, v):
    return R.T(product(R(v)))


def spread(G):
    d, ratio = len(G), G.square().sum() / G.trace() ** 2
    return 2 * (d * ratio - 1) / (d + 2)


CHECKS = (checks.check_paired, checks.check_rotated_product, checks.check_spread)


@pytest.mark.parametrize("check", CHECKS)
def test_a_stub_is_not_yet_an_answer(check):
    verdict = check(lambda *arguments: ...)
    assert not verdict.passed
    assert ": not yet: " in verdict.message


@pytest.mark.parametrize(
    ("check", "answer", "part"),
    [
        (checks.check_paired, unpaired, "seed by seed"),
        (checks.check_paired, lambda a, b: ((a - b).mean(), (a - b).std()), "over √n"),
        (checks.check_paired, lambda a, b: paired(b, a), "a = [1.0, 5.0, 9.0]"),
        (
            checks.check_paired,
            lambda a, b: ((a - b).mean(), (a - b).std(correction=0) / len(a) ** 0.5),
            "n - 1",
        ),
        (checks.check_rotated_product, lambda p, R, v: R(p(R.T(v))), "d = 3"),
        (checks.check_rotated_product, lambda p, R, v: p(R(v)), "twice"),
        (checks.check_rotated_product, lambda p, R, v: R.T(p(v)), "twice"),
        (checks.check_spread, lambda G: 2 * G.square().sum() / G.trace() ** 2, "the identity"),
        (checks.check_spread, lambda G: G.diagonal().var() / G.diagonal().mean() ** 2, "one grad"),
        (
            checks.check_spread,
            lambda G: (
                2 * (len(G) * G.diagonal().square().sum() / G.trace() ** 2 - 1) / (len(G) + 2)
            ),
            "one gradient",
        ),
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
        (checks.check_paired, paired),
        (checks.check_paired, lambda a, b: torch.stack(paired(a, b))),
        (checks.check_rotated_product, rotated_product),
        (checks.check_spread, spread),
        (checks.check_spread, lambda G: spread(G).item()),
    ],
)
def test_a_right_answer_passes(check, answer):
    assert check(answer).passed


def test_the_spread_is_that_of_many_rotations():
    """Over 20,000 diagonals the empirical value has a standard error of about 2 %."""
    A = torch.randn(5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    G = A @ A.T
    Q = torch.stack([haar(5, seed=i, dtype=torch.float64).dense() for i in range(4000)])
    diagonals = torch.einsum("nji,jk,nki->ni", Q, G, Q)
    found = diagonals.var() / diagonals.mean() ** 2
    torch.testing.assert_close(found, spread(G), rtol=0.08, atol=0)
