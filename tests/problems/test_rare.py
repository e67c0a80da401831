"""Two gradients, one of them rare: their exact moments in every order."""

import math

import pytest
import torch

from companion import problems
from companion.problems import (
    AdoptToy,
    DeadReLU,
    Function2,
    HingeOutlier,
    HintonRprop,
    Linear,
    Reddi1010,
    ReddiMod3,
    ReddiStochastic,
    TenParabolas,
)
from tests.problems.cases import EXACT

# Kinks and minimisers are among the points.
POINTS = torch.tensor([-4.0, -2.0, -1.0, -0.3, 0.0, 0.1, 0.7, 1.0, 3.0], dtype=torch.float64)


PROBLEMS = {
    "mod 3": lambda order: ReddiMod3(4.0, order),
    "1010": Reddi1010,
    "stochastic": lambda order: ReddiStochastic(10.0, 0.1),
    "adopt toy": lambda order: AdoptToy(10, order),
    "function (2)": lambda order: Function2(10, order=order),
    "function (2), a": lambda order: Function2(5, a=0.3, order=order),
    "D0 > 0": lambda order: TenParabolas(3.0, order),
    "D0 = 0": lambda order: TenParabolas(0.0, order),
    "hinge": lambda order: HingeOutlier(10, order),
    "dead ReLU": lambda order: DeadReLU(4, 5.0, order),
    "linear": lambda order: Linear((-3.0, 1.0), 0.5, order),
    "rprop": HintonRprop,
}


LOSSES = {
    "mod 3": lambda x: (4 * x - x - x) / 3,
    "1010": lambda x: (0.01 * 1010 - 0.99 * 10) * x,
    "stochastic": lambda x: 0.1 * x,
    "adopt toy": lambda x: x,
    "function (2)": lambda x: torch.where(x < -1, (x + 2).square() / 2 - 1.5, x) / 10,
    "function (2), a": lambda x: torch.where(x < -1, (x + 2).square() / 2 - 1.5, x) / 5,
    "D0 > 0": lambda x: (x.square() / 10 - 1) / 10,
    "D0 = 0": lambda x: x.square() / 100,
    "hinge": lambda x: (1 - 10 * x).clamp(min=0) / 10 + 0.9 * (1 + x).clamp(min=0),
    "dead ReLU": lambda x: ((x.clamp(min=0) + 5).square() + 3 * (x.clamp(min=0) - 3).square()) / 8,
    "linear": lambda x: -x,
    "rprop": torch.zeros_like,
}


def points(name):
    """Return the points that the problem allows, of shape (seeds, 1)."""
    interval = PROBLEMS[name]("iid").interval
    return POINTS[POINTS.abs() <= 1 if interval else slice(None)].unsqueeze(-1)


@pytest.mark.parametrize("name", PROBLEMS)
def test_losses_are_those_of_the_papers(name):
    f, x = PROBLEMS[name]("iid"), points(name)
    torch.testing.assert_close(f.loss(x), LOSSES[name](x).squeeze(-1), **EXACT)


@pytest.mark.parametrize("name", PROBLEMS)
def test_mean_gradient_equals_autograd_also_at_kinks(name):
    f, x = PROBLEMS[name]("iid"), points(name)
    torch.testing.assert_close(f.grad(x), problems.gradient(f.loss)(x), **EXACT)


@pytest.mark.parametrize("name", PROBLEMS)
def test_no_point_is_below_the_minimiser(name):
    f = PROBLEMS[name]("iid")
    x = torch.linspace(*(f.interval or (-6, 6)), 2001, dtype=torch.float64).unsqueeze(-1)
    lowest = f.loss(torch.tensor([f.minimiser], dtype=torch.float64))
    assert (f.loss(x) >= lowest - 1e-12).all()
    assert (f.project(x) == x).all()


@pytest.mark.parametrize("order", ["cyclic", "reshuffled"])
@pytest.mark.parametrize("name", [name for name in PROBLEMS if name != "stochastic"])
def test_one_period_enumerates_the_exact_moments(name, order):
    f, x = PROBLEMS[name](order), points(name)
    generator = torch.Generator().manual_seed(0)
    g = torch.stack([f(x, generator) for _ in range(3 * f.period)])
    moments = f.moments(x)
    for one in g.split(f.period):
        torch.testing.assert_close(one.mean(0), moments.mean, **EXACT)
        torch.testing.assert_close(one.var(0, correction=0), moments.variance, **EXACT)
        torch.testing.assert_close(one.square().mean(0), moments.second, **EXACT)
        torch.testing.assert_close(one.pow(3).mean(0), moments.third, **EXACT)


@pytest.mark.parametrize("name", PROBLEMS)
def test_independent_draws_have_the_exact_moments(name):
    f, n = PROBLEMS[name]("iid"), 40_000
    for z in points(name).flatten().tolist()[:3]:
        x = torch.full((n, 1), z, dtype=torch.float64)
        g = f(x, torch.Generator().manual_seed(0))
        rare = g == f.rare(x)
        assert (rare | (g == f.common(x))).all()
        if not (f.rare(x) == f.common(x)).any():
            # Six standard errors: a false alarm has probability below 1e-7; the seed is fixed.
            p = f.frequency
            assert abs(rare.double().mean() - p) < 6 * math.sqrt(p * (1 - p) / n)
        one = x[:1]
        outcomes = torch.stack([f.rare(one), f.common(one)])
        weights = torch.tensor([f.frequency, 1 - f.frequency], dtype=torch.float64)
        for k, moment in ((1, f.moments(one).mean), (3, f.moments(one).third)):
            torch.testing.assert_close(weights @ outcomes.flatten(1).pow(k), moment[0], **EXACT)


def test_constants_of_the_affine_variance_bound():
    x = POINTS.unsqueeze(-1)
    for n, a in ((10, 1.0), (5, 0.3)):
        f = Function2(n, a)
        moments = f.moments(x)
        torch.testing.assert_close(moments.variance, f.D1 * (n * moments.mean).square(), **EXACT)
        assert f.D0 == 0
    f = TenParabolas(3.0)
    moments = f.moments(x)
    at_the_minimiser = f.moments(torch.tensor([0.0], dtype=torch.float64))
    assert at_the_minimiser.mean.item() == pytest.approx(0, abs=1e-15)
    assert at_the_minimiser.variance.item() == pytest.approx(f.D0)
    # Twice D0 allows the D1 of (u + v)² ≤ 2u² + 2v².
    bound = 2 * 0.09 * (2.2 / 0.2) ** 2 * (10 * moments.mean).square() + 2 * f.D0
    assert (moments.variance <= bound).all()
    assert TenParabolas(0.0).D0 == 0
