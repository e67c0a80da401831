"""One loop for every recipe: steps of several batches, clipping, schedules, precision."""

import copy
import math

import pytest
import torch
from torch import nn

from companion.data import Batches
from companion.recipes.loop import Run, Task, train, warmup_cosine

X = torch.linspace(-1, 1, 24, dtype=torch.float64).view(12, 2)


def loss(model, x):
    return (model(x)[:, 0] - x.sum(1).sin()).square().mean()


def task(steps=4, batch=6, optimizer=None, model=None, **options):
    if model is None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    optimizer = optimizer or (lambda model: torch.optim.SGD(model.parameters(), lr=0.1))
    batches = Batches(X, batch, order="cyclic")
    return Task(model, optimizer, loss, batches, steps=steps, every=2, **options)


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_batches_of_a_step_make_one_large_batch():
    small, large = task(batch=3, accumulate=4), task(batch=12)
    a, b = train(small), train(large)
    torch.testing.assert_close(flat(small.model), flat(large.model), rtol=0, atol=1e-12)
    assert a.loss.tolist() == pytest.approx(b.loss.tolist(), abs=1e-12)


def test_the_path_is_that_of_the_loop_written_out():
    made = task(clip_norm=0.1, schedule=lambda t: 1 / (t + 1))
    twin = copy.deepcopy(made.model)
    losses = []
    for t in range(4):
        x = X[(0, 6)[t % 2] :][:6]
        value = loss(twin, x)
        losses.append(value.item())
        gradients = torch.autograd.grad(value, list(twin.parameters()))
        norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
        factor = min(1.0, 0.1 / (norm + 1e-6))
        with torch.no_grad():
            for p, g in zip(twin.parameters(), gradients, strict=True):
                p -= 0.1 / (t + 1) * factor * g
    table = train(made)
    torch.testing.assert_close(flat(made.model), flat(twin), rtol=0, atol=1e-12)
    assert table.loss.tolist() == pytest.approx([sum(losses[:2]) / 2, sum(losses[2:]) / 2])
    assert table.step.tolist() == [2, 4]


def test_a_loss_that_is_not_finite_ends_the_run_before_its_step():
    made = task(steps=9)
    run = Run(made)
    run.advance()
    before = flat(made.model)
    made.loss = lambda model, x: loss(model, x) * math.nan
    run.advance()
    assert run.finished
    assert run.history().to_dict("records")[-1] == {"step": 2, "loss": math.inf}
    assert torch.equal(flat(made.model), before)


def test_bfloat16_is_for_the_arithmetic_only():
    seen = {}

    def record(model, x):
        out = model(x)
        seen["arithmetic"] = out.dtype
        return (out[:, 0].float() - x.sum(1)).square().mean()

    def evaluate(model):
        return {"bits": torch.finfo(model(X.float()).dtype).bits, "training": model.training}

    made = task(precision="bfloat16", evaluate=evaluate)
    made.model, made.loss = made.model.float(), record
    made.batches = Batches(X.float(), 6)
    made.optimizer = lambda model: torch.optim.Adam(model.parameters())
    run = Run(made)
    while not run.finished:
        run.advance()
    assert seen["arithmetic"] is torch.bfloat16
    assert {p.dtype for p in made.model.parameters()} == {torch.float32}
    state = [z for s in run.optimizer.state.values() for z in s.values()]
    assert {z.dtype for z in state} == {torch.float32}
    assert run.rows[-1]["bits"] == 16
    assert not run.rows[-1]["training"]
    assert made.model.training


def test_warm_up_and_cosine_meet_their_formula():
    factor = warmup_cosine(100, 10, 0.1)
    assert [factor(t) for t in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    for t in (10, 25, 77, 100):
        share = (t - 10) / 90
        assert factor(t) == pytest.approx(0.1 + 0.9 * math.cos(math.pi * share / 2) ** 2)
    assert factor(1000) == pytest.approx(0.1)
