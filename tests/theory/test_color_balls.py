"""Closed forms against enumeration."""

import math

import pytest
import torch

from companion import theory
from tests.theory.cases import F64

LABELS = {1: [2.5], 2: [1.0, -3.0], 3: [4.0, 0.5, -2.0], 4: [1.0, 2.0, -7.0, 3.0]}


BALLS = [(n, k) for n, k in ((1, 3), (2, 1), (2, 2), (2, 6), (3, 1), (3, 3), (4, 2))]


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("n", "k"), BALLS)
def test_lemma_a1_and_the_variance_equal_their_enumeration(n, k, beta):
    c = LABELS[n]
    for order in ("reshuffled", "iid"):
        assert theory.momentum_error(c, beta, k, order) == pytest.approx(
            theory.lemma_a1(c, beta, k), abs=1e-12
        )
        variance = theory.momentum_sum(c, beta, k, order).var(correction=0).item()
        assert theory.momentum_sum_variance(c, beta, k, order) == pytest.approx(
            variance, abs=1e-12, rel=1e-12
        )


def test_reshuffling_buys_variance():
    c, table = LABELS[2], {0.5: (1.6, 16.0), 0.9: (3.5, 73)}
    for beta, expected in table.items():
        for order, value in zip(("reshuffled", "iid"), expected, strict=True):
            assert theory.momentum_sum_variance(c, beta, 6, order) == pytest.approx(value, rel=0.02)


def late(signs):
    """Return a weight that knows the last two earlier epochs."""
    return 2 + (signs[:, -3:-1] * torch.tensor([0.3, -1.1], **F64)).sum(-1)


@pytest.mark.parametrize("r", [theory.wandering, late])
@pytest.mark.parametrize("beta", [0.3, 0.9])
@pytest.mark.parametrize("k", [3, 6, 11])
def test_lemma_a2_equals_its_enumeration(k, beta, r):
    for c in ([1.0, -3.0], [2.0, 5.0]):
        enumerated = theory.weighted_momentum_error(c, beta, k, r)
        assert enumerated == pytest.approx(theory.lemma_a2(c, beta, k, r), abs=1e-12)


def test_lemma_a2_decays_like_one_over_root_k():
    c = [1.0, -1.0]  # no first term
    scaled = [theory.lemma_a2(c, 0.5, k) * math.sqrt(k) for k in (7, 10, 13)]
    # δ (1 - β²)/β Σ_j β^{2j} / √k, Σ = β²/(1 - β²): -β
    assert scaled[-1] == pytest.approx(-0.5, rel=0.06)
    assert abs(scaled[2] + 0.5) < abs(scaled[0] + 0.5)


def test_a_constant_weight_turns_a2_into_a1():
    ones = lambda s: torch.ones(len(s), dtype=s.dtype)  # noqa: E731
    for k in (1, 4):
        a1 = theory.lemma_a1(LABELS[2], 0.7, k)
        assert theory.lemma_a2(LABELS[2], 0.7, k, ones) == pytest.approx(a1, abs=1e-14)
