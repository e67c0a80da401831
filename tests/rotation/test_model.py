"""A rotated loss is the loss in other coordinates, for functions and for networks."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.func import hessian

from companion import optim
from companion.data import digits
from companion.models import GPT, MLP, GPTConfig, resnet18
from companion.problems import Quadratic
from companion.rotation import (
    RotatedOptimizer,
    chain,
    flatten,
    haar,
    output_wise,
    rotate,
    rotate_gradient,
)
from companion.simulate import trajectory
from companion.train import cross_entropy, fit, sweep
from tests.rotation.cases import F64, equal, model_and_data


def test_a_rotated_function_has_the_same_values_and_the_rotated_derivatives():
    R, x0 = haar(4, 0, **F64), torch.randn(4, **F64)
    Q, H = R.dense(), torch.diag(torch.tensor([1.0, 2, 3, 4], **F64))

    def loss(x):
        return (x @ H * x).sum(-1) / 2 + x[..., 0] ** 3

    rotated = rotate(loss, R)
    start = R.T(x0)
    equal(rotated(start), loss(x0))
    equal(rotated(start.expand(3, 4)), loss(x0).expand(3))
    equal(hessian(rotated)(start), Q.T @ hessian(loss)(x0) @ Q)
    grad = torch.func.grad(loss)
    equal(rotate_gradient(grad, R)(start), torch.func.grad(rotated)(start))


def test_a_rotated_model_starts_where_the_model_does():
    model, x, y = model_and_data()
    d = sum(p.numel() for p in model.parameters())
    for R in (haar(d, 0, **F64), chain(d, 1, **F64), output_wise(model.parameters(), 2)):
        rotated = rotate(model, R)
        equal(rotated(x), model(x), 1e-12)
        equal(flatten(rotated.parameters()), R.T(flatten(model.parameters())), 0)
        shapes = {f"model.{k}": p.shape for k, p in model.named_parameters()}
        assert {k: p.shape for k, p in rotated.named_parameters()} == shapes
        cross_entropy(rotated(x), y).backward()
        native = torch.autograd.grad(cross_entropy(model(x), y), model.parameters())
        equal(flatten(p.grad for p in rotated.parameters()), R.T(flatten(native)), 1e-12)
    assert all(p.grad is None for p in model.parameters()), "the model itself is left alone"


@pytest.mark.parametrize("kind", ["resnet", "gpt"])
def test_networks_rotate(kind):
    """Buffers, tied weights and kernels of torch go along."""
    torch.manual_seed(0)
    if kind == "resnet":
        model, x, y = resnet18(channels=1, width=4), torch.randn(4, 1, 8, 8), torch.arange(4)
    else:
        model = GPT(GPTConfig(11, 8, 2, 2, 12))
        x, y = torch.randint(11, (2, 2, 8))
    model = model.double()
    x = x.double() if x.is_floating_point() else x
    R = chain(sum(p.numel() for p in model.parameters()), 0, **F64)
    rotated = rotate(model, R)
    equal(rotated(x), model(x), 1e-9)
    cross_entropy(rotated(x), y).backward()
    native = torch.autograd.grad(cross_entropy(model(x), y), model.parameters())
    equal(R(flatten(p.grad for p in rotated.parameters())), flatten(native), 1e-9)


class Named(nn.Module):
    """One module under two names, one weight in two modules, and a norm that is used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.again, self.other.weight = self.first, self.first.weight
        self.norm = nn.BatchNorm1d(3)
        self.blocks = nn.ModuleList([self.norm, nn.Tanh(), self.norm, self.other])

    def forward(self, x):
        x = self.again(torch.tanh(self.first(x)))
        for block in self.blocks:
            x = block(x)
        return x


@pytest.mark.parametrize("freeze", [False, True])
def test_modules_and_weights_with_several_names_train_as_one(freeze):
    torch.manual_seed(0)
    model, x = Named().double(), torch.randn(6, 3, **F64)
    model.first.bias.requires_grad_(not freeze)
    params = [p for p in model.parameters() if p.requires_grad]
    before = flatten(model.state_dict().values()).clone()
    R = haar(sum(p.numel() for p in params), 0, **F64)
    rotated, twin = rotate(model, R), copy.deepcopy(model)
    outside = torch.optim.Adam([p for p in rotated.parameters() if p.requires_grad], lr=0.02)
    inside = RotatedOptimizer(twin.parameters(), lambda p: torch.optim.Adam(p, lr=0.02), R)
    for _ in range(5):
        for net, optimizer in ((rotated, outside), (twin, inside)):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
        trained = [p for p in twin.parameters() if p.requires_grad]
        equal(flatten(rotated.native().values()), flatten(trained), 1e-10)
    assert rotated.model.again is rotated.model.first
    assert rotated.model.other.weight is rotated.model.first.weight
    equal(flatten(model.state_dict().values()), before, 0)
    if freeze:
        equal(twin.first.bias, model.first.bias, 0)
        equal(rotated.model.first.bias, model.first.bias, 0)


def test_frozen_parameters_and_buffers_stay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    model[0].requires_grad_(False)
    R = haar(18, 0, **F64)
    rotated, x = rotate(model, R), torch.randn(6, 3, **F64)
    equal(rotated(x), model(x), 1e-12)
    equal(rotated.model[0].weight, model[0].weight, 0)
    equal(rotated.model[1].running_mean, model[1].running_mean, 1e-12)
    rotated.eval()
    assert not rotated.model[1].training
    fresh = rotate(model, R)
    fresh.load_state_dict(rotated.state_dict())
    equal(fresh.eval()(x), rotated(x), 0)
    narrow = rotated.float()
    assert narrow.rotation.dtype == torch.float32
    equal(narrow(x.float()).double(), model.eval()(x), 1e-5)
    other = pickle.loads(pickle.dumps(copy.deepcopy(narrow)))
    equal(other(x.float()), narrow(x.float()), 0)


def test_simulations_rotate():
    """The noise is that of the native problem; SGD's trajectory is the native one, turned."""
    f, R, x0 = Quadratic([1.0, 4.0, 9.0]), haar(3, 0, **F64), torch.ones(3, **F64)
    oracle = f.noisy(0.3)
    start = {"steps": 20, "lr": torch.tensor([[0.01], [0.1]], **F64), "seed": 3}
    native = trajectory(optim.SGD, oracle, x0, **start)
    turned = trajectory(optim.SGD, rotate_gradient(oracle, R), R.T(x0), **start)
    equal(R(turned), native, 1e-12)

    class Counting:
        resets = 0

        def reset(self):
            self.resets += 1

        def __call__(self, x):
            return x

    grad = Counting()
    trajectory(optim.SGD, rotate_gradient(grad, R), x0, 2, lr=0.1)
    assert grad.resets == 1


@pytest.mark.parametrize("kind", ["chain", "output-wise"])
def test_an_ensemble_of_rotated_models_trains_as_each_alone(kind):
    images, d = digits(flatten=True), 64 * 4 + 4 + 4 * 10 + 10
    x, y = images.x[:64].double(), images.y[:64]
    data = type(images)(x, y)
    R = (
        chain(d, 0, **F64)
        if kind == "chain"
        else output_wise(MLP([64, 4, 10]).double().parameters())
    )

    def make():
        return rotate(MLP([64, 4, 10]).double(), R)

    grid, options = {"lr": [0.01, 0.03]}, {"steps": 6, "batch_size": 16, "every": 6}
    options |= {"progress": False, "device": "cpu"}
    frame = sweep(make, data, optim.Adam, grid, seeds=2, **options)
    for row in frame.itertuples():
        torch.manual_seed(row.seed)
        alone = fit(
            make(), data, lambda p, lr=row.lr: optim.Adam(p, lr=lr), seed=row.seed, **options
        )
        assert abs(alone["loss"].iloc[-1] - row.loss) < 1e-10
