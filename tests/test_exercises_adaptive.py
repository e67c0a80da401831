"""The checks of the chapter on AdaGrad and RMSprop: stub, common mistakes, answer."""

import math

import pytest
import torch

from companion.checks import adaptive as checks
from companion.simulate import trajectory


def adagrad(x, g, v, lr, eps):
    v = v + g**2
    return x - lr * g / (v.sqrt() + eps), v


def adagrad_eps_inside(x, g, v, lr, eps):
    v = v + g**2
    return x - lr * g / (v + eps).sqrt(), v


def adagrad_old_sum(x, g, v, lr, eps):
    return x - lr * g / (v.sqrt() + eps), v + g**2


def gap(optimizer, grad, c, x0, steps, **hyper):
    plain = trajectory(optimizer, grad, x0, steps, **hyper)
    scaled = trajectory(optimizer, lambda x: c * grad(x), x0, steps, **hyper)
    return (plain - scaled).abs().max()


def gap_at_the_end(optimizer, grad, c, x0, steps, **hyper):
    plain = trajectory(optimizer, grad, x0, steps, **hyper)
    scaled = trajectory(optimizer, lambda x: c * grad(x), x0, steps, **hyper)
    return (plain - scaled)[-1].abs().max()


def gap_of_points(optimizer, grad, c, x0, steps, **hyper):
    plain = trajectory(optimizer, grad, x0, steps, **hyper)
    scaled = trajectory(optimizer, lambda x: grad(c * x), c * x0, steps, **hyper)
    return (plain - scaled).abs().max()


def gap_without_eps(optimizer, grad, c, x0, steps, lr, eps=None):
    return gap(optimizer, grad, c, x0, steps, lr=lr)


def drift(gradients, alpha):
    return (1 - alpha) / 2 * (gradients**3).mean() / (gradients**2).mean() ** 1.5


CASES = [
    (checks.check_adagrad, adagrad, [adagrad_eps_inside, adagrad_old_sum]),
    (
        checks.check_step_length,
        lambda t, lr, alpha: lr / math.sqrt(1 - alpha**t),
        [lambda t, lr, alpha: lr, lambda t, lr, alpha: lr / (1 - alpha**t)],
    ),
    (
        checks.check_memory,
        lambda n, share: (1 - share) ** (1 / n),
        [lambda n, share: 1 - 1 / n, lambda n, share: share ** (1 / n)],
    ),
    (checks.check_rescaling, gap, [gap_at_the_end, gap_of_points, gap_without_eps]),
    (
        checks.check_drift,
        drift,
        [lambda gradients, alpha: -drift(gradients, alpha), lambda gradients, alpha: 0.0],
    ),
]
NAMES = [case[0].__name__ for case in CASES]


@pytest.mark.parametrize(("check", "answer", "wrong"), CASES, ids=NAMES)
def test_check_takes_the_answer_and_refuses_the_rest(check, answer, wrong):
    assert "not yet" in check(lambda *args, **kwargs: ...).message or check is checks.check_adagrad
    assert check(answer).passed
    for attempt in wrong:
        verdict = check(attempt)
        assert not verdict.passed
        assert "not right yet" in verdict.message


def test_stub_of_the_rule_is_not_yet_written():
    def stub(x, g, v, lr, eps): ...

    verdict = checks.check_adagrad(stub)
    assert not verdict.passed
    assert "not yet" in verdict.message


def test_drift_of_the_proposition_is_that_of_rmsprop():
    # Independent draws of Hinton's gradients, 400 seeds: the mean step within five standard errors
    # plus the next order, which is below a tenth of the prediction at this memory.
    from companion.optim import RMSprop
    from companion.problems import HintonRprop

    alpha, steps, lead = 0.99, 2_000, 1_000
    x0 = torch.zeros(400, 1, dtype=torch.float64)
    x = trajectory(RMSprop, HintonRprop("iid"), x0, steps, every=lead, lr=1.0, alpha=alpha)
    rate = (x[2] - x[1])[:, 0] / (steps - lead)
    predicted = drift(torch.tensor([0.1] * 9 + [-0.9], dtype=torch.float64), alpha).item()
    error = rate.std().item() / len(rate) ** 0.5
    assert abs(rate.mean().item() - predicted) < 5 * error + 0.1 * abs(predicted)
