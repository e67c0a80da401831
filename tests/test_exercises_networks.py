"""The checks of the chapter on phase diagrams of networks: stubs, typical errors, right answers."""

import math
import statistics

import pytest
import torch

from companion.checks import networks
from companion.theory import skewness_threshold


def nothing(*arguments):
    return ...


def longest_step(beta1, beta2, t):
    q = beta1**2 / beta2
    return (
        (1 - beta1)
        / (1 - beta1**t)
        * (((1 - beta2**t) / (1 - beta2)) * (1 - q**t) / (1 - q)) ** 0.5
    )


def limit(beta1, beta2, t):
    return (1 - beta1) / math.sqrt((1 - beta2) * abs(1 - beta1**2 / beta2))


def uncorrected(beta1, beta2, t):
    q = beta1**2 / beta2
    return (1 - beta1) * math.sqrt((1 - q**t) / (1 - q) / (1 - beta2))


def growth(beta1, beta2):
    return beta1 / math.sqrt(beta2)


def zeros_until(K, beta1, beta2):
    ratio, k = (1 - beta1) / math.sqrt(1 - beta2), 0
    while ratio < K:
        ratio, k = ratio * growth(beta1, beta2), k + 1
    return k


def from_one(K, beta1, beta2):
    return math.ceil(math.log(K) / math.log(growth(beta1, beta2)))


def not_rounded(K, beta1, beta2):
    first = (1 - beta1) / math.sqrt(1 - beta2)
    return math.log(K / first) / math.log(growth(beta1, beta2))


def needed_beta2(g):
    return skewness_threshold(g.mean(), g.square().mean(), g.pow(3).mean(), 0.5)


def independent(g):
    return skewness_threshold(g.mean(), g.square().mean(), g.pow(3).mean(), 1.0)


def safe(losses, factor, judge=max, stop=True):
    judged = {b: judge([math.inf if z != z else z for z in zs]) for b, zs in losses.items()}
    best, answer = min(judged.values()), None
    for beta2 in sorted(judged, reverse=True):
        if judged[beta2] <= factor * best:
            answer = beta2
        elif stop:
            break
    return answer


def safe_by_median(losses, factor):
    return safe(losses, factor, statistics.median)


def safe_anywhere(losses, factor):
    return safe(losses, factor, stop=False)


def safe_but_for_nan(losses, factor):
    return safe({b: [z for z in zs if z == z] for b, zs in losses.items()}, factor)


def safe_against_the_best_loss(losses, factor):
    best = min(z for zs in losses.values() for z in zs if z == z)
    return safe({**losses, 0.0: [best]}, factor)


CHECKS = [
    networks.check_longest_step,
    networks.check_zeros_until,
    networks.check_needed_beta2,
    networks.check_safe_beta2,
]


@pytest.mark.parametrize("check", CHECKS)
def test_a_stub_is_not_yet_an_answer(check):
    verdict = check(nothing)
    assert not verdict.passed
    assert ": not yet: " in verdict.message


@pytest.mark.parametrize(
    ("check", "answer", "part"),
    [
        (networks.check_longest_step, limit, "the sum has t terms"),
        (networks.check_longest_step, uncorrected, "the sum has t terms"),
        (networks.check_longest_step, lambda b1, b2, t: 1.0, "q is β₁²/β₂"),
        (networks.check_zeros_until, from_one, "before the first zero"),
        (networks.check_zeros_until, not_rounded, "round up"),
        (networks.check_zeros_until, lambda *a: zeros_until(*a) + 1, "each zero multiplies"),
        (networks.check_needed_beta2, independent, "bracket to zero"),
        (networks.check_needed_beta2, lambda g: 1 - needed_beta2(g), "solve for β₂"),
        (networks.check_safe_beta2, safe_by_median, "worst seed"),
        (networks.check_safe_beta2, safe_anywhere, "first bad value"),
        (networks.check_safe_beta2, safe_but_for_nan, "worst seed"),
        (networks.check_safe_beta2, safe_against_the_best_loss, "worst seed"),
        (networks.check_safe_beta2, lambda losses, factor: None, "got None"),
        (networks.check_safe_beta2, lambda losses, factor: max(losses), "worst seed"),
    ],
)
def test_a_typical_error_is_named(check, answer, part):
    verdict = check(answer)
    assert not verdict.passed
    assert "not right yet" in verdict.message
    assert part in verdict.message


@pytest.mark.parametrize(
    ("check", "answer"),
    list(zip(CHECKS, [longest_step, zeros_until, needed_beta2, safe], strict=True)),
)
def test_a_right_answer_passes(check, answer):
    assert check(answer).passed


def test_no_gradients_exceed_the_longest_step():
    generator = torch.Generator().manual_seed(0)
    for beta1, beta2, t in ((0.9, 0.99, 12), (0.9, 0.5, 12), (0.0, 0.9, 5)):
        s = torch.arange(t, dtype=torch.float64)
        w1, w2 = beta1**s, beta2**s
        # Heavy tails, so that some of the sequences have one large entry.
        g = torch.randn(20_000, t, generator=generator, dtype=torch.float64).pow(5)
        ratio = (g @ w1 / w1.sum()).abs() / (g.square() @ w2 / w2.sum()).sqrt()
        assert ratio.max() <= longest_step(beta1, beta2, t) * (1 + 1e-12)
