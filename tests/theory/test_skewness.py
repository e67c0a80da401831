"""The expansion in the skewness against exact and simulated drifts."""

import itertools

import pytest
import torch

from companion import theory
from companion.optim import ADOPT, Adam
from tests.theory.cases import F64, function_2

BETAS = torch.tensor([0.0, 0.5, 0.9], **F64)
LOPSIDED = [7.0, -1.0, 0.5, -2.0, 0.2]  # distinct, mean and third moment positive


def moments(g):
    g = torch.as_tensor(g, **F64)
    return g.mean(0), g.square().mean(0), g.pow(3).mean(0)


def test_kappa_of_ten_samples():
    found = theory.kappa(BETAS, 10)
    torch.testing.assert_close(found, torch.tensor([0.5, 0.411, 0.151], **F64), atol=5e-4, rtol=0)
    for n in (2, 5, 50):
        assert theory.kappa(0.0, n).item() == pytest.approx(0.5)
        assert theory.kappa(0.0, n, "cyclic").item() == pytest.approx(0.5)
    p, b = torch.arange(10, **F64), 0.9
    late = b / (1 - b) - 10 * b**10 / (1 - b**10)  # the closed form of the docstring
    assert theory.kappa(b, 10, "cyclic").item() == pytest.approx(0.5 - late / 9)
    direct = ((1 - b ** (p + 1)) * (1 - p / 9)).mean()
    torch.testing.assert_close(theory.kappa(b, 10), direct)


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
def test_kappa_reshuffled_equals_the_enumeration_of_an_epoch(beta1):
    # At β2 → 1 whole epochs cancel in v - E[v]: what is left is the part of this epoch.
    g = torch.tensor(LOPSIDED, **F64)
    orders = g[torch.tensor(list(itertools.permutations(range(5))))]  # (120, 5)
    excess = (orders.square() - g.square().mean()).cumsum(1)
    m, inside, before = g.mean().expand(120), [], []
    for i in range(5):
        before.append(excess[:, i - 1] if i else 0 * m)
        m = beta1 * m + (1 - beta1) * orders[:, i]
        inside.append(m)
    covariance = (g * (g.square() - g.square().mean())).mean()
    found = (torch.stack(inside, 1) * excess).mean() / covariance
    torch.testing.assert_close(theory.kappa(beta1, 5), found)
    adopt = (orders * torch.stack(before, 1)).mean() / covariance
    torch.testing.assert_close(theory.kappa(beta1, 5, optimizer="ADOPT"), adopt)


@pytest.mark.parametrize("g", [function_2(5), function_2(10), LOPSIDED])
@pytest.mark.parametrize("optimizer", [Adam, ADOPT])
def test_the_cyclic_deviation_is_the_limit_of_the_exact_one(g, optimizer):
    n, options = len(g), {"clip_lambda": None} if optimizer is ADOPT else {}
    mean, second, _ = moments(g)
    errors = []
    for off in (4e-2, 4e-3):
        steps = int(16 / off)  # ADOPT keeps its start for long
        walked = theory.drift(
            BETAS, 1 - off, g, "cyclic", steps + 2 * n, burn=steps, optimizer=optimizer, **options
        )
        formula = theory.step_deviation(g, BETAS, 1 - off, "cyclic", optimizer.__name__)
        errors.append((walked.mean - mean / second.sqrt()) / formula - 1)
    assert (errors[1].abs() < 0.05).all()
    assert (errors[1].abs() < 0.15 * errors[0].abs() + 1e-3).all()  # it is of first order


def test_the_cycle_of_one_rare_gradient_has_kappa_in_closed_form():
    for n in (5, 10):
        g = function_2(n)
        mean, second, third = moments(g)
        for name in ("Adam", "ADOPT"):
            factor = theory.kappa(BETAS, n, "cyclic", name)
            bias = theory.skewness_bias(0.999, second, third, factor, mean)
            exact = theory.step_deviation(g, BETAS, 0.999, "cyclic", name)
            torch.testing.assert_close(exact, -bias / second.sqrt())
    # Against the drift in closed form: the error halves with 1 - β2.
    off = torch.tensor([1e-4, 1e-5], **F64)[:, None]
    mean, second, _ = moments(function_2(10))
    exact = theory.cyclic_drift(BETAS, 1 - off, 10) / 10 - mean / second.sqrt()
    ratio = theory.step_deviation(function_2(10), BETAS, 1 - off, "cyclic") / exact
    assert ((ratio - 1).abs() < torch.tensor([[1e-2], [1e-3]])).all()


def test_kappa_cyclic_is_the_mean_over_all_cycles():
    orders = torch.tensor(list(itertools.permutations(LOPSIDED)), **F64).mT  # (5, 120)
    for name in ("Adam", "ADOPT"):
        found = theory.step_deviation(orders, BETAS, 0.999, "cyclic", name).mean(-1)
        mean, second, third = moments(LOPSIDED)
        factor = theory.kappa(BETAS, 5, "cyclic", name)
        bias = theory.skewness_bias(0.999, second, third, factor, mean)
        torch.testing.assert_close(found, -bias / second.sqrt())


@pytest.mark.parametrize("order", ["iid", "reshuffled"])
@pytest.mark.parametrize("optimizer", [Adam, ADOPT])
def test_the_deviation_gives_the_drift_for_large_beta2(optimizer, order):
    g, beta2 = LOPSIDED, 0.995
    options = {"clip_lambda": None} if optimizer is ADOPT else {}
    seeds = 2000 if order == "iid" else 256  # enough to see that v varies: 0.2 of the unit
    found = theory.drift(
        BETAS, beta2, g, order, 2000, seeds, burn=800, optimizer=optimizer, **options
    )
    mean, second, third = moments(g)
    predicted = theory.step_deviation(g, BETAS, beta2, order, optimizer.__name__)
    unit = theory.skewness_bias(beta2, second, third, 1.0, mean) / second.sqrt()
    wrong = (found.mean - mean / second.sqrt() - predicted).abs()
    assert (wrong < 0.04 * unit + 4 * found.standard_error).all()
    assert (found.standard_error < 0.03 * unit).all()


def test_coordinates_come_together_and_constant_ones_do_not_deviate():
    g = torch.tensor([LOPSIDED, [2.0] * 5, [0.0] * 5, LOPSIDED[::-1]], **F64).mT
    beta1, beta2 = BETAS[:, None], torch.tensor([0.99, 0.999], **F64)
    for order in ("iid", "reshuffled", "cyclic"):
        found = theory.step_deviation(g, beta1, beta2, order)
        assert found.shape == (3, 2, 4)
        assert not found[..., 1:3].any()
        for i in (0, 3):
            alone = theory.step_deviation(g[:, i], beta1, beta2, order)
            torch.testing.assert_close(found[..., i], alone)


def test_skewness_threshold_is_the_limit_of_the_exact_one():
    for beta1 in (0.0, 0.5, 0.9):
        for n, tolerance in ((20, 0.08), (50, 0.025), (100, 0.012)):
            factor = theory.kappa(beta1, n, "cyclic")
            expansion = theory.skewness_threshold(*moments(function_2(n)), factor)
            ratio = ((1 - expansion) / (1 - theory.cyclic_threshold(beta1, n))).item()
            assert ratio == pytest.approx(1, abs=tolerance), (beta1, n)


def test_skewness_bias_of_the_two_panels():
    # E[g²] = 4a²/9 and E[g³] = -.7901 a³ at x* = 0; the mean loss has curvature 1/50.
    a = 3.0
    _, second, third = moments([-2 * a] + [2 * a / 9] * 9)
    bias = theory.skewness_bias(0.999, second, third) * 50
    assert bias.item() == pytest.approx(-44.4 * 0.001 * a, rel=2e-3)
