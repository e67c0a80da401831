"""The checks of the chapter on the counterexamples: stubs, typical errors, right answers."""

import pytest
import torch

from companion.checks import counterexample
from companion.theory import cyclic_drift, cyclic_threshold


def nothing(*arguments):
    return ...


def cycle_sum(gradients, beta2):
    n, total = len(gradients), 0.0
    for p in range(n):
        squares = sum(beta2**i * gradients[p - i] ** 2 for i in range(n))
        total += gradients[p] / (squares * (1 - beta2) / (1 - beta2**n)) ** 0.5
    return total


def wrong_age(gradients, beta2):
    return cycle_sum(gradients[::-1], beta2)


def without_the_limit(gradients, beta2):
    return cycle_sum(gradients, beta2) / (1 - beta2 ** len(gradients)) ** 0.5


def threshold(C):
    low, high = 0.0, 1 - 1e-9
    for _ in range(60):
        middle = (low + high) / 2
        if cycle_sum([C, -1.0, -1.0], middle) < 0:
            low = middle
        else:
            high = middle
    return low


def gammas(v, alpha):
    ratio = v.sqrt() * torch.arange(1.0, len(v) + 1, dtype=v.dtype).sqrt() / alpha
    return torch.diff(ratio, prepend=torch.zeros(1))


def breaking(beta1, beta2):
    return next(n for n in range(2, 500) if cyclic_drift(beta1, beta2, n) < 0)


@pytest.mark.parametrize(
    "check",
    [
        counterexample.check_cycle_sum,
        counterexample.check_threshold,
        counterexample.check_gammas,
        counterexample.check_breaking_problem,
    ],
)
@pytest.mark.parametrize("stub", [nothing, lambda *arguments: None])
def test_a_stub_is_not_yet_an_answer(check, stub):
    verdict = check(stub)
    assert not verdict.passed
    assert ": not yet: " in verdict.message


@pytest.mark.parametrize(
    ("check", "answer", "part"),
    [
        (counterexample.check_cycle_sum, lambda g, b: sum(g), "index p - i"),
        (counterexample.check_cycle_sum, wrong_age, "index p - i"),
        (counterexample.check_cycle_sum, without_the_limit, "the weight"),
        (counterexample.check_threshold, lambda C: 1 / (1 + C**2), "halve the interval"),
        (counterexample.check_gammas, lambda v, a: gammas(v, a)[1:], "expected 50 values"),
        (counterexample.check_gammas, lambda v, a: gammas(v, 1.0), "add up to"),
        (counterexample.check_gammas, lambda v, a: gammas(v**2, a), "add up to"),
        (counterexample.check_gammas, lambda v, a: gammas(v, a).flip(0), "t = 1"),
        (counterexample.check_breaking_problem, lambda b1, b2: 5, "goes the right way"),
        (counterexample.check_breaking_problem, lambda b1, b2: 200.5, "whole number"),
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
        (counterexample.check_cycle_sum, cycle_sum),
        (counterexample.check_threshold, threshold),
        (counterexample.check_threshold, lambda C: cyclic_threshold(0.0, n=3, rare=C)),
        (counterexample.check_gammas, gammas),
        (counterexample.check_breaking_problem, breaking),
        (counterexample.check_breaking_problem, lambda b1, b2: 1000),
    ],
)
def test_a_right_answer_passes(check, answer):
    assert check(answer).passed


def test_the_sum_over_a_cycle_is_that_of_the_theory():
    for beta2 in (0.0, 0.3, 0.99):
        expected = cyclic_drift(0.0, beta2, 3, rare=4.0).item()
        assert counterexample.normalised_sum([4.0, -1.0, -1.0], beta2) == pytest.approx(expected)
