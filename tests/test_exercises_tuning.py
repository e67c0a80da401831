"""The checks of the chapter on tuning: stubs, typical errors, right answers."""

import math
import statistics

import pytest
import torch

from companion.checks import tuning
from companion.optim import Adam


def nothing(*arguments):
    return ...


def floor(samples, batch):
    return max(0.0, 1 - 4 * (batch / samples) ** 2)


def transfer(lr, beta2, old, new):
    return lr * math.sqrt(new / old), math.exp(math.log(beta2) * new / old)


def ratio(a, b, t):
    d = [math.log(y) - math.log(x) for x, y in zip(a, b, strict=True)]
    mean, half = statistics.fmean(d), t * statistics.stdev(d) / math.sqrt(len(d))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def population(a, b, t):
    d = [math.log(y) - math.log(x) for x, y in zip(a, b, strict=True)]
    mean, half = statistics.fmean(d), t * statistics.pstdev(d) / math.sqrt(len(d))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def unpaired(a, b, t):
    a, b = [math.log(x) for x in a], [math.log(y) for y in b]
    mean = statistics.fmean(b) - statistics.fmean(a)
    half = t * math.sqrt((statistics.variance(a) + statistics.variance(b)) / len(a))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def arithmetic(a, b, t):
    d = [y / x for x, y in zip(a, b, strict=True)]
    mean, half = statistics.fmean(d), t * statistics.stdev(d) / math.sqrt(len(d))
    return mean, mean - half, mean + half


@pytest.mark.parametrize(
    "check",
    [
        tuning.check_beta2_floor,
        tuning.check_transfer,
        tuning.check_paired_ratio,
        tuning.check_same_run,
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
        (tuning.check_beta2_floor, lambda s, b: max(0.0, 1 - 4 / s**2), "number of batches"),
        (tuning.check_beta2_floor, lambda s, b: max(0.0, 1 - 2 / (s / b) ** 2), "1000 samples"),
        (tuning.check_beta2_floor, lambda s, b: 1 - 4 / (s / b) ** 2, "negative"),
        (tuning.check_transfer, lambda lr, b, old, new: (lr * new / old, b), "the root"),
        (
            tuning.check_transfer,
            lambda lr, b, old, new: (lr * math.sqrt(new / old), b ** (old / new)),
            "the same weight",
        ),
        (
            tuning.check_transfer,
            lambda lr, b, old, new: (lr * math.sqrt(new / old), 1 - (1 - b) * new / old),
            "the same weight",
        ),
        (tuning.check_transfer, lambda lr, b, old, new: lr, "expected 2 numbers"),
        (tuning.check_paired_ratio, population, "over k - 1"),
        (tuning.check_paired_ratio, unpaired, "differences of seeds"),
        (tuning.check_paired_ratio, arithmetic, "no mean of ratios"),
        (tuning.check_same_run, lambda lr, eps, n: (lr * n, eps), "does Adam's step grow"),
        (tuning.check_same_run, lambda lr, eps, n: (lr, eps), "beside them"),
        (tuning.check_same_run, lambda lr, eps, n: (lr, eps * n), "beside them"),
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
        (tuning.check_beta2_floor, floor),
        (tuning.check_transfer, transfer),
        (tuning.check_paired_ratio, ratio),
        (tuning.check_paired_ratio, lambda *a: torch.tensor(ratio(*a)).double().tolist()),
        (tuning.check_same_run, lambda lr, eps, n: (lr, eps / n)),
    ],
)
def test_a_right_answer_passes(check, answer):
    assert check(answer).passed


def test_the_step_of_adam_on_a_scaled_loss_is_that_with_eps_over_the_scale():
    s, generator = 1 / 64, torch.Generator().manual_seed(0)
    x, y = (torch.nn.Parameter(torch.zeros(5, dtype=torch.float64)) for _ in range(2))
    old, new = Adam([x], lr=0.01, eps=1e-3), Adam([y], lr=0.01, eps=1e-3 * s)
    for _ in range(20):
        x.grad = torch.randn(5, dtype=torch.float64, generator=generator)
        y.grad = s * x.grad
        old.step()
        new.step()
    torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("betas", [(0.9, 0.5), (0.9, 0.98), (0.5, 0.25)])
def test_where_the_gradient_stops_the_steps_of_adam_are_geometric(betas):
    x = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer, path = Adam([x], lr=0.01, betas=betas, eps=0.0), []
    for t in range(1_020):  # so long that bias correction is over
        x.grad = torch.full_like(x, 3.0 if t < 1_000 else 0.0)
        optimizer.step()
        path.append(x.item())
    steps = torch.tensor(path[999:], dtype=torch.float64).diff()
    ratio = betas[0] / betas[1] ** 0.5
    expected = -0.01 * ratio ** torch.arange(1, 21, dtype=torch.float64)
    torch.testing.assert_close(steps, expected, rtol=1e-5, atol=1e-12)
