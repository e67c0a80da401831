"""The checks of the chapter on repairs of Adam: stubs, typical errors, right answers."""

import math

import pytest
import torch

from companion.checks import repairs


def nothing(*arguments):
    return ...


def empty_amsgrad(x, g, m, v, u, lr, beta1, beta2, eps):
    return ...


def amsgrad(x, g, m, v, u, lr, beta1, beta2, eps):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    u = torch.maximum(u, v)
    return x - lr * m / (u.sqrt() + eps), m, v, u


def maximum_in_place(x, g, m, v, u, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = torch.maximum(v, beta2 * v + (1 - beta2) * g**2)
    return x - lr * m / (v.sqrt() + eps), m, v, v


def corrected(x, g, m, v, u, t, lr, beta1, beta2, eps):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    u = torch.maximum(u, v)
    step = lr / (1 - beta1**t)
    return x - step * m / ((u / (1 - beta2**t)).sqrt() + eps), m, v, u


def empty_adafom(x, g, m, v, t, lr, beta1, eps):
    return ...


def adafom(x, g, m, v, t, lr, beta1, eps):
    m, v = beta1 * m + (1 - beta1) * g, ((t - 1) * v + g**2) / t
    return x - lr * m / (v.sqrt() + eps), m, v


def adagrad(x, g, m, v, t, lr, beta1, eps):
    m, v = beta1 * m + (1 - beta1) * g, v + g**2
    return x - lr * m / (v.sqrt() + eps), m, v


@pytest.mark.parametrize(
    ("check", "stub"),
    [
        (repairs.check_amsgrad, empty_amsgrad),
        (repairs.check_step_after, nothing),
        (repairs.check_adafom, empty_adafom),
        (repairs.check_closing_time, nothing),
    ],
)
def test_a_stub_is_not_yet_an_answer(check, stub):
    verdict = check(stub)
    assert not verdict.passed
    assert ": not yet: " in verdict.message


@pytest.mark.parametrize(
    ("check", "answer", "part"),
    [
        (repairs.check_amsgrad, maximum_in_place, "apart in u"),
        (repairs.check_amsgrad, corrected, "correct nothing"),
        (repairs.check_step_after, lambda A, b: 1 / A, "right after the outlier"),
        (repairs.check_step_after, lambda A, b: 1 / (math.sqrt(1 - b) * A), "the maximum keep"),
        (repairs.check_step_after, lambda A, b: 1.0, "the maximum keep"),
        (repairs.check_adafom, adagrad, "v is the mean"),
        (repairs.check_closing_time, lambda g, tol: math.ceil((1 / tol - 1) / g), "which of the"),
        (repairs.check_closing_time, lambda g, tol: 1 / (g * tol), "round up"),
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
        (repairs.check_amsgrad, amsgrad),
        (repairs.check_step_after, lambda A, b: (b + (1 - b) * A**2) ** -0.5),
        (repairs.check_adafom, adafom),
        (repairs.check_closing_time, lambda g, tol: math.ceil(1 / (g * tol))),
    ],
)
def test_a_right_answer_passes(check, answer):
    assert check(answer).passed
