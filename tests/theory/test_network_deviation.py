"""The mean step of Adam on the gradients of a network, against its expansion for large β2."""

from functools import partial

import pytest
import torch
from torch.func import functional_call, grad, vmap

from companion.data import Dataset, digits
from companion.models import MLP
from companion.optim import Adam
from companion.theory import step_deviation
from companion.train import cross_entropy, fit

BETA2 = torch.tensor([0.9, 0.97, 0.99, 0.999, 0.9999], dtype=torch.float64)


@pytest.fixture(scope="module")
def gradients():
    """Return the gradients of a trained network on the 8 batches of an epoch, (8, d), float64."""
    data = digits(flatten=True)
    data = Dataset(data.x[:512], data.y[:512])
    torch.manual_seed(0)
    model = MLP([64, 16, 10])
    fit(model, data, partial(Adam, lr=0.01), steps=200, batch_size=16, every=200, progress=False)
    parameters = {name: p.detach().double() for name, p in model.named_parameters()}

    def loss(p, x, y):
        return cross_entropy(functional_call(model, p, (x,)), y)

    batches = data.x.double().view(8, 64, -1), data.y.view(8, 64)
    g = vmap(grad(loss), (None, 0, 0))(parameters, *batches)
    g = torch.cat([z.flatten(1) for z in g.values()], 1)
    return g[:, (g != 0).any(0)]


def measured(g, beta1, epochs):
    """Return Adam's mean step less E[g]/√E[g²] by its recursion, (β2, d); m and v start settled.

    The epochs are run through forwards and backwards; the mean of m, whose expectation is known, is
    taken as it came out.
    """
    generator = torch.Generator().manual_seed(0)
    there = torch.cat([torch.randperm(len(g), generator=generator) for _ in range(epochs)])
    second = g.square().mean(0)
    m, v = g.mean(0), second.expand(len(BETA2), -1)
    total, momentum = torch.zeros_like(v), torch.zeros_like(m)
    for i in torch.cat([there, there.flip(0)]):
        m = beta1 * m + (1 - beta1) * g[i]
        v = BETA2[:, None] * v + (1 - BETA2[:, None]) * g[i].square()
        total, momentum = total + m / v.sqrt(), momentum + m
    return (total - momentum / second.sqrt()) / (2 * len(there))


@pytest.mark.parametrize(("beta1", "chance"), [(0.0, 0.01), (0.9, 0.1)])
def test_the_relative_error_on_a_network_vanishes_as_beta2_goes_to_one(gradients, beta1, chance):
    # `chance`: what so many orders leave; with momentum an order and its reverse do not cancel.
    found = measured(gradients, beta1, epochs=250)
    right = step_deviation(gradients, beta1, BETA2)
    error = (right - found).norm(dim=1) / found.norm(dim=1)
    assert (error[1:] < error[:-1] + chance).all()
    assert error[0] > 0.05
    assert error[-1] < chance + 0.01

    # The skewness E[g³] with κ = ½, which is right at a stationary point without momentum, is not.
    second, third = (gradients.pow(k).mean(0) for k in (2, 3))
    skewness = -(1 - BETA2[:, None]) * third / (4 * second**1.5)
    assert ((skewness - found).norm(dim=1) / found.norm(dim=1) > 0.2).all()


def test_a_coordinate_with_the_same_gradient_in_every_batch_has_no_deviation(gradients):
    same = gradients[:1, gradients[0] != 0].expand(8, -1)
    assert measured(same, 0.9, epochs=2).abs().max() < 1e-12
    assert step_deviation(same, 0.9, BETA2).abs().max() < 1e-12
