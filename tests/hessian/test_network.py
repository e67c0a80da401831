"""An operator is a snapshot, and leaves no trace on what it was made of."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from companion.hessian import Hessian
from tests.hessian.matrices import normal
from tests.hessian.networks import (
    CASES,
    CE,
    KINDS,
    WORDS,
    X,
    Y,
    assert_same,
    case,
    dense,
    dense_hessian,
    fully,
)

EXACT = {"rtol": 1e-12, "atol": 0}


def state(model):
    """Return everything of a model that an operator might change."""
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    hooks = [m._forward_pre_hooks.copy() for m in model.modules()]
    hooks += [m._backward_hooks.copy() for m in model.modules()]
    return (
        [(n, id(t), t._version, t.requires_grad, t.is_leaf, t.grad) for n, t in tensors],
        [m.training for m in model.modules()],
        hooks,
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize("name", CASES)
def test_the_model_is_left_as_it_was(name):
    model, loss, x, y = case(name)
    before = state(model)
    for kind in KINDS:
        op = kind(model, loss, (x, y))
        op @ torch.ones(op.d).double()
        op.gradient()
    assert state(model) == before


@pytest.mark.parametrize("name", ["one module, two names", "tied weights"])
def test_a_model_with_shared_weights_still_trains(name):
    model, loss, x, y = case(name)
    Hessian(model, loss, (x, y)).dense()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    before = [p.detach().clone() for p in model.parameters()]
    loss(model(x), y).backward()
    optimizer.step()
    assert all((p - q).abs().max() > 0 for p, q in zip(model.parameters(), before, strict=True))


def all_of_it():
    model = nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 3)
    )
    model[0].bias.requires_grad_(False)
    return model.double().eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("used", [False, True])
def test_nothing_later_moves_it(kind, used):
    torch.manual_seed(0)
    model, x, y, weight = all_of_it(), X.clone(), Y.clone(), normal(3).exp()
    loss = nn.CrossEntropyLoss(weight)
    expected = dense(kind, model, loss, x, y)
    op = kind(model, loss, [(x, y)])
    if used:
        op @ torch.ones(op.d).double()
    with torch.no_grad():
        for t in (*model.parameters(), *model.buffers(), x, weight):
            t.zero_()
        y.fill_(1)
    model.train()
    model[0].bias.requires_grad_(True)
    model[3] = nn.ReLU()
    model.register_forward_hook(lambda module, inputs, output: 2 * output)
    assert_same(op.dense(), expected)


@pytest.mark.parametrize("used", [False, True])
def test_what_moves_all_the_same_is_refused(used):
    A = normal(3, 3)
    op = Hessian.of(lambda x: (A @ x.exp()).square().sum(), normal(3))
    if used:
        op @ normal(3)
    A.mul_(2)
    with pytest.raises((ValueError, RuntimeError), match=r"changed in place|changes later"):
        op @ normal(3)


def test_hooks_forward_count_and_hooks_backward_do_not():
    model, loss, x, y = case("tanh mlp")
    model.layers[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    expected = dense_hessian(model, lambda model: loss(model(x), y))
    model.layers[0].register_full_backward_hook(lambda module, into, out: (None,))
    next(model.parameters()).register_hook(lambda g: 7 * g)
    assert_same(Hessian(model, loss, (x, y)).dense(), expected)


def test_activations_that_a_module_keeps_are_copied():
    model, loss, x, y = case("tanh mlp")
    model.seen = [model(x)]
    assert_same(Hessian(model, loss, (x, y)).dense(), dense(Hessian, model, loss, x, y))


def penalty(model):
    return lambda z, y: F.cross_entropy(z, y) + model.layers[0].weight.square().sum()


class Penalty(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.scale = model, nn.Parameter(torch.tensor(0.1))

    def forward(self, z, y):
        return F.cross_entropy(z, y) + self.scale * self.model.layers[0].weight.square().sum()


def test_a_penalty_on_the_weights_counts_or_is_refused():
    model, _, x, y = case("tanh mlp")
    with pytest.raises(ValueError, match=r"require a gradient, of shapes \[\(5, 4\)\]"):
        Hessian(model, penalty(model), (x, y))
    loss = Penalty(model)
    expected = dense_hessian(model, lambda model: loss(model(x), y))
    assert_same(Hessian(model, loss, (x, y)).dense(), expected)
    assert loss.scale.requires_grad


def two(net, left, right, *, scale=1.0):
    return net.head(torch.tanh(net.left(left) * scale + net.right(right)))


def of_dictionary(net, batch):
    return net.head(torch.tanh(net.left(batch["left"]) + net.right(batch["right"])))


LEFT, RIGHT = X, normal(6, 2, seed=9)
INPUTS = {  # function of the net, batch, loss, the output
    "several": (two, (LEFT, RIGHT, Y), CE, lambda m: m(LEFT, RIGHT)),
    "a tuple": (two, ((LEFT, RIGHT), Y), CE, lambda m: m(LEFT, RIGHT)),
    "keywords": (
        two,
        ({"left": LEFT, "right": RIGHT, "scale": 2.0}, Y),
        CE,
        lambda m: m(LEFT, RIGHT, scale=2.0),
    ),
    "a dictionary": (
        of_dictionary,
        ({"left": LEFT, "right": RIGHT}, Y),
        CE,
        lambda m: m({"left": LEFT, "right": RIGHT}),
    ),
    "a batch of keywords": (
        two,
        {"left": LEFT, "right": RIGHT, "y": Y},
        lambda z, batch: CE(z, batch["y"]),
        lambda m: m(LEFT, RIGHT),
    ),
}


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 3), nn.Linear(2, 3), nn.Linear(3, 3)


class Pair(Two):
    def forward(self, left, right, *, scale=1.0):
        return two(self, left, right, scale=scale)


class One(Two):
    def forward(self, batch):
        return of_dictionary(self, batch)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: [b], lambda b: iter([b])])
def test_inputs_come_in_many_forms(name, wrap):
    torch.manual_seed(0)
    function, batch, loss, output = INPUTS[name]
    model = (Pair if function is two else One)().double()
    found = Hessian(model, loss, wrap(batch)).dense()
    assert_same(found, dense_hessian(model, lambda model: F.cross_entropy(output(model), Y)))


def test_refuses_parameters_without_a_shape():
    with pytest.raises(ValueError, match="weight: has no shape yet"):
        Hessian(nn.LazyLinear(2), F.mse_loss, (X, X))


def test_refuses_what_cannot_be_copied():
    model = fully(nn.Linear(4, 4)).double()
    model.generator = (i for i in range(3))
    with pytest.raises(ValueError, match="model: cannot be copied"):
        Hessian(model, CE, (X, Y))


def test_refuses_embeddings_that_change_their_weights():
    model = nn.Sequential(nn.Embedding(6, 2, max_norm=1), nn.Flatten(), nn.Linear(10, 3)).double()
    with pytest.raises(ValueError, match="max_norm=1"):
        Hessian(model, CE, (WORDS, Y))
