"""Closed forms against Adam's own rule."""

import math

import pytest
import torch

from companion import theory
from tests.theory.cases import BETA1, BETA2, F64, function_2


@pytest.mark.parametrize(("n", "rare", "common"), [(3, 4.0, -1.0), (10, 10.0, -1.0), (7, 9.0, 0.5)])
def test_cyclic_drift_is_what_adam_walks_in_a_cycle(n, rare, common):
    # After 1000 steps of burn-in the start has decayed by .99^1000 = 4e-5; it was corrected, too.
    walked = theory.drift(
        BETA1, BETA2, [rare] + [common] * (n - 1), "cyclic", steps=1000 + 2 * n, burn=1000
    )
    exact = theory.cyclic_drift(BETA1, BETA2, n, rare, common)
    torch.testing.assert_close(n * walked.mean, exact, rtol=1e-4, atol=1e-4)
    assert not walked.standard_error.any()


def test_cyclic_drift_without_memory_of_v():
    # β2 = 0: each step is m/|g|, and the sum is negative as the closed form says.
    for n in (4, 5, 10, 50):
        share = (1 - BETA1) / (1 - BETA1**n)
        wrong = share > (2 * n - 1) / (n**2 - 1)
        assert torch.equal(theory.cyclic_drift(BETA1, 0.0, n) < 0, wrong)
    # β2 = 1: v is the mean of g², and the sum is the mean gradient's.
    exact = 10 * (1 / 10) / math.sqrt(10 + 1 - 1 / 10)
    assert theory.cyclic_drift(0.5, 1.0, 10).item() == pytest.approx(exact, rel=1e-12)


CYCLIC = [
    (5, 0.0, 0.811),
    (5, 0.9, math.nan),
    (10, 0.0, 0.955),
    (10, 0.9, 0.7747),
    (20, 0.0, 0.989),
    (20, 0.9, 0.970),
    (50, 0.0, 0.9984),
    (50, 0.9, 0.9975),
]


@pytest.mark.parametrize(("n", "beta1", "expected"), CYCLIC)
def test_cyclic_thresholds_of_function_2(n, beta1, expected):
    found = theory.cyclic_threshold(beta1, n).item()
    assert found == pytest.approx(expected, abs=6e-4 if n < 50 else 6e-5, nan_ok=True)
    if not math.isnan(found):
        around = torch.tensor([found - 1e-9, found + 1e-9], **F64)
        assert (theory.cyclic_drift(beta1, around, n) < 0).tolist() == [True, False]


def test_cyclic_thresholds_of_reddis_problems():
    for C, expected in ((3.0, 0.472), (4.0, 0.317), (10.0, 0.098)):
        assert theory.cyclic_threshold(0.0, 3, C).item() == pytest.approx(expected, abs=5e-4)
    last = theory.cyclic_threshold(0.9, 101, 1010.0, -10.0).item()
    assert last == pytest.approx(0.99952, abs=5e-6)


def test_thresholds_come_for_a_whole_grid():
    grid = torch.linspace(0, 0.95, 6, **F64).reshape(2, 3)
    found = theory.cyclic_threshold(grid, 10)
    assert found.shape == (2, 3)
    for beta1, one in zip(grid.flatten(), found.flatten(), strict=True):
        torch.testing.assert_close(theory.cyclic_threshold(beta1, 10), one, equal_nan=True)


def test_the_bound_holds_in_every_order():
    for n in (5, 10):
        bound = theory.drift_bound(BETA1, BETA2, n)
        assert (theory.cyclic_drift(BETA1, BETA2, n) <= bound).all()
        for order in ("iid", "reshuffled"):
            found = theory.drift(BETA1, BETA2, function_2(n), order, 600, 32)
            # Five standard errors: a false alarm in any cell has probability below 1e-3.
            assert (n * (found.mean - 5 * found.standard_error) <= bound).all()
    assert (theory.drift_bound(torch.tensor([0.0, 0.5], **F64), 0.5, 50) < 0).all()  # not void
    # β1 = 0 leaves one term.
    one = 11 / math.sqrt(1 + 0.5 * 99) - 10 / math.sqrt(10.9)
    assert theory.drift_bound(0.0, 0.5, 10).item() == pytest.approx(one, rel=1e-12)
