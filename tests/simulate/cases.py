"""A scalar finite sum, and a grid of Adam on it."""

import torch

from companion import optim
from companion.simulate import iterates

F64 = torch.float64


SLOPES = torch.tensor([5.0, -1.0, -1.0, -1.0, -0.5], dtype=F64)


def slope(x, i):
    """Return a gradient that depends on the sample, and on x below -1 (a scalar finite sum)."""
    return SLOPES.to(x)[i] * (x + 2).clamp(max=1)


def tensor(values, *shape):
    return torch.tensor(values, dtype=F64).view(*shape)


ADAM = {"lr": 0.1, "beta1": 0.5, "beta2": tensor([0.5, 0.9, 0.999, 0.1], 4, 1, 1)}


X0 = tensor([1.0, -1.0, -3.0, -6.0, 2.0, 0.0, -2.0], 7, 1)


def stored(oracle, x0, steps, shape, **hyper):
    walk = iterates(optim.Adam, oracle, x0.expand(shape), steps, seed=0, **hyper)
    return torch.stack([x for _, x in walk])
