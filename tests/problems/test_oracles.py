"""The three orders, and what every oracle has to keep: seeds differ, cells share, reset replays."""

import itertools
import math

import pytest
import torch

from companion.problems import AdoptToy, HintonRprop, Samples
from companion.problems.oracles import ORDERS
from tests.problems.cases import PROBLEMS, normal, seeded

LEAST_SQUARES = PROBLEMS["least squares"][0]
SAMPLES = normal(5, 1)
MAKERS = {
    "samples": lambda order: Samples(lambda x, i: SAMPLES[i].sum(-2) * x, 5, order),
    "minibatches": lambda order: LEAST_SQUARES.samples(3, order),
    "rare": lambda order: AdoptToy(4, order),
    "rprop": HintonRprop,
}
ORACLES = {f"{name}, {order}": (maker, order) for name, maker in MAKERS.items() for order in ORDERS}
ORACLES["noisy"] = (lambda order: PROBLEMS["rotated quadratic"][0].noisy(1.0), "iid")
oracles = pytest.mark.parametrize("name", ORACLES)


def calls(oracle, x, count=30, seed=0):
    generator = seeded(seed)
    return torch.stack([oracle(x, generator) for _ in range(count)])


@oracles
@pytest.mark.parametrize("lead", [(), (5,), (4, 5), (2, 4, 5)])
def test_cells_share_random_numbers_and_seeds_do_not(name, lead):
    maker, order = ORACLES[name]
    g = calls(maker(order), normal(3).expand(*lead, 3))
    assert g.shape == (30, *lead, 3)
    if len(lead) > 1:
        assert torch.allclose(g, g.flatten(1, -3)[:, :1].unflatten(1, (1,) * (len(lead) - 1)))
    if lead and order != "cyclic":
        rows = g.movedim(-2, 0).flatten(1)
        for one, other in itertools.pairwise(rows):
            assert not torch.allclose(one, other)


@oracles
def test_reset_begins_anew_and_the_seed_decides(name):
    maker, order = ORACLES[name]
    oracle, x = maker(order), normal(6, 3)
    first = calls(oracle, x, 7)
    if hasattr(oracle, "reset"):
        oracle.reset()
    assert torch.equal(calls(oracle, x, 7), first)
    assert torch.equal(calls(maker(order), x, 7, seed=1), first) == (order == "cyclic")


@oracles
def test_an_oracle_follows_the_seeds_of_x(name):
    """In the middle of an epoch, and of another shape: seeds must not begin to share draws."""
    maker, order = ORACLES[name]
    oracle = maker(order)
    calls(oracle, normal(1, 3), 1)
    g = calls(oracle, normal(3).expand(200, 3), 3)
    assert g.shape == (3, 200, 3)
    assert torch.equal(g, g[:, :1].expand_as(g)) == (order == "cyclic")


def drawn(order, n, steps, seeds=4, batch_size=1):
    oracle, generator = Samples(torch.add, n, order, batch_size), seeded()
    return torch.stack([oracle.indices((seeds,), generator) for _ in range(steps)])


@pytest.mark.parametrize(("order", "same_order"), [("reshuffled", False), ("cyclic", True)])
@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (6, 2), (7, 1), (7, 7), (2000, 8)])
def test_every_epoch_meets_every_sample_once(n, batch_size, order, same_order):
    index = drawn(order, n, 3 * n // batch_size, 4, batch_size)  # (steps, seeds, B)
    epochs = index.view(3, n // batch_size, 4, batch_size).transpose(1, 2).reshape(3, 4, n)
    assert torch.equal(epochs.sort(-1).values, torch.arange(n).expand(3, 4, n))
    if n >= 6:
        assert torch.equal(epochs[0], epochs[1]) == same_order
        assert torch.equal(epochs[:, 0], epochs[:, 1]) == same_order
        assert torch.equal(epochs[0, 0], torch.arange(n)) == same_order


def test_reshuffled_orders_are_uniform():
    # 4 × 3000 orders of 3: each of the 6 has a share of 1/6, within five standard deviations
    # √(5/36/12000) = .0034, which a fair stream leaves with probability below 6 · 6e-7.
    orders = drawn("reshuffled", 3, 9000).view(3000, 3, 4)
    code = orders[:, 0] * 3 + orders[:, 1]
    shares = torch.stack([(code == c).double().mean() for c in (1, 2, 3, 5, 6, 7)])
    assert (shares - 1 / 6).abs().max() < 5 * 0.0035


@pytest.mark.parametrize("batch_size", [1, 20])
def test_independent_indices_are_uniform_and_independent(batch_size):
    # Five standard deviations of a share p among 40,000 draws: a fair stream leaves them with
    # probability below 6e-7 for each of the 10 + 100 shares.
    index = drawn("iid", 10, 10_000 // batch_size, 4, batch_size).transpose(1, 2).reshape(-1, 4)
    shares = torch.bincount(index.flatten(), minlength=10) / index.numel()
    assert (shares - 0.1).abs().max() < 5 * (0.09 / index.numel()) ** 0.5
    pairs = torch.bincount((index[1:] * 10 + index[:-1]).flatten(), minlength=100) / index.numel()
    assert (pairs - 0.01).abs().max() < 5 * (0.0099 / index.numel()) ** 0.5


def test_a_rare_gradient_of_any_frequency_comes_as_often_as_stated():
    n = 40_000
    g = HintonRprop("iid")(torch.zeros(n, 1, dtype=torch.float64), seeded())
    assert set(g.flatten().tolist()) == {0.1, -0.9}
    assert abs(g.mean()) < 6 * 0.3 / math.sqrt(n)  # six standard errors
