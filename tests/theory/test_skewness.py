"""The expansion in the skewness against exact and simulated drifts."""

import pytest
import torch

from companion import theory
from companion.optim import ADOPT, Adam
from tests.theory.cases import F64, function_2


@pytest.mark.parametrize("order", ["iid", "reshuffled", "cyclic"])
@pytest.mark.parametrize("optimizer", [Adam, ADOPT])
def test_skewness_gives_the_drift_for_large_beta2(optimizer, order):
    n, beta2 = 5, 0.995
    g = torch.tensor(function_2(n), **F64)
    second, third = g.square().mean(), g.pow(3).mean()
    options = {"clip_lambda": None} if optimizer is ADOPT else {}
    found = theory.drift(0.0, beta2, g, order, 3000, 128, burn=1500, optimizer=optimizer, **options)
    kappa = theory.skewness_factor(optimizer.__name__, order)
    bias = theory.skewness_bias(beta2, second, third, kappa)
    predicted = (g.mean() - bias) / second.sqrt()
    unit = theory.skewness_bias(beta2, second, third, 1.0) / second.sqrt()
    assert abs(found.mean - predicted) < 0.15 * unit + 4 * found.standard_error


def test_skewness_threshold_is_the_limit_of_the_exact_one():
    for n, tolerance in ((20, 0.1), (50, 0.03), (100, 0.015)):
        g = torch.tensor(function_2(n), **F64)
        moments = g.mean(), g.square().mean(), g.pow(3).mean()
        expansion = theory.skewness_threshold(*moments, theory.skewness_factor("Adam", "cyclic"))
        exact = theory.cyclic_threshold(0.0, n)
        assert ((1 - expansion) / (1 - exact)).item() == pytest.approx(1, abs=tolerance)
        assert (1 - expansion).item() == pytest.approx(4 * (n + 1) / n**3, rel=0.01)


def test_skewness_bias_of_the_two_panels():
    # E[g²] = 4a²/9 and E[g³] = -.7901 a³ at x* = 0; the mean loss has curvature 1/50.
    a = 3.0
    g = torch.tensor([-2 * a] + [2 * a / 9] * 9, **F64)
    bias = theory.skewness_bias(0.999, g.square().mean(), g.pow(3).mean()) * 50
    assert bias.item() == pytest.approx(-44.4 * 0.001 * a, rel=2e-3)
