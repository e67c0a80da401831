"""Short runs on the problems that mislead Adam, with known ends."""

import math

import pytest
import torch

from companion.optim import ADOPT, SGD, Adam, AMSGrad
from companion.problems import (
    AdoptToy,
    DeadReLU,
    Function2,
    HingeOutlier,
    Reddi1010,
    ReddiMod3,
    ReddiStochastic,
)
from companion.simulate import trajectory


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
