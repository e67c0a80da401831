"""The checks of the chapter on ADOPT: stubs, typical errors, right answers."""

import math

import pytest

from companion.checks import adopt


def nothing(*arguments):
    return ...


def empty_rule(x, g, m, v, t, lr, beta1, beta2, eps):
    return ...


def two_stubs(k):
    return ..., ...


def rule(x, g, m, v, t, lr, beta1, beta2, eps):
    if t == 1:
        return x, m, g**2
    m = beta1 * m + (1 - beta1) * g / v.sqrt().clamp(min=eps)
    return x - lr * m, m, beta2 * v + (1 - beta2) * g**2


def with_the_present_v(x, g, m, v, t, lr, beta1, beta2, eps):
    v = g**2 if t == 1 else beta2 * v + (1 - beta2) * g**2
    m = beta1 * m + (1 - beta1) * g / v.sqrt().clamp(min=eps)
    return (x if t == 1 else x - lr * m), m, v


def divided_after_the_momentum(x, g, m, v, t, lr, beta1, beta2, eps):
    if t == 1:
        return x, m, g**2
    m = beta1 * m + (1 - beta1) * g
    return x - lr * m / v.sqrt().clamp(min=eps), m, beta2 * v + (1 - beta2) * g**2


def eps_added(x, g, m, v, t, lr, beta1, beta2, eps):
    if t == 1:
        return x, m, g**2
    m = beta1 * m + (1 - beta1) * g / (v.sqrt() + eps)
    return x - lr * m, m, beta2 * v + (1 - beta2) * g**2


def moving_at_once(x, g, m, v, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g / v.sqrt().clamp(min=eps)
    return x - lr * m, m, beta2 * v + (1 - beta2) * g**2


def mean_steps(k):
    return 2 / k - 1, (1 - 1 / k) / k + 1 / k**3


def first_right_call(k):
    return math.floor(((k - 1) - 1 / (k * (k - 1))) ** 4) + 2


def resting_point(g, h, beta2):
    return -(1 - beta2) * (g**3).mean() / (4 * (g**2).mean() * h)


@pytest.mark.parametrize(
    ("check", "stub"),
    [
        (adopt.check_adopt, empty_rule),
        (adopt.check_mean_steps, nothing),
        (adopt.check_mean_steps, two_stubs),
        (adopt.check_first_right_call, nothing),
        (adopt.check_resting_point, nothing),
    ],
)
def test_a_stub_is_not_yet_an_answer(check, stub):
    verdict = check(stub)
    assert not verdict.passed
    assert ": not yet: " in verdict.message


@pytest.mark.parametrize(
    ("check", "answer", "part"),
    [
        (adopt.check_adopt, with_the_present_v, "the v of before"),
        (adopt.check_adopt, divided_after_the_momentum, "then average"),
        (adopt.check_adopt, eps_added, "eps is a floor"),
        (adopt.check_adopt, moving_at_once, "the first call only sets v"),
        (adopt.check_mean_steps, lambda k: (1.0, mean_steps(k)[1]), "what is g / |g|?"),
        (adopt.check_mean_steps, lambda k: (2 / k - 1, 1 / k), "independent"),
        (adopt.check_mean_steps, lambda k: 2 / k - 1, "two numbers"),
        (adopt.check_first_right_call, lambda k: (k - 1) ** 4, "solve D(c) > 0"),
        (adopt.check_first_right_call, lambda k: first_right_call(k) - 1, "solve D(c) > 0"),
        (adopt.check_first_right_call, lambda k: 1.5, "round up"),
        (adopt.check_resting_point, lambda g, h, b: -resting_point(g, h, b), "κ is −½"),
        (adopt.check_resting_point, lambda g, h, b: h * resting_point(g, h, b), "is h x"),
        (adopt.check_resting_point, lambda g, h, b: 2 * resting_point(g, h, b), "κ is −½"),
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
        (adopt.check_adopt, rule),
        (adopt.check_mean_steps, mean_steps),
        (adopt.check_first_right_call, first_right_call),
        (adopt.check_resting_point, resting_point),
    ],
)
def test_a_right_answer_passes(check, answer):
    assert check(answer).passed


@pytest.mark.parametrize(("k", "call"), [(3, 13), (10, 6530)])
def test_the_first_right_call_is_where_the_enumerated_mean_turns_positive(k, call):
    """All pairs of a gradient and the one before, with their probabilities."""

    def mean(clip):
        toy = ((float(k**2), 1 / k), (-float(k), 1 - 1 / k))
        return sum(
            p * q * max(-clip, min(clip, g / abs(before))) for g, p in toy for before, q in toy
        )

    assert first_right_call(k) == call
    assert mean((call - 2) ** 0.25) <= 0 < mean((call - 1) ** 0.25)
