"""Simulated drifts against thresholds that are known."""

import math

import pytest
import torch

from companion import theory
from tests.theory.cases import F64, function_2

SIMULATED = [
    (5, "reshuffled", 0.829),
    (5, "iid", 0.898),
    (10, "reshuffled", 0.958),
    (10, "iid", 0.978),
]


@pytest.mark.parametrize(("n", "order", "expected"), SIMULATED)
def test_simulated_thresholds_of_function_2(n, order, expected):
    found = theory.threshold(
        0.0, function_2(n), order, 1600, 128, bracket=(0.7, 0.99), points=7, rounds=2
    )
    assert found.standard_error.item() < 0.002
    # Three standard errors beside the resolution of the table.
    assert abs(found.beta2.item() - expected) < 0.001 + 3 * found.standard_error.item()


def test_a_rule_that_never_errs_has_no_threshold():
    found = theory.threshold(0.9, function_2(5), "reshuffled", 600, 8, points=6, rounds=1)
    assert found.beta2.isnan()
    assert found.standard_error.isnan()


def test_control_variate_leaves_the_mean_and_lowers_the_error():
    gradients, beta2 = function_2(10), torch.tensor([0.9, 0.99], **F64)
    short = theory.drift(0.0, beta2, gradients, "iid", 1000, 256)
    other = theory.drift(0.0, beta2, gradients, "iid", 1000, 256, seed=1)
    error = torch.hypot(short.standard_error, other.standard_error)
    assert ((short.mean - other.mean).abs() < 4 * error).all()
    # Without it the error at large β2 is that of the mean of 750 normalised gradients.
    plain = math.sqrt(1 / (750 * 256))
    assert short.standard_error[1] < 0.5 * plain
