"""Rotating inside the optimizer is rotating the loss."""

import copy
import pickle

import pytest
import torch
from torch import nn

from companion.data import Batches
from companion.rotation import (
    Identity,
    Permutation,
    RotatedOptimizer,
    chain,
    flatten,
    haar,
    output_wise,
    rotate,
)
from companion.train import cross_entropy, fit
from tests.rotation.cases import EQUIVARIANT, F64, RULES, equal, model_and_data, train


@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
@pytest.mark.parametrize("kind", ["haar", "chain", "output-wise"])
def test_rotating_the_loss_is_rotating_inside_the_optimizer(make, kind):
    model, x, y = model_and_data()
    params = list(model.parameters())
    d = sum(p.numel() for p in params)
    R = {"haar": haar(d, 1, **F64), "chain": chain(d, 2, **F64), "output-wise": output_wise(params)}
    R = R[kind]
    rotated = rotate(model, R)
    outside = train(rotated, make(rotated.parameters()), x, y)
    inside = train(model, RotatedOptimizer(model.parameters(), make, R), x, y)
    equal(inside, outside, 1e-10)
    assert (outside[-1] - outside[0]).abs().max() > 0.05, "it moved"


@pytest.mark.parametrize("name", RULES)
def test_who_is_equivariant(name):
    """Theorem 2.2: SGD and AdaSGD under every rotation; all of them under permutations."""
    model, x, y = model_and_data()
    d = sum(p.numel() for p in model.parameters())
    order = torch.randperm(d, generator=torch.Generator().manual_seed(0))
    other = copy.deepcopy(model)
    native = train(other, RULES[name](other.parameters()), x, y)
    deviations = {}
    for kind, R in {"permutation": Permutation(order), "rotation": haar(d, 1, **F64)}.items():
        rotated = rotate(model, R)
        moved = train(rotated, RULES[name](rotated.parameters()), x, y)
        deviations[kind] = (moved - native).abs().max().item()
    assert deviations["permutation"] < 1e-10
    if name.startswith(EQUIVARIANT):
        assert deviations["rotation"] < 1e-10
    else:
        assert deviations["rotation"] > 1e-2


def test_an_identity_inside_changes_nothing():
    model, x, y = model_and_data()
    other, d = copy.deepcopy(model), sum(p.numel() for p in model.parameters())
    plain = train(other, torch.optim.AdamW(other.parameters(), lr=0.02), x, y)
    wrapped = RotatedOptimizer(
        model.parameters(), lambda p: torch.optim.AdamW(p, lr=0.02), Identity(d)
    )
    equal(train(model, wrapped, x, y), plain, 1e-12)


def test_a_rotated_optimizer_is_an_optimizer(tmp_path):
    """Schedules, closures, states, copies, `fit` with checkpoints."""
    model, x, y = model_and_data()
    start = copy.deepcopy(model)
    R = haar(sum(p.numel() for p in model.parameters()), 1, **F64)

    def wrapped(params):
        return RotatedOptimizer(params, RULES["Adam"], R)

    def step(model, optimizer, times):
        for _ in range(times):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        return flatten(model.parameters()).detach().clone()

    # A schedule sets the inner step size.
    optimizer = wrapped(model.parameters())
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    step(model, optimizer, 1)
    schedule.step()
    before = flatten(model.parameters()).detach().clone()
    rate = optimizer.param_groups[0]["lr"]
    assert rate == 0.01
    after = step(model, optimizer, 1)
    assert 0 < (R.T(after - before)).abs().max() < 1.01 * rate  # Adam's early steps are below lr
    # A state that is loaded goes on as if nothing had happened.
    kept, twin = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(model)
    fresh = wrapped(twin.parameters())
    fresh.load_state_dict(kept)
    assert fresh.param_groups[0]["lr"] == rate
    saved_model, saved_optimizer = pickle.loads(pickle.dumps((model, optimizer)))
    copied_model, copied_optimizer = copy.deepcopy((model, optimizer))
    expected = step(model, optimizer, 3)
    equal(step(twin, fresh, 3), expected, 0)
    equal(step(saved_model, saved_optimizer, 3), expected, 0)
    equal(step(copied_model, copied_optimizer, 3), expected, 0)

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        return loss

    equal(optimizer.step(closure), cross_entropy(twin(x), y), 0)
    # fit takes it, stops and resumes.
    data, options = (x, y), {"batch_size": 8, "every": 1, "device": "cpu", "progress": False}
    whole, parts, path = copy.deepcopy(start), copy.deepcopy(start), tmp_path / "run"
    fit(whole, Batches(data, 8), wrapped, steps=6, **options)
    fit(parts, Batches(data, 8), wrapped, steps=3, checkpoint=path, **options)
    parts = copy.deepcopy(start)
    fit(parts, Batches(data, 8), wrapped, steps=6, checkpoint=path, **options)
    equal(flatten(parts.parameters()), flatten(whole.parameters()), 0)


def test_gradients_in_reused_buffers_leave_the_state_alone():
    """The trajectory of SGD with momentum, one buffer overwritten in place, is the native one."""
    x = nn.Parameter(torch.zeros(2, **F64))
    R = haar(2, 0, **F64)
    optimizer = RotatedOptimizer([x], lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9), R)
    x.grad = torch.zeros(2, **F64)
    for value in (1.0, 2.0, 3.0):
        x.grad.fill_(value)
        optimizer.step()
    equal(x, torch.full((2,), -9.51, **F64), 1e-12)


def test_a_step_without_any_gradient_does_nothing():
    x = nn.Parameter(torch.ones(2, **F64))
    make = lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, weight_decay=0.1)  # noqa: E731
    optimizer = RotatedOptimizer([x], make, haar(2, 0, **F64))
    x.grad = torch.ones(2, **F64)
    optimizer.step()
    here = x.detach().clone()
    x.grad = None
    optimizer.step()
    equal(x, here, 0)


def test_a_missing_gradient_counts_as_zero():
    a, b = nn.Parameter(torch.ones(2, **F64)), nn.Parameter(torch.ones(1, **F64))
    R = haar(3, 0, **F64)
    optimizer = RotatedOptimizer([a, b], lambda p: torch.optim.SGD(p, lr=0.5), R)
    a.grad = torch.tensor([1.0, 2.0], **F64)
    optimizer.step()
    equal(flatten([a, b]), torch.tensor([0.5, 0.0, 1.0], **F64), 1e-12)
