"""The networks compute what their formulas say."""

import copy
import pickle
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from companion.models import MLP


@pytest.mark.parametrize(
    ("activation", "phi"), [("relu", F.relu), ("tanh", torch.tanh), (F.silu, F.silu)]
)
@pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 2), [12, 5, 4, 2]])
@pytest.mark.parametrize("bias", [True, False])
def test_mlp_is_its_formula(sizes, activation, phi, bias):
    torch.manual_seed(0)
    model = MLP(sizes, activation, bias).double()
    x = torch.randn(7, sizes[0], dtype=torch.float64)
    h = x
    for number, layer in enumerate(model.layers):
        h = phi(h) if number else h
        h = h @ layer.weight.T + (layer.bias if bias else 0)
    torch.testing.assert_close(model(x), h, rtol=1e-12, atol=1e-12)
    shapes = [(m, n) for n, m in pairwise(sizes)]
    assert [tuple(layer.weight.shape) for layer in model.layers] == shapes


def test_mlp_flattens_images():
    model = MLP([12, 4])
    images = torch.randn(5, 3, 2, 2)
    torch.testing.assert_close(model(images), model(images.reshape(5, 12)), rtol=0, atol=0)


def test_mlp_is_copied_and_pickled():
    model, x = MLP([3, 4, 2], "tanh"), torch.randn(5, 3)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(other(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (([3],), ValueError, r"sizes: expected two or more widths, got \[3\]"),
        (([3, 0],), ValueError, "sizes: expected at least 1, got 0"),
        (([3, 2.5, 1],), TypeError, "sizes: expected a whole number, got 2.5"),
        (([3, True],), TypeError, "sizes: expected a whole number, got True"),
        (([3, 2], "sine"), ValueError, r"activation: expected one of \['relu', 'tanh'\] .*'sine'"),
    ],
)
def test_mlp_refuses(arguments, kind, message):
    with pytest.raises(kind, match=message):
        MLP(*arguments)
