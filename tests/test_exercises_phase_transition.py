"""The checks of the chapter on the phase transition: stubs, typical errors, right answers."""

import pytest
import torch

from companion.checks import phase_transition as phase
from companion.problems import TenParabolas
from companion.theory import cyclic_drift, momentum_error, skewness_bias

CHECKS = [
    phase.check_escape_beta1,
    phase.check_first_order_threshold,
    phase.check_resting_point,
    phase.check_expected_gap,
]


def nothing(*arguments):
    return ...


def escape(n):
    """Return the β1 at which the exact drift at β2 = 0 changes its sign, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if cyclic_drift(middle, 0.0, n) < 0:
            low = middle
        else:
            high = middle
    return low


def first_order(n, a, kappa):
    g = torch.tensor([1 + (n - 1) * a] + [-a] * (n - 1), dtype=torch.float64)
    return (1 - 2 * g.mean() * (g**2).mean() / (kappa * (g**3).mean())).item()


def at_rest(h, c, beta2, kappa):
    best = sum(a * b for a, b in zip(h, c, strict=True)) / sum(h)
    g = [a * (best - b) for a, b in zip(h, c, strict=True)]
    ratio = sum(z**3 for z in g) / sum(z**2 for z in g)
    return best + kappa * (1 - beta2) * ratio / 2 / (sum(h) / len(h))


def gap(c, beta, k):
    return momentum_error(c, beta, k)  # by going through all sequences


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("stub", [nothing, lambda *arguments: None])
def test_a_stub_is_not_yet_an_answer(check, stub):
    verdict = check(stub)
    assert not verdict.passed
    assert ": not yet: " in verdict.message


@pytest.mark.parametrize(
    ("check", "answer", "part"),
    [
        (phase.check_escape_beta1, lambda n: 0.0, "find where"),
        (phase.check_escape_beta1, lambda n: 1 - (2 * n - 1) / (n**2 - 1), "find where"),
        (phase.check_first_order_threshold, lambda n, a, k: 1 - 2 / (k * n**2), "do not round"),
        (phase.check_first_order_threshold, lambda n, a, k: 1 - first_order(n, a, k), "not 1 - β₂"),
        (phase.check_first_order_threshold, lambda n, a, k: first_order(n, 1.0, k), "a = 2.0"),
        (phase.check_first_order_threshold, lambda n, a, k: first_order(n, a, 1.0), "kappa = 0.5"),
        (phase.check_resting_point, lambda h, c, b, k: 0.0, "the minimiser is"),
        (phase.check_resting_point, lambda h, c, b, k: -at_rest(h, c, b, k), "the minimiser is"),
        (phase.check_resting_point, lambda h, c, b, k: at_rest(h, c, b, 1.0), "kappa = 0.5"),
        (
            phase.check_resting_point,
            lambda h, c, b, k: at_rest(h, c, b, k) * sum(h) / len(h),
            "divided by the mean of h",
        ),
        (phase.check_expected_gap, lambda c, b, k: (1 - b) * gap(c, b, k), "no factor 1 - β"),
        (phase.check_expected_gap, lambda c, b, k: 0.0, "Σ f has n · k weights"),
        (phase.check_expected_gap, lambda c, b, k: gap(c, b, 1), "k = 4"),
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
        (phase.check_escape_beta1, escape),
        (phase.check_first_order_threshold, first_order),
        (phase.check_resting_point, at_rest),
        (phase.check_expected_gap, gap),
    ],
)
def test_a_right_answer_passes(check, answer):
    assert check(answer).passed


@pytest.mark.parametrize("n", [3, 5, 10, 50])
def test_the_left_edge_is_where_the_exact_drift_changes_its_sign(n):
    edge = phase.left_edge(n)
    assert cyclic_drift(edge - 1e-6, 0.0, n) < 0 < cyclic_drift(edge + 1e-6, 0.0, n)


def test_the_resting_point_is_that_of_the_theory():
    moments = TenParabolas(a=3.0).moments(torch.zeros((), dtype=torch.float64))
    bias = skewness_bias(0.999, moments.second, moments.third, 0.5)
    h, c, beta2, kappa = phase.PARABOLAS[1]
    assert phase.rest(h, c, beta2, kappa) == pytest.approx((bias / 0.02).item())
