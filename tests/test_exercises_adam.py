"""The checks of the chapter on Adam: stubs, typical errors, right answers."""

import math

import pytest
import torch

from companion.checks import adam


def nothing(*arguments):
    return ...


def rule(x, g, m, v, t, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return x - lr * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def without_correction(x, g, m, v, lr, beta1, beta2, eps):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    return x - lr * m / (v.sqrt() + eps), m, v


def eps_under_the_root(x, g, m, v, t, lr, beta1, beta2, eps):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    return x - lr * (m / (1 - beta1**t)) / (v / (1 - beta2**t) + eps).sqrt(), m, v


def decoupled(x, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return rule(x * (1 - lr * weight_decay), g, m, v, t, lr, beta1, beta2, eps)


def l2(x, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return rule(x, g + weight_decay * x, m, v, t, lr, beta1, beta2, eps)


def empty(x, g, m, v, t, lr, beta1, beta2, eps):
    return ...


def worst(t, beta1, beta2):
    return (beta1 / beta2) ** torch.arange(t).flip(0)


@pytest.mark.parametrize(
    ("check", "stub"),
    [
        (adam.check_first_step, nothing),
        (adam.check_steps_until, nothing),
        (adam.check_adam, empty),
        (adam.check_adamw, empty),
        (adam.check_longest_step, nothing),
        (adam.check_longest_step, lambda t, beta1, beta2: None),
    ],
)
def test_a_stub_is_not_yet_an_answer(check, stub):
    verdict = check(stub)
    assert not verdict.passed
    assert ": not yet: " in verdict.message


@pytest.mark.parametrize(
    ("check", "answer", "part"),
    [
        (adam.check_first_step, lambda lr, beta1, beta2: lr, "the gradient cancels"),
        (adam.check_first_step, lambda lr, b1, b2: lr * (1 - b1) / (1 - b2), "m₀ = v₀ = 0"),
        (adam.check_steps_until, lambda b, tol: math.log(tol) / math.log(b), "round up"),
        (adam.check_steps_until, lambda b, tol: math.ceil(1 / (1 - b)), "β₂ᵗ"),
        (adam.check_adam, without_correction, "correct both averages"),
        (adam.check_adam, eps_under_the_root, "not under it"),
        (adam.check_adamw, l2, "out of the gradient"),
        (adam.check_longest_step, lambda t, b1, b2: torch.ones(t), "Cauchy"),
        (adam.check_longest_step, lambda t, b1, b2: worst(t, b1, b2).flip(0), "Cauchy"),
        (adam.check_longest_step, lambda t, b1, b2: torch.ones(3), "expected 200 gradients"),
        (adam.check_longest_step, lambda t, b1, b2: torch.ones(t) / 0, "NaN or infinite"),
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
        (adam.check_first_step, lambda lr, beta1, beta2: lr * (1 - beta1) / (1 - beta2) ** 0.5),
        (adam.check_steps_until, lambda b, tol: math.ceil(math.log(tol) / math.log(b))),
        (adam.check_adam, rule),
        (adam.check_adamw, decoupled),
        (adam.check_longest_step, worst),
        (adam.check_longest_step, lambda t, b1, b2: -7 * worst(t, b1, b2)),
    ],
)
def test_a_right_answer_passes(check, answer):
    assert check(answer).passed


def test_longest_step_tends_to_the_limit_in_the_chapter():
    beta1, beta2 = 0.9, 0.999
    limit = (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))
    assert adam.longest_step(30_000, beta1, beta2) == pytest.approx(limit, rel=1e-9)


def test_no_random_gradients_exceed_the_longest_step():
    generator = torch.Generator().manual_seed(0)
    for beta1, beta2 in adam.BETAS:
        for _ in range(10):
            g = torch.randn(50, generator=generator, dtype=torch.float64)
            assert abs(adam.last_step(g, beta1, beta2)) <= adam.longest_step(50, beta1, beta2)
