"""A checkpoint resumes its own run bit for bit, and no other; nothing is lost or half changed."""

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler as schedulers

from companion.data import Batches, Dataset
from companion.models import MLP
from companion.optim import ADOPT, SGD, Adam, AdaShift, AMSGrad, BlockwiseAdam
from companion.train import cross_entropy, fit
from companion.train.checkpoint import read, write
from companion.train.identity import digest
from tests.train.images import images

TIMES = ["seconds", "samples_per_second"]
HALF = 0.5  # a number that a loss reads


def small(n=100) -> Dataset:
    x, y = images()
    return Dataset(x[:n].clone(), y[:n].clone())


def network(seed=0, dropout=0.0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(MLP([64, 8]), nn.Dropout(dropout), nn.Linear(8, 10))


def adam(params):
    return Adam(params, lr=0.01)


def parameters(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


CHILD = """
import os, signal, sys
import torch
from test_checkpoint import run

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
        scheduler=lambda o: schedulers.OneCycleLR(o, 0.02, total_steps=60), device="cpu",
        clip_norm=1.0,
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


def short(path, model=None, data=None, optimizer=adam, **changes):
    """Train two steps with a checkpoint; return the model."""
    model = MLP([64, 8, 10]) if model is None else model
    settings = {"batch_size": 20, "clip_norm": 1.0, "steps": 2, "device": "cpu", **changes}
    fit(model, small() if data is None else data, optimizer, checkpoint=path, **settings)
    return model


def cosine(length, **options):
    return lambda o: schedulers.CosineAnnealingLR(o, length, **options)


def in_turn(*lengths):
    return lambda o: schedulers.SequentialLR(
        o, [schedulers.ConstantLR(o), schedulers.CosineAnnealingLR(o, lengths[0])], [lengths[1]]
    )


def stairs(factors):
    return lambda o: schedulers.LambdaLR(o, lambda t: factors[t // 100])


def scaled(factor):
    return lambda output, y: factor * cross_entropy(output, y)


def half(output, y):
    return HALF * cross_entropy(output, y)


def other(value):
    """Return `half` with another number outside."""
    text = {**globals(), "HALF": value}
    return type(half)(half.__code__, text, "half")


class Table:
    def __init__(self, *factors):
        self.factors = list(factors)


def halves(table):
    return lambda output, y: table.factors[0] * cross_entropy(output, y)


class Focal(nn.Module):
    def __init__(self, gamma, weight=1.0):
        super().__init__()
        self.gamma = gamma
        self.register_buffer("weight", torch.full((10,), weight))

    def forward(self, output, y):
        return F.cross_entropy(output, y, self.weight)


def brighter(data):
    data.x[3, 2] += 1e-3
    return data


def relabelled(data):
    data.y[7] = (data.y[7] + 1) % 10
    return data


def batches(**options):
    return Batches(small(), 20, **options)


def later():
    taken = batches(seed=0)
    next(taken)
    return taken


def groups(model, names, **options):
    named = dict(model.named_parameters())
    return {
        "model": model,
        "optimizer": Adam([{"params": [named[n] for n in part], **options} for part in names]),
    }


def frozen(model):
    model.layers[0].weight.requires_grad_(False)
    return model


WEIGHTS, BIASES = (
    [n for n, _ in MLP([64, 8, 10]).named_parameters() if n.endswith(kind)]
    for kind in ("weight", "bias")
)
OTHERS = [
    ({}, {"batch_size": 25}, "batch_size was 20 and is 25"),
    ({}, {"seed": 1}, "seed was 0 and is 1"),
    ({}, {"precision": "bfloat16"}, "precision was 'float32' and is 'bfloat16'"),
    ({}, {"clip_norm": None}, "clip_norm was 1.0 and is None"),
    ({}, {"optimizer": SGD}, "optimizer was 'Adam' and is 'SGD'"),
    ({}, {"optimizer": partial(torch.optim.Adam, lr=0.01)}, "(options|optimizer_module) was"),
    ({}, {"optimizer": partial(Adam, lr=0.02)}, "'lr of group 0': 0.01} and is .*: 0.02}"),
    ({}, {"optimizer": partial(Adam, lr=0.01, maximize=True)}, "'maximize of group 0': False"),
    (
        {"optimizer": partial(SGD, lr=0.1, momentum=0.9)},
        {"optimizer": partial(SGD, lr=0.1, momentum=0.9, nesterov=True)},
        "'nesterov of group 0': False} and is",
    ),
    (
        {"optimizer": partial(AMSGrad, variant="paper")},
        {"optimizer": partial(AMSGrad, variant="optax")},
        "'variant of group 0': 'paper'} and is",
    ),
    (
        {"optimizer": partial(ADOPT, clip_lambda=0.25)},
        {"optimizer": partial(ADOPT, clip_lambda=None)},
        "'clip_lambda of group 0': 0.25} and is",
    ),
    (
        {"optimizer": partial(BlockwiseAdam, partition="rows")},
        {"optimizer": partial(BlockwiseAdam, partition="tensor")},
        "'partition': .*rows.* and is .*tensor",
    ),
    (
        {"optimizer": partial(Adam, lr=torch.tensor(0.1))},
        {"optimizer": partial(Adam, lr=torch.tensor(0.2))},
        "'lr of group 0': 0.1.*and is",
    ),
    ({}, {"data": small(90)}, "samples was 100 and is 90"),
    ({}, {"data": brighter(small())}, "data was '.*' and is '"),
    ({}, {"data": relabelled(small())}, "data was '.*' and is '"),
    ({}, {"test": small(30)}, "test was None and is '"),
    ({"test": small(30)}, {"test": relabelled(small(30))}, "test was '.*' and is '"),
    ({"data": batches(seed=1)}, {"data": batches(seed=2)}, "batches was .*'generator'"),
    ({}, {"data": batches(seed=0, order="iid")}, "batches was .*'order': 'reshuffled'"),
    ({}, {"data": batches(seed=0, drop_last=True)}, "batches was .*'drop_last': False"),
    ({}, {"data": later()}, "batches was .*'position': 0"),
    ({}, {"model": MLP([64, 9, 10])}, r"shapes was \{'layers.0.weight': \(8, 64\)"),
    (
        {"model": network(dropout=0.1)},
        {"model": network(dropout=0.2)},
        r"model was .*Dropout\(p=0.1.* and is",
    ),
    (
        {},
        {"model": MLP([64, 8, 10]).double(), "data": Dataset(small().x.double(), small().y)},
        "dtypes was .*'torch.float32'",
    ),
    (
        {"model": MLP([64, 8, 10])},
        {"model": MLP([64, 8, 10], activation="tanh")},
        "model was .*'relu, .*and is .*'tanh,",
    ),
    ({}, {"model": frozen(MLP([64, 8, 10]))}, r"frozen was \(\) and is \('layers.0.weight',"),
    (
        groups(MLP([64, 8, 10]), [WEIGHTS, BIASES]),
        groups(MLP([64, 8, 10]), [WEIGHTS[::-1], BIASES]),
        "parameters was .*'group 0'",
    ),
    ({}, {"scheduler": cosine(9)}, "scheduler was None and is 'CosineAnnealingLR'"),
    ({"scheduler": cosine(9)}, {"scheduler": cosine(8)}, r"\{'T_max': 9\} and is \{'T_max': 8\}"),
    ({"scheduler": cosine(9)}, {"scheduler": cosine(9, eta_min=0.1)}, "'eta_min': 0.0"),
    ({"scheduler": in_turn(9, 5)}, {"scheduler": in_turn(8, 5)}, "scheduler_settings was"),
    ({"scheduler": in_turn(9, 5)}, {"scheduler": in_turn(9, 4)}, "scheduler_settings was"),
    (
        {"scheduler": lambda o: schedulers.MultiStepLR(o, [3, 5])},
        {"scheduler": lambda o: schedulers.MultiStepLR(o, [3, 6])},
        "scheduler_settings was .*'milestones'",
    ),
    (
        {"scheduler": lambda o: schedulers.LambdaLR(o, lambda t: 0.9**t)},
        {"scheduler": lambda o: schedulers.LambdaLR(o, lambda t: 0.8**t)},
        "scheduler_settings was .*'lr_lambdas'",
    ),
    (
        {"scheduler": stairs([1.0, 0.5])},
        {"scheduler": stairs([1.0, 0.1])},
        "scheduler_settings was .*'lr_lambdas'",
    ),
    (
        {"scheduler": lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=9)},
        {"scheduler": lambda o: schedulers.OneCycleLR(o, 0.2, total_steps=9)},
        "options was .*0.1.* and is .*0.2",
    ),
    ({}, {"loss": lambda o, y: cross_entropy(o, y)}, "loss was 'cross_entropy,"),
    ({"loss": scaled(1.0)}, {"loss": scaled(2.0)}, "loss was 'scaled.*and is 'scaled"),
    ({"loss": half}, {"loss": other(0.25)}, "loss was 'half.*and is 'half"),
    (
        {"loss": halves(Table(1.0, 0.5))},
        {"loss": halves(Table(1.0, 0.25))},
        "loss was 'halves.*and is 'halves",
    ),
    (
        {"loss": partial(F.cross_entropy, label_smoothing=0.1)},
        {"loss": partial(F.cross_entropy, label_smoothing=0.2)},
        "loss was 'partial of cross_entropy",
    ),
    ({"loss": Focal(2.0)}, {"loss": Focal(3.0)}, "'gamma': 2.0, .*and is {'gamma': 3.0, "),
    ({"loss": Focal(2.0)}, {"loss": Focal(2.0, weight=2.0)}, "loss was .*'state'"),
    (
        {"loss": nn.CrossEntropyLoss()},
        {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)},
        "loss was .*'label_smoothing': 0.0",
    ),
]


@pytest.mark.parametrize(("then", "now", "message"), OTHERS)
def test_a_checkpoint_of_another_run_is_refused_and_changes_nothing(tmp_path, then, now, message):
    path = tmp_path / "run.pt"
    short(path, **then)
    content, now = path.read_bytes(), {**then, **now}
    now["model"] = now["model"] if now.get("model") else MLP([64, 8, 10])
    before = {name: z.clone() for name, z in now["model"].state_dict().items()}
    with pytest.raises(ValueError, match=r"checkpoint: .*run.pt is of another run: .*" + message):
        short(path, **now)
    torch.testing.assert_close(now["model"].state_dict(), before, rtol=0, atol=0)
    assert path.read_bytes() == content


def test_what_makes_no_other_run_may_change(tmp_path):
    path = tmp_path / "run.pt"
    arguments = {"scheduler": cosine(9), "loss": scaled(2.0), "optimizer": adam}
    first = short(path, **arguments)
    arguments = {
        "scheduler": lambda o: schedulers.CosineAnnealingLR(o, T_max=9),
        "loss": scaled(2.0),
        "optimizer": lambda p: Adam(p, lr=np.float64(0.01)),
        "data": Batches(small(), 20, seed=0),
    }
    short(path, **arguments, every=1, checkpoint_every=7, callback=print, progress=False)
    again = short(tmp_path / "other.pt", network(), optimizer=adam)
    assert not torch.equal(parameters(first)[:8], parameters(again)[:8])


def test_instances_that_a_scheduler_has_moved_resume(tmp_path):
    path, model = tmp_path / "run.pt", network()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = schedulers.OneCycleLR(optimizer, 0.1, total_steps=20)
    for steps in (3, 7):
        short(path, model, optimizer=optimizer, scheduler=scheduler, steps=steps)
    whole = network()
    short(
        None, whole, optimizer=partial(SGD, lr=0.1, momentum=0.9), steps=7,
        scheduler=lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=20),
    )  # fmt: skip
    assert torch.equal(parameters(model), parameters(whole))


def test_numpy_numbers_are_saved_as_numbers(tmp_path):
    path = tmp_path / "run.pt"
    for steps in (2, 4):
        make = partial(torch.optim.Adam, lr=np.float64(0.01))
        short(path, optimizer=make, steps=np.int64(steps), seed=np.int32(3))
    assert torch.load(path, weights_only=True)["step"] == 4


def test_a_loss_that_reads_its_model_resumes(tmp_path):
    class Own(MLP):
        def loss(self, output, y):
            return cross_entropy(output, y) + 1e-3 * self.layers[0].weight.square().sum()

    for steps in (2, 4):  # the second model starts elsewhere, and ends as the first went on
        model = Own([64, 8, 10])
        short(tmp_path / "a.pt", model, loss=model.loss, steps=steps)
        short(tmp_path / "b.pt", model, loss=lambda o, y, m=model: m.loss(o, y), steps=steps)
    assert torch.load(tmp_path / "b.pt", weights_only=True)["step"] == 4


def clip(step):
    return 1.0


class Odd(SGD):
    """Keeps an object in its state from the first step on."""

    def step(self):
        super().step()
        self.state[self.param_groups[0]["params"][0]]["odd"] = Focal(1.0)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (partial(ADOPT, clip_lambda=clip), "state of the optimizer could be written and not read"),
        (partial(ADOPT, clip_lambda=lambda step: 1.0), r"clip_lambda=<function"),
        (lambda p: Adam([{"params": list(p), "note": Focal(1.0)}]), "state of the optimizer"),
        (lambda p: Adam([*p, nn.Parameter(torch.zeros(3))]), "parameters that are not the model's"),
    ],
)
def test_what_could_not_be_read_back_is_refused_before_the_first_step(tmp_path, optimizer, message):
    model = MLP([64, 8, 10])
    before = parameters(model)
    with pytest.raises(ValueError, match=message):
        short(tmp_path / "run.pt", model, optimizer=optimizer)
    assert torch.equal(parameters(model), before)
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_turns_out_unreadable_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="state of the optimizer could be written and not read"):
        short(tmp_path / "run.pt", optimizer=Odd)
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_does_not_load_leaves_the_run_as_it_was(tmp_path):
    path = tmp_path / "run.pt"
    short(path)
    content = read(path)
    del content["optimizer"]["state"][0]["m"]
    write(path, content)
    model = MLP([64, 8, 10])
    before = parameters(model)
    with pytest.raises(ValueError, match=r"Adam: the state to load .* must hold"):
        short(path, model)
    assert torch.equal(parameters(model), before)


@pytest.mark.parametrize(("form", "word"), [(1, "an older version"), (3, "a newer version")])
def test_another_format_is_said_to_be_one(tmp_path, form, word):
    path = tmp_path / "run.pt"
    short(path)
    torch.save({**torch.load(path, weights_only=True), "format": form}, path)
    with pytest.raises(ValueError, match=rf"run.pt is of format {form}, written by {word}"):
        short(path)


def test_a_changed_number_is_noticed(tmp_path):
    path = tmp_path / "run.pt"
    short(path)
    content = torch.load(path, weights_only=True)
    content["optimizer"]["state"][0]["m"][0, 0] += 1e-6
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"run.pt is damaged .*does not fit its checksum"):
        short(path)


def test_one_flipped_bit_is_noticed_or_of_no_effect(tmp_path):
    path = tmp_path / "run.pt"
    short(path, MLP([64, 2, 10]))
    whole, expected = path.read_bytes(), digest(read(path))
    generator, noticed = np.random.default_rng(0), 0
    for place in generator.integers(len(whole), size=100):
        bit = 1 << int(generator.integers(8))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        try:
            assert digest(read(path)) == expected  # padding between the records
        except ValueError:
            noticed += 1
    assert noticed > 50


def cusp(at):
    """Return a loss that is finite always, and whose gradient is NaN in one step: √|z| at z = 0."""
    calls = []

    def loss(output, y):
        calls.append(y)
        zero = (0.0 * output.sum()).abs()
        return cross_entropy(output, y) + (zero.sqrt() if len(calls) == at else zero)

    return loss


@pytest.mark.parametrize(("at", "saved"), [(4, 2), (6, 4), (5, 4)])
def test_no_checkpoint_holds_nan(tmp_path, at, saved):
    path = tmp_path / "run.pt"
    with pytest.raises(FloatingPointError, match="NaN or infinite at step"):
        short(path, loss=cusp(at), steps=6, checkpoint_every=2)
    content = torch.load(path, weights_only=True)
    assert content["step"] == saved
    assert all(z.isfinite().all() for z in content["model"].values())


def test_no_run_returns_nan_without_a_word():
    named = r"had a gradient that was not: layers.0.weight is NaN or infinite at step 6 \(lr=0.01"
    with pytest.raises(FloatingPointError, match=named) as caught:
        short(None, loss=cusp(6), steps=6, every=2)
    assert caught.value.history["step"].tolist() == [2, 4, 6]


def test_a_path_serves_one_run_at_a_time(tmp_path):
    path, refused = tmp_path / "run.pt", []

    def intrude(step):
        with pytest.raises(ValueError, match=r"run.pt is in use by another run") as error:
            short(path)
        refused.append(error)

    model = short(path, callback=intrude)
    assert len(refused) == 2
    assert torch.equal(parameters(model), parameters(short(path)))
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


def test_a_link_stays_one(tmp_path):
    target, link = tmp_path / "elsewhere" / "run.pt", tmp_path / "run.pt"
    link.symlink_to(target)
    for steps in (2, 4):
        short(link, steps=steps)
    assert link.is_symlink()
    assert torch.load(target, weights_only=True)["step"] == 4


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint: expected the path of a file, .* a folder"):
        short(tmp_path)


def test_a_full_disk_loses_nothing(tmp_path):
    path = tmp_path / "run.pt"
    short(path)
    before, model = path.read_bytes(), MLP([64, 8, 10])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
        with pytest.raises(OSError, match=r"step 4 could not be written, .*run.pt") as caught:
            short(path, model, steps=4, every=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.history["step"].tolist() == [2, 3, 4]
    assert path.read_bytes() == before
    assert (
        torch.equal(parameters(model), parameters(short(tmp_path / "whole.pt", steps=4))) is False
    )
    assert [file.name for file in tmp_path.glob("*.part")] == []


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
