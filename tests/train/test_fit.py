"""The training loop: what it reports, that it resumes bit for bit, and what it refuses."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from companion.data import Batches, Dataset, digits
from companion.models import MLP
from companion.optim import SGD, Adam
from companion.train import cross_entropy, evaluate, fit
from tests.train.images import images

FREE = nn.Parameter(torch.ones(3))  # of no model
TIMES = ["seconds", "samples_per_second"]


def small(n=100, dtype=torch.float32) -> Dataset:
    x, y = images()
    return Dataset(x[:n].to(dtype, copy=True), y[:n].clone())


def network(seed=0, dropout=0.0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(MLP([64, 8]), nn.Dropout(dropout), nn.Linear(8, 10))


def adam(params):
    return Adam(params, lr=0.01)


def parameters(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_equals_a_plain_loop():
    data, test = small(100, torch.float64), small(40, torch.float64)
    model, reference = network().double(), network().double()
    frame = fit(model, data, adam, steps=7, batch_size=40, every=3, test=test, seed=5, device="cpu")

    optimizer, batches = adam(reference.parameters()), Batches(data, 40, seed=5)
    losses, right, sizes, rows = [], [], [], []
    for step in range(1, 8):
        x, y = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(reference(x), y)
        losses.append(loss.item() * len(x))
        right.append((reference(x).argmax(1) == y).sum().item())
        sizes.append(len(x))
        loss.backward()
        optimizer.step()
        if step % 3 == 0 or step == 7:
            with torch.no_grad():
                logits = reference(test.x)
            accuracy = (logits.argmax(1) == test.y).double().mean().item()
            test_loss = F.cross_entropy(logits, test.y).item()
            n = sum(sizes)
            rows.append([step, sum(losses) / n, sum(right) / n, test_loss, accuracy])
            losses, right, sizes = [], [], []
    assert sizes == []
    columns = ["step", "loss", "accuracy", "test_loss", "test_accuracy"]
    assert list(frame) == columns + TIMES
    np.testing.assert_allclose(frame[columns].to_numpy(), np.array(rows), rtol=1e-12)
    torch.testing.assert_close(parameters(model), parameters(reference), rtol=0, atol=0)
    assert frame["seconds"].is_monotonic_increasing
    assert (frame["samples_per_second"] > 0).all()


def test_learns_digits():
    torch.manual_seed(0)
    frame = fit(MLP([64, 32, 10]), digits(), adam, steps=150, every=50, test=digits("test"))
    assert frame["test_accuracy"].iloc[-1] > 0.93
    assert frame["loss"].is_monotonic_decreasing


def test_scheduler_and_clipping_equal_a_plain_loop():
    data, model, reference = small(), network(), network()
    fit(
        model,
        data,
        adam,
        steps=5,
        batch_size=20,
        clip_norm=0.1,
        scheduler=lambda optimizer: LambdaLR(optimizer, lambda t: 1 / (1 + t)),
    )
    optimizer, batches = adam(reference.parameters()), Batches(data, 20, seed=0)
    for t in range(5):
        optimizer.param_groups[0]["lr"] = 0.01 / (1 + t)
        x, y = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(reference(x), y).backward()
        nn.utils.clip_grad_norm_(reference.parameters(), 0.1)
        optimizer.step()
    torch.testing.assert_close(parameters(model), parameters(reference), rtol=0, atol=0)


def test_takes_instances_and_batches_and_leaves_the_callers_alone():
    data, model, other = small(), network(), network()
    model.eval()
    batches = Batches(data, 30, seed=3, order="iid")
    optimizer = adam(model.parameters())
    before = torch.get_rng_state()
    fit(model, batches, optimizer, steps=4, scheduler=LambdaLR(optimizer, lambda t: 1.0))
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    assert (batches.epoch, batches.position) == (0, 0)
    copies, hand = Batches(data, 30, seed=3, order="iid"), adam(other.parameters())
    for _ in range(4):
        x, y = next(copies)
        hand.zero_grad()
        F.cross_entropy(other(x), y).backward()
        hand.step()
    torch.testing.assert_close(parameters(model), parameters(other), rtol=0, atol=0)


def test_the_seed_fixes_batches_and_dropout():
    runs = []
    for draws, seed in enumerate((1, 1, 2)):
        model = network(dropout=0.5)
        torch.rand(draws)  # what the caller drew before does not matter
        fit(model, small(), adam, steps=5, batch_size=20, seed=seed)
        runs.append(parameters(model))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_tokens_are_counted_for_sequences():
    torch.manual_seed(0)
    ids = torch.randint(5, (40, 6))
    model = nn.Sequential(nn.Embedding(5, 5))
    frame = fit(
        model, Dataset(ids, ids), adam, steps=4, batch_size=10, every=2, test=Dataset(ids, ids)
    )
    assert list(frame) == [
        "step", "loss", "accuracy", "test_loss", "test_accuracy", "seconds", "tokens_per_second",
    ]  # fmt: skip
    right = (model(ids).argmax(-1) == ids).double().mean().item()
    assert frame["test_accuracy"].iloc[-1] == pytest.approx(right, rel=1e-6)


def test_no_accuracy_where_there_are_no_classes():
    x = torch.linspace(-1, 1, 20).view(-1, 1)
    data = Dataset(x, 2 * x)
    frame = fit(nn.Linear(1, 1), data, adam, steps=2, batch_size=5, loss=F.mse_loss, test=data)
    assert list(frame) == ["step", "loss", "test_loss", *TIMES]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_learns_and_keeps_float32_parameters(precision):
    model = network()
    frame = fit(
        model, small(), adam, steps=60, batch_size=20, every=20, precision=precision, device="cpu",
        clip_norm=10.0, scheduler=lambda o: LambdaLR(o, lambda t: 1.0),
    )  # fmt: skip
    assert parameters(model).dtype == torch.float32
    assert frame["loss"].iloc[-1] < 0.7 * frame["loss"].iloc[0]
    full = network()
    fit(full, small(), adam, steps=60, batch_size=20)
    assert not torch.equal(parameters(full), parameters(model))


def test_a_skipped_float16_step_does_not_move_the_scheduler():
    model, counts = network(), []
    optimizer = SGD(model.parameters(), lr=1e-3)
    scheduler = LambdaLR(optimizer, lambda t: 1.0)
    fit(
        model, small(), optimizer, steps=4, batch_size=20, precision="float16", device="cpu",
        loss=lambda output, y: 1e4 * cross_entropy(output, y), scheduler=scheduler,
        callback=lambda step: counts.append(scheduler.last_epoch),
    )  # fmt: skip
    assert counts[0] == 0  # 65536 · 10⁴ · g overflows float16


def test_no_steps_is_no_history():
    frame = fit(network(), small(), adam, steps=0)
    assert len(frame) == 0
    assert list(frame) == ["step", "loss", "seconds"]


def test_numpy_numbers_serve():
    counts = {"steps": np.int64(3), "every": np.int32(2), "batch_size": np.int64(20)}
    frame = fit(network(), small(), adam, **counts, seed=np.int16(3), clip_norm=np.float32(1))
    assert frame["step"].tolist() == [2, 3]


def test_a_model_may_return_what_only_its_loss_understands():
    class Pair(MLP):
        def forward(self, x):
            return {"logits": super().forward(x)}

    frame = fit(
        Pair([64, 10]), small(), adam, steps=2, test=small(),
        loss=lambda output, y: cross_entropy(output["logits"], y),
    )  # fmt: skip
    assert list(frame) == ["step", "loss", "test_loss", *TIMES]


def test_one_logit_is_no_class():
    data = Dataset(small().x, small().y % 2)

    def loss(output, y):
        return F.binary_cross_entropy_with_logits(output.squeeze(1), y.float())

    assert "accuracy" not in fit(nn.Linear(64, 1), data, adam, steps=2, loss=loss)


def test_modules_come_back_in_the_mode_they_were_in():
    model = network()
    model[0].eval()
    fit(model, small(), adam, steps=2, every=1, test=small())
    assert [m.training for m in model] == [False, True, True]
    evaluate(model, small())
    assert [m.training for m in model] == [False, True, True]


@pytest.mark.parametrize(
    ("data", "loss", "error", "message"),
    [
        (small(0), cross_entropy, ValueError, "data: expected .* at least one"),
        (3, cross_entropy, TypeError, "data: expected a data set"),
        (small(), lambda o, y: 0.3, TypeError, "loss: expected a scalar tensor"),
        (small(), lambda o, y: o.sum(1), ValueError, "loss: expected a scalar, got shape"),
    ],
)
def test_evaluate_refuses(data, loss, error, message):
    model = network()
    with pytest.raises(error, match=message):
        evaluate(model, data, loss)
    assert model.training


def test_evaluate_goes_through_everything_in_evaluation_mode():
    data, model = digits(flatten=True), network(dropout=0.5)
    values = evaluate(model, data)
    assert model.training
    model.eval()
    logits = model(data.x)
    assert values["loss"] == pytest.approx(F.cross_entropy(logits, data.y).item(), rel=1e-6)
    assert values["accuracy"] == (logits.argmax(1) == data.y).double().mean().item()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"steps": -1}, ValueError, "steps: expected at least 0, got -1"),
        ({"steps": 2.5}, TypeError, "steps: expected a whole number, got 2.5"),
        ({"steps": True}, TypeError, "steps: expected a whole number, got True"),
        ({"every": 0}, ValueError, "every: expected at least 1, got 0"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every: expected at least 1"),
        ({"batch_size": 101}, ValueError, "batch_size: expected 1 to 100, .* got 101"),
        ({"batch_size": 0}, ValueError, "batch_size: "),
        ({"batch_size": "8"}, ValueError, "batch_size: "),
        (
            {"precision": "half"},
            ValueError,
            r"precision: expected one of .*'bfloat16'.* got 'half'",
        ),
        ({"clip_norm": 0}, ValueError, "clip_norm: expected None or a number above 0, got 0"),
        (
            {"optimizer": "adam"},
            TypeError,
            "optimizer: expected a Optimizer or a function .*'adam'",
        ),
        ({"optimizer": lambda p: None}, TypeError, "optimizer: .*got None"),
        ({"optimizer": SGD([torch.zeros(1)])}, ValueError, "optimizer: holds none of the model's"),
        ({"scheduler": lambda o: 3}, TypeError, "scheduler: expected a LRScheduler .* got 3"),
        ({"data": [1, 2]}, TypeError, "data: expected a data set with tensors x and y, got list"),
        ({"test": [1, 2]}, TypeError, "test: expected a data set"),
        ({"data": Batches(torch.zeros(3), 1)}, ValueError, "data: expected batches of x and y"),
        (
            {"data": Batches(small(), 50, epochs=1)},
            ValueError,
            "data: the batches end after step 2",
        ),
        (
            {"loss": lambda o, y: o.sum(1)},
            ValueError,
            r"loss: expected a scalar, got shape \(64,\)",
        ),
        ({"loss": lambda o, y: 0.3}, TypeError, r"loss: expected a scalar tensor .* 0.3 \(float\)"),
        ({"loss": lambda o, y: (o.sum(), y)}, TypeError, r"loss: expected .*\(tuple\)"),
        ({"loss": lambda o, y: None}, TypeError, r"loss: expected .* got None"),
        ({"loss": lambda o, y: y.sum()}, TypeError, r"loss: expected .*\(torch.int64\)"),
        ({"loss": lambda o, y: o.sum().detach()}, ValueError, "loss: .* is it detached"),
        ({"loss": lambda o, y: FREE.sum()}, ValueError, "loss: no parameter of the optimizer has"),
        ({"loss": "mse"}, TypeError, "loss: expected a function, got 'mse'"),
        ({"callback": 3}, TypeError, "callback: expected a function, got 3"),
        ({"model": 3}, TypeError, "model: expected a Module, got 3"),
        ({"test": small(0)}, ValueError, r"test: expected .* at least one, got .*\(0, 64\) of x"),
        ({"data": small(0)}, ValueError, "data: expected as many y as x, at least one"),
        ({"data": Dataset(small().x, small(9).y)}, ValueError, r"data: .*\(9,\) of y"),
        ({"seed": 0.5}, TypeError, "seed: expected a whole number, got 0.5"),
        ({"seed": None}, TypeError, "seed: expected a whole number, got None"),
        ({"seed": 2**70}, ValueError, "seed: expected a number of 64 bits"),
        ({"clip_norm": "1"}, ValueError, "clip_norm: .* got '1'"),
        ({"clip_norm": float("nan")}, ValueError, "clip_norm: .* got nan"),
        ({"scheduler": ReduceLROnPlateau}, ValueError, "scheduler: ReduceLROnPlateau waits for"),
        (
            {"scheduler": LambdaLR(SGD([torch.zeros(1)]), lambda t: 1.0)},
            ValueError,
            "scheduler: it moves another optimizer",
        ),
    ],
)
def test_refuses(change, error, message):
    arguments = {"model": network(), "data": small(), "optimizer": adam, "steps": 3, **change}
    with pytest.raises(error, match=message):
        fit(arguments.pop("model"), arguments.pop("data"), arguments.pop("optimizer"), **arguments)


def test_runs_in_a_thread():
    frames = []
    thread = threading.Thread(target=lambda: frames.append(fit(network(), small(), adam, steps=4)))
    thread.start()
    thread.join()
    assert len(frames) == 1
