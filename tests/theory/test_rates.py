"""Rates against measured gaps."""

import math

import pytest
import torch

from companion import theory
from companion.optim import ADOPT, SGD
from companion.problems import AdoptToy
from companion.simulate import trajectory
from tests.theory.cases import F64


def test_absolute_value_attains_the_rate_of_sgd_and_adopt():
    T, G, R = 110, 3.0, 2.0  # √T is near a half, so that x ends up straddling the kink

    def f(x):
        return G * x.sign()

    x0 = torch.tensor([R], **F64)
    path = trajectory(SGD, f, x0, T, lr=R / (G * math.sqrt(T)))
    share = (G * path[:T].abs()).mean() / theory.sgd_rate(T, G, R)
    assert 0.95 < share < 1
    lr = R / G * math.sqrt(G**2 / T)
    path = trajectory(ADOPT, f, x0, T + 1, lr=lr, betas=(0.0, 0.5), clip_lambda=None)
    share = (G * path[1 : T + 1].abs()).mean() / theory.adopt_rate(T, G, R, G**2, G**2)
    assert 0.95 < share < 1


def test_measured_gaps_on_the_toy_stay_below_the_rates():
    k, T, x0 = 4, 2000, torch.zeros(64, 1, **F64)
    f, G = AdoptToy(k), math.sqrt(k**3 + k**2 - k)
    assert f.moments(x0[0]).second.item() == pytest.approx(G**2)

    def gap(optimizer, start, **options):
        path = trajectory(optimizer, f, x0, T + start, project=f.project, **options)
        return (path[start : T + start] + 1).mean().item()

    assert gap(SGD, 0, lr=1 / (G * math.sqrt(T))) < theory.sgd_rate(T, G, 1)
    measured = gap(SGD, 0, lr=lambda t: 0.1 / math.sqrt(t))
    assert measured < theory.sgd_decaying_rate(T, G, 2, 0.1)
    beta2 = torch.tensor([0.1, 0.9, 0.999], **F64).view(-1, 1, 1)
    lr = k / (G * math.sqrt(T))
    measured = gap(ADOPT, 1, lr=lr, beta1=0.0, beta2=beta2, clip_lambda=None)
    assert measured < theory.adopt_rate(T, G, 1, k**2, k**4)


def test_measured_gradients_stay_below_the_smooth_rates():
    # f = √(1 + x²): L = 1, |f'| < 1; noise ±1 with equal probability: G² = 2.
    T, G, start, eps = 1000, math.sqrt(2), 3.0, 0.5
    delta, x0 = math.sqrt(1 + start**2) - 1, torch.full((64, 1), start, **F64)

    def slope(x):
        return x / (1 + x.square()).sqrt()

    def oracle(x, generator):
        flip = torch.rand(x.shape[-2:], generator=generator) < 0.5
        return slope(x) + torch.where(flip, 1.0, -1.0).to(x)

    path = trajectory(SGD, oracle, x0, T, lr=math.sqrt(2 * delta / (G**2 * T)))
    assert slope(path[:T]).square().mean() < theory.sgd_smooth_rate(T, G, 1, delta)
    options = {"lr": math.sqrt(2 * delta * eps**2 / (G**2 * T)), "eps": eps, "clip_lambda": None}
    path = trajectory(ADOPT, oracle, x0, T + 1, betas=(0.0, 0.9), **options)
    measured = (slope(path[1 : T + 1]).abs() ** (4 / 3)).mean((1, 2)) ** 1.5
    assert measured.mean() < theory.adopt_smooth_rate(T, G, 1, delta, eps**2)


@pytest.mark.parametrize("start", [1.0, 10.0, 30.0])
def test_the_gradient_on_a_parabola_stays_below_the_bound_by_the_variance(start):
    # f = x²/2, whose slope has no bound; noise 6 with probability 1/4, else -2: σ² = 12.
    T, sigma, eps, gap = 200, math.sqrt(12), 0.5, start**2 / 2

    def oracle(x, generator):
        rare = torch.rand(x.shape[-2:], generator=generator, **F64) < 0.25
        return x + torch.where(rare, 6.0, -2.0).to(x)

    x0, beta2 = torch.full((64, 1), start, **F64), torch.tensor([0.0, 0.9, 0.999], **F64)
    options = {"lr": math.sqrt(2 * gap * eps**2 / (12 * T)), "eps": eps, "clip_lambda": None}
    options |= {"beta1": 0.0, "beta2": beta2.view(-1, 1, 1)}
    path = trajectory(ADOPT, oracle, x0, T + 1, **options)[1 : T + 1]  # (T, β2, seeds, 1)
    measured = (path.abs() ** (4 / 3)).mean((2, 3)).pow(1.5).mean(0)
    bound = theory.adopt_variance_rate(T, sigma, 1.0, gap, eps**2)
    assert (measured < bound).all()
    assert (path.square().mean((2, 3)) / 2 < 2 * gap).all()  # the first half of its proof
    with pytest.raises(ValueError, match="at least"):
        theory.adopt_variance_rate(start**2 / 13, sigma, 1.0, gap, eps**2)


def test_rates_minimise_the_bounds_of_their_proofs():
    T, G, R, L, delta, low, high = 400, 3.0, 2.0, 1.5, 0.7, 0.5, 4.0
    lr = torch.logspace(-5, 2, 200_001, **F64)
    convex = R**2 / (2 * lr * T) + lr * G**2 / 2
    smooth = delta / (lr * T) + lr * L * G**2 / 2
    convex_adopt = math.sqrt(high) * (R**2 / (2 * lr * T) + lr * G**2 / (2 * low))
    smooth_adopt = math.sqrt(G**2 + low) * (delta / (lr * T) + lr * L * G**2 / (2 * low))
    by_variance = 2 * delta / (lr * T) + lr * L * G**2 / low  # here G is σ
    by_variance = math.sqrt(G**2 + 4 * L * delta + low) * by_variance
    for bounds, rate in (
        (by_variance, theory.adopt_variance_rate(T, G, L, delta, low)),
        (convex, theory.sgd_rate(T, G, R)),
        (smooth, theory.sgd_smooth_rate(T, G, L, delta)),
        (convex_adopt, theory.adopt_rate(T, G, R, low, high)),
        (smooth_adopt, theory.adopt_smooth_rate(T, G, L, delta, low)),
    ):
        assert bounds.min().item() == pytest.approx(rate, rel=1e-6)
