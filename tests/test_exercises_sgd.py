"""The checks of the chapter on SGD: kind to stubs, firm with mistakes, pleased by the answer."""

import math

import pytest

from companion.checks import sgd as checks


def best_step(eigenvalues):
    mu, L = min(eigenvalues), max(eigenvalues)
    return 2 / (L + mu), (L - mu) / (L + mu)


def minibatch_gradient(a, b, x, index):
    return (a[index] @ x - b[index]) @ a[index] / len(index)


def gradient_variance(a, b, x, B):
    each = (a @ x - b)[:, None] * a
    return (each - each.mean(0)).square().sum(-1).mean() / B


def noise_floor(lr, eigenvalues, sigma):
    if lr * max(eigenvalues) >= 2:
        return math.inf
    return sum(lr * sigma**2 / (2 - lr * lam) for lam in eigenvalues) / 2


def condition_number(gaps):
    half = len(gaps) // 2
    factor = (gaps[-1] / gaps[half]) ** (1 / (len(gaps) - 1 - half))
    return 1 / (1 - factor**0.5)


def stub(*arguments):
    return ...


STUBS = {
    "best step": (checks.check_best_step, lambda eigenvalues: (..., ...)),
    "best step, no pair": (checks.check_best_step, stub),
    "minibatch": (checks.check_minibatch, stub, stub),
    "minibatch, half done": (checks.check_minibatch, minibatch_gradient, stub),
    "noise floor": (checks.check_noise_floor, stub),
    "schedule": (checks.check_schedule, stub),
    "condition number": (checks.check_condition_number, stub),
}
WRONG = {
    "step 1/L": (checks.check_best_step, lambda e: (1 / max(e), 1 - min(e) / max(e))),
    "sorted input assumed": (checks.check_best_step, lambda e: best_step([e[0], e[-1]])),
    "step without rate": (checks.check_best_step, lambda e: best_step(e)[0]),
    "sum, not mean": (
        checks.check_minibatch,
        lambda a, b, x, i: minibatch_gradient(a, b, x, i) * len(i),
        gradient_variance,
    ),
    "variance over B squared": (
        checks.check_minibatch,
        minibatch_gradient,
        lambda a, b, x, B: gradient_variance(a, b, x, B * B),
    ),
    "second moment, not variance": (
        checks.check_minibatch,
        minibatch_gradient,
        lambda a, b, x, B: ((a @ x - b)[:, None] * a).square().sum(-1).mean() / B,
    ),
    "approximate floor": (
        checks.check_noise_floor,
        lambda lr, e, sigma: lr * len(e) * sigma**2 / 4,
    ),
    "floor of the unstable": (
        checks.check_noise_floor,
        lambda lr, e, sigma: sum(lr * sigma**2 / (2 - lr * lam) for lam in e) / 2,
    ),
    "constant steps": (checks.check_schedule, lambda t: 0.1),
    "steps that stop": (checks.check_schedule, lambda t: 1 / t**2),
    "steps too long": (checks.check_schedule, lambda t: 5 / t),
    "constant too small": (checks.check_schedule, lambda t: 0.2 / t),
    "rate of the loss": (
        checks.check_condition_number,
        lambda gaps: 1 / (1 - (gaps[-1] / gaps[-2])),
    ),
    "measured early": (
        checks.check_condition_number,
        lambda gaps: 1 / (1 - (gaps[1] / gaps[0]) ** 0.5),
    ),
}
RIGHT = {
    "best step": (checks.check_best_step, best_step),
    "minibatch": (checks.check_minibatch, minibatch_gradient, gradient_variance),
    "noise floor": (checks.check_noise_floor, noise_floor),
    "average": (checks.check_schedule, lambda t: 2 / t),
    "root": (checks.check_schedule, lambda t: 1 / math.sqrt(t)),
    "condition number": (checks.check_condition_number, condition_number),
}


@pytest.mark.parametrize(("check", "answers"), [(c, a) for c, *a in STUBS.values()], ids=STUBS)
def test_a_stub_is_not_yet(check, answers):
    verdict = check(*answers)
    assert not verdict.passed
    assert "not yet" in verdict.message


@pytest.mark.parametrize(("check", "answers"), [(c, a) for c, *a in WRONG.values()], ids=WRONG)
def test_a_typical_mistake_is_named(check, answers):
    verdict = check(*answers)
    assert not verdict.passed
    assert "not right yet" in verdict.message


@pytest.mark.parametrize(("check", "answers"), [(c, a) for c, *a in RIGHT.values()], ids=RIGHT)
def test_the_answer_is_correct(check, answers):
    assert check(*answers).passed
