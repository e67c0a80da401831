"""Problems that mislead Adam: their exact moments, and short runs with known ends."""

import math

import pytest
import torch

from companion import problems
from companion.optim import ADOPT, SGD, Adam, AMSGrad
from companion.problems import (
    AdoptToy,
    DeadReLU,
    Function2,
    HingeOutlier,
    Linear,
    Reddi1010,
    ReddiMod3,
    ReddiStochastic,
    TenParabolas,
)
from companion.simulate import trajectory

EXACT = {"rtol": 1e-12, "atol": 1e-12}
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


@pytest.mark.parametrize("order", ["iid", "reshuffled", "cyclic"])
def test_cells_share_their_draws_and_seeds_do_not(order):
    f, x = AdoptToy(4, order), torch.zeros(3, 50, 1, dtype=torch.float64)

    def run(seed):
        f.reset()
        generator = torch.Generator().manual_seed(seed)
        return torch.stack([f(x, generator) for _ in range(9)])

    g = run(1)
    assert torch.equal(g[:, 0], g[:, 1])
    assert torch.equal(g, run(1))
    assert torch.equal(g[:, 0, 0], g[:, 0, 1]) == (order == "cyclic")
    assert torch.equal(g, run(2)) == (order == "cyclic")
    if order == "cyclic":
        assert (g[:, 0, 0, 0] > 0).nonzero().flatten().tolist() == [0, 4, 8]


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


WRONG = [
    (lambda: ReddiMod3(2.0), "C must exceed 2"),
    (lambda: ReddiMod3(3.0, "random"), "order must be one of"),
    (lambda: ReddiStochastic(1.0, 2.0), "0 < delta < C"),
    (lambda: AdoptToy(1), "k must be"),
    (lambda: Function2(1), "n must be"),
    (lambda: Function2(10, a=0.0), "a must be positive"),
    (lambda: HingeOutlier(2), "n must be"),
    (lambda: DeadReLU(1, 1.0), "n must be"),
    (lambda: DeadReLU(3, -1.0), "c must be"),
    (lambda: Linear((1.0, -1.0), 0.0), "frequency must lie"),
    (lambda: Linear((1.0, -1.0), 0.4, "cyclic"), "needs a frequency of 1/n"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def run(optimizer, f, start, steps, lr, **options):
    """Return the path of x, of shape (steps + 1, ...), kept on the problem's interval."""
    x0 = torch.as_tensor(start, dtype=torch.float64)
    options = {"eps": 0.0, **options} if optimizer is not SGD else options
    path = trajectory(optimizer, f, x0, steps, lr=lr, project=f.project, **options)
    return path.squeeze(-1)


@pytest.mark.parametrize("C", [3.0, 4.0, 10.0])
def test_adam_goes_to_the_worst_point_of_mod_3_and_amsgrad_to_the_best(C):
    beta2 = 1 / (1 + C**2)  # Theorem 1 of Reddi et al.

    def lr(t):
        return 0.9 * math.sqrt((1 - beta2) / t)

    f, betas = ReddiMod3(C), (0.0, beta2)
    adam = run(Adam, f, [[0.0], [-1.0]], 1500, lr, betas=betas)  # two starts as two seeds
    for path in adam.unbind(-1):
        arrival = (path > 0.99).nonzero()[0].item()
        assert 21 <= arrival <= 27
        # Each large gradient throws it back a little less than the two small ones return.
        assert path[arrival:].min() > 0.79
        assert path[-30:].min() > 0.95
    amsgrad = run(AMSGrad, f, [1.0], 1500, lr, betas=betas, variant="paper")
    assert (amsgrad < -0.99).nonzero()[0].item() <= 64
    assert amsgrad[-30:].max() < -0.95


def test_large_beta2_repairs_adam_on_mod_3():
    # The exact drift changes sign at .472 (C = 3): 0.6 is above, 0.3 below.
    beta2 = torch.tensor([[[0.3]], [[0.6]]], dtype=torch.float64)
    path = run(
        Adam, ReddiMod3(3.0), [[0.0]], 1500, lambda t: 0.5 / math.sqrt(t), beta1=0.0, beta2=beta2
    )
    assert path[-30:, 0].min() > 0.9
    assert path[-30:, 1].max() < -0.9


def test_adam_climbs_and_the_others_descend_on_1010():
    # The published runs take 10⁵ steps; at this scale only the directions can be told.
    f, betas = Reddi1010(), (0.9, 0.99)
    ends = {}
    for optimizer, options in (
        (Adam, {}),
        (AMSGrad, {"variant": "paper"}),
        (ADOPT, {"clip_lambda": None}),
    ):
        path = run(
            optimizer, f, [0.0], 30 * 101, lambda t: 0.1 / math.sqrt(t), betas=betas, **options
        )
        ends[optimizer] = path[::101]  # after whole cycles
    assert ends[Adam][-1] > ends[Adam][15] + 0.01
    assert ends[AMSGrad][-1] < ends[AMSGrad][15] - 0.001
    assert ends[ADOPT][-1] < ends[ADOPT][15] - 0.01


def test_small_beta2_sends_adam_to_the_wrong_end_of_the_stochastic_problem():
    f, start = ReddiStochastic(10.0, 0.1), torch.zeros(16, 1)
    beta2 = torch.tensor([[[0.5]], [[0.999]]], dtype=torch.float64)

    def end(optimizer, **options):
        path = run(
            optimizer,
            f,
            start,
            1500,
            lambda t: 0.5 / math.sqrt(t),
            beta1=0.0,
            beta2=beta2,
            **options,
        )
        return path[-500:].mean(0).median(-1).values.tolist()  # a median over seeds a β2

    adam, adopt = end(Adam), end(ADOPT, clip_lambda=None)
    assert adam[0] > 0.95
    assert adam[1] < 0
    assert max(adopt) < 0


def test_adopt_descends_its_toy_for_every_beta2_and_adam_for_large_ones():
    f, start = AdoptToy(10), torch.zeros(32, 1)
    beta2 = torch.tensor([0.1, 0.5, 0.9, 0.999], dtype=torch.float64).view(-1, 1, 1)

    def end(optimizer, **options):
        path = run(
            optimizer,
            f,
            start,
            2500,
            lambda t: 0.01 / math.sqrt(1 + 0.01 * t),
            beta1=0.9,
            beta2=beta2,
            **options,
        )
        return path[-1].median(-1).values

    adam, adopt = end(Adam), end(ADOPT, clip_lambda=None)
    assert (adam[:3] > 0.3).all()
    assert adam[3] < 0
    assert (adopt < -0.1).all()


def test_function_2_parts_small_from_large_beta2():
    # The threshold is .958 (reshuffled, β1 = 0, n = 10).
    f, start = Function2(10, order="reshuffled"), torch.ones(8, 1)
    beta2 = torch.tensor([0.5, 0.9, 0.98, 0.99], dtype=torch.float64).view(-1, 1, 1)
    path = run(Adam, f, start, 2000, lambda t: 1 / math.sqrt(t), beta1=0.0, beta2=beta2)
    growth = path[-1] - path[500]
    assert (growth[:2] > 0.5).all()  # x* = -2 lies on the other side
    assert (growth[2:] < 0).all()


def test_adam_stops_at_the_wrong_kink_of_the_hinge():
    f, start = HingeOutlier(10, order="reshuffled"), torch.zeros(8, 1)
    beta2 = torch.tensor([[[0.5]], [[0.999]]], dtype=torch.float64)
    adam = run(Adam, f, start, 1500, lambda t: 0.3 / math.sqrt(t), beta1=0.0, beta2=beta2)
    sgd = run(SGD, f, start, 1500, lambda t: 0.1 / math.sqrt(t))
    assert (adam[-100:, 0].mean(0) + 1).abs().max() < 0.05
    assert adam[-1, 1].median() > adam[500, 1].median() + 0.05  # on its way to 1/10
    assert (sgd[-100:].mean(0) - f.minimiser).abs().max() < 0.05


def test_a_dead_neuron_stays_dead_and_a_small_step_keeps_it_alive():
    f, lr = DeadReLU(4, 5.0), torch.tensor([[[0.01]], [[0.2]]], dtype=torch.float64)
    path = run(SGD, f, torch.ones(64, 1), 400, lr)
    dead = path <= 0
    assert not dead[:, 0].any()
    assert dead[-1, 1].all()
    assert torch.equal(dead, dead.cummax(0).values)
