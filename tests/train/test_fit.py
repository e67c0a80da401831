"""The training loop: what it reports, that it resumes bit for bit, and what it refuses."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from companion.data import Batches, Dataset, digits
from companion.models import MLP
from companion.optim import SGD, Adam, AdaShift, BlockwiseAdam
from companion.train import cross_entropy, evaluate, fit

TIMES = ["seconds", "samples_per_second"]


def small(n=100, dtype=torch.float32) -> Dataset:
    x, y = digits(flatten=True)
    return Dataset(x[:n].to(dtype), y[:n])


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
    batches = Batches(data, 30, seed=3, mode="replacement")
    optimizer = adam(model.parameters())
    before = torch.get_rng_state()
    fit(model, batches, optimizer, steps=4, scheduler=LambdaLR(optimizer, lambda t: 1.0))
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    assert (batches.epoch, batches.position) == (0, 0)
    copies, hand = Batches(data, 30, seed=3, mode="replacement"), adam(other.parameters())
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


def test_evaluate_goes_through_everything_in_evaluation_mode():
    data, model = digits(flatten=True), network(dropout=0.5)
    values = evaluate(model, data)
    assert model.training
    model.eval()
    logits = model(data.x)
    assert values["loss"] == pytest.approx(F.cross_entropy(logits, data.y).item(), rel=1e-6)
    assert values["accuracy"] == (logits.argmax(1) == data.y).double().mean().item()


CHILD = """
import os, signal, sys
import torch
from test_fit import run

path, kill = sys.argv[1], int(sys.argv[2])

def callback(step):
    if step == kill:
        os.kill(os.getpid(), signal.SIGKILL)

run(path, callback)
"""


def run(path, callback=None, steps=40, **options):
    """Train with everything that has state: dropout, scheduler, momentum, ragged batches."""
    model = network(dropout=0.3)
    frame = fit(
        model, small(), lambda p: Adam(p, lr=0.01), steps=steps, batch_size=30, every=4, seed=7,
        scheduler=lambda o: OneCycleLR(o, 0.02, total_steps=60), device="cpu", clip_norm=1.0,
        test=small(30), checkpoint=path, checkpoint_every=3, callback=callback, **options,
    )  # fmt: skip
    return frame.drop(columns=TIMES), parameters(model)


def test_a_killed_run_resumes_bit_for_bit(tmp_path):
    whole, expected = run(None)
    path = tmp_path / "folder" / "run.pt"
    folder = Path(__file__).parent
    places = os.pathsep.join([str(folder), str(folder.parents[1])])
    environment = {**os.environ, "PYTHONPATH": places}
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(path), "23"]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    child = subprocess.run(command, env=environment | threads, capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert torch.load(path, weights_only=True)["step"] == 21
    steps = []
    frame, actual = run(path, steps.append)
    assert steps == list(range(22, 41))
    assert torch.equal(actual, expected)
    assert frame.equals(whole)
    assert [file.name for file in path.parent.iterdir()] == ["run.pt"]


def test_a_finished_run_comes_back_from_its_checkpoint_and_can_grow(tmp_path):
    path, steps = tmp_path / "run.pt", []
    frame, half = run(path, steps=20)
    again, same = run(path, steps.append, steps=20)
    assert steps == []
    assert frame.equals(again)
    assert torch.equal(half, same)
    whole, expected = run(None)
    grown, actual = run(path)
    assert grown.equals(whole)
    assert torch.equal(actual, expected)
    with pytest.raises(ValueError, match=r"steps: 20, but checkpoint .*run.pt is 40 steps"):
        run(path, steps=20)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: AdaShift(p, n=3),
        lambda p: BlockwiseAdam(p, partition="rows"),
        lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
    ],
)
def test_optimizers_resume(tmp_path, make):
    runs = []
    for steps in ([12], [5, 12]):
        for n in steps:
            model = network()
            fit(model, small(), make, steps=n, batch_size=30, checkpoint=tmp_path / f"{len(steps)}")
        runs.append(parameters(model))
    assert torch.equal(*runs)


def test_ctrl_c_finishes_the_step_saves_and_returns(tmp_path):
    path = tmp_path / "run.pt"
    whole, expected = run(None)

    def interrupt(step):
        if step == 10:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    frame, _ = run(path, interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    assert frame["step"].tolist() == [4, 8]
    assert torch.load(path, weights_only=True)["step"] == 10
    frame, actual = run(path)
    assert frame.equals(whole)
    assert torch.equal(actual, expected)


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    def interrupt(step):
        if step == 10:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("the second one did not stop")

    frame, _ = run(tmp_path / "run.pt", interrupt)
    assert frame["step"].tolist() == [4, 8]
    assert torch.load(tmp_path / "run.pt", weights_only=True)["step"] == 9


def test_runs_in_a_thread():
    frames = []
    thread = threading.Thread(target=lambda: frames.append(run(None, steps=4)))
    thread.start()
    thread.join()
    assert len(frames) == 1


SETTINGS = {"batch_size": 20, "seed": 0, "clip_norm": 1.0, "precision": "float32"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 25}, "batch_size was 20 and is 25"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"precision": "bfloat16"}, "precision was 'float32' and is 'bfloat16'"),
        ({"clip_norm": None}, "clip_norm was 1.0 and is None"),
        ({"optimizer": SGD}, "optimizer was 'Adam' and is 'SGD'"),
        (
            {"optimizer": lambda p: Adam(p, lr=0.02)},
            "options was .*'lr of group 0': 0.01} and is .*'lr of group 0': 0.02}",
        ),
        ({"data": small(90)}, "samples was 100 and is 90"),
        ({"model": MLP([64, 9, 10])}, r"shapes was \{'layers.0.weight': \(8, 64\)"),
        (
            {"scheduler": lambda o: LambdaLR(o, lambda t: 1.0)},
            "scheduler was None and is 'LambdaLR'",
        ),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change, message):
    def go(**changes):
        model = changes.pop("model", MLP([64, 8, 10]))
        arguments = {"data": small(), "optimizer": adam, **SETTINGS, **changes}
        fit(model, arguments.pop("data"), arguments.pop("optimizer"), steps=2, device="cpu",
            checkpoint=tmp_path / "run.pt", **arguments)  # fmt: skip

    go()
    with pytest.raises(ValueError, match=r"checkpoint: .*run.pt is of another run: .*" + message):
        go(**change)


def truncate(content):
    return content[: len(content) // 2]


def flip(content):
    middle = len(content) // 2  # in a tensor's bytes
    return content[:middle] + bytes([content[middle] ^ 0x80]) + content[middle + 1 :]


def foreign(content):
    return b"not a checkpoint"


def empty(content):
    return b""


@pytest.mark.parametrize("damage", [truncate, flip, foreign, empty])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    path = tmp_path / "run.pt"
    fit(MLP([64, 40, 10]), small(), adam, steps=2, batch_size=20, checkpoint=path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"checkpoint: .*run.pt is damaged or no checkpoint"):
        fit(MLP([64, 40, 10]), small(), adam, steps=2, batch_size=20, checkpoint=path)


@pytest.mark.parametrize("content", [{"format": 0}, {"weights": torch.zeros(2)}, [1, 2]])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "run.pt"
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"checkpoint: .*run.pt is damaged or no checkpoint"):
        fit(network(), small(), adam, steps=2, batch_size=20, checkpoint=path)


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    run(path, steps=3)
    before = path.read_bytes()

    def full(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        run(path, steps=6)
    assert path.read_bytes() == before


def test_a_bad_loss_is_named_before_it_is_learned(tmp_path):
    data = small(60)
    data.x[5] = float("nan")
    model, seen = network(), []
    path = tmp_path / "run.pt"
    with pytest.raises(
        FloatingPointError, match=r"NaN or infinite at step \d+ \(lr=0.01\).*clip_norm"
    ):
        fit(
            model, data, adam, steps=20, batch_size=10, device="cpu", callback=seen.append,
            checkpoint=path, checkpoint_every=1,
        )  # fmt: skip
    batches = Batches(data, 10, seed=0)
    first = next(t for t in range(1, 7) if next(batches)[0].isnan().any())
    assert seen == list(range(1, first))
    assert parameters(model).isfinite().all()
    if first > 1:
        assert torch.load(path, weights_only=True)["step"] == first - 1


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
    ],
)
def test_refuses(change, error, message):
    arguments = {"data": small(), "optimizer": adam, "steps": 3, **change}
    with pytest.raises(error, match=message):
        fit(network(), arguments.pop("data"), arguments.pop("optimizer"), **arguments)
