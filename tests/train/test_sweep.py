"""Networks trained together end where each would end alone."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from companion import optim, progress
from companion.data import Dataset
from companion.kernels.build import Untranslatable
from companion.kernels.cells import RowKernel
from companion.models import MLP
from companion.optim import SGD, Adam, RMSprop
from companion.train import fit, sweep
from companion.train.many import Models, Update
from tests.train.images import images

SHARED = MLP([64, 10])


def small(dtype=torch.float32, n=100) -> Dataset:
    x, y = images()
    return Dataset(x[:n].to(dtype, copy=True), y[:n].clone())


def by_label(p, name):
    return torch.arange(p.numel()).view(p.shape) % 3


# Options by class, constants as a partial and a grid; every optimizer has at least one row.
CASES = [
    (SGD, {}, {"lr": [0.01, 0.3]}),
    (SGD, {"nesterov": True, "momentum": 0.9}, {"lr": [0.01, 0.1], "weight_decay": [0, 0.1]}),
    (SGD, {"maximize": True}, {"lr": [0.01], "momentum": [0, 0.5], "dampening": [0.0, 0.5]}),
    (optim.AdaGrad, {}, {"lr": [0.01, 0.1], "initial_accumulator_value": [0.0, 0.1]}),
    (RMSprop, {"centered": True}, {"lr": [1e-3, 1e-2], "momentum": [0.0, 0.9], "alpha": [0.9]}),
    (Adam, {}, {"lr": np.logspace(-3, -1, 2), "beta1": [0.0, 0.9], "beta2": [0.9, 0.999]}),
    (Adam, {"betas": (0.5, 0.5), "weight_decay": 0.1}, {"beta1": [0], "decoupled": [True, False]}),
    (optim.AdamW, {}, {"lr": [1e-3, 1e-2], "eps": [1e-8, 1e-3]}),
    (optim.Adamax, {}, {"lr": [1e-3, 1e-2], "beta2": [0.5, 0.999]}),
    (optim.AMSGrad, {"lr": 1e-2}, {"variant": ["torch", "paper", "optax"], "beta2": [0.5, 0.9]}),
    (optim.AdaFom, {}, {"lr": [1e-2], "beta1": [0.0, 0.9]}),
    (optim.AdaBound, {}, {"lr": [1e-3, 1e-2], "final_lr": [0.05, 0.1], "gamma": [1e-3, 1e-2]}),
    (optim.AdaShift, {}, {"lr": [1e-2], "n": [1, 3], "phi": ["max", "mean", None]}),
    (optim.ADOPT, {}, {"lr": [1e-2], "clip_lambda": [0.25, 0.5, None], "eps": [1e-6, 1e-2]}),
    (optim.SignSGD, {}, {"lr": [1e-3, 1e-2], "momentum": [0.0, 0.9]}),
    (optim.AdaSGD, {"weight_decay": 0.1}, {"lr": [1e-3, 1e-2], "beta2": [0.9, 0.99]}),
    (optim.BlockwiseAdam, {"lr": 1e-2}, {"partition": ["tensor", "rows", "elements", by_label]}),
]  # fmt: skip


def alone(make, cell, fixed):
    """Return a function params -> optimizer for a cell, in the constructor's own words."""
    options = {**fixed, **{k: v for k, v in cell.items() if k not in ("beta1", "beta2")}}
    if make is optim.AdaFom:
        options |= {k: v for k, v in cell.items() if k == "beta1"}
    elif cell.keys() & {"beta1", "beta2"}:
        default = fixed.get("betas", make([torch.zeros(1)]).defaults["betas"])
        options["betas"] = cell.get("beta1", default[0]), cell.get("beta2", default[1])
    return lambda params: make(params, **options)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("make", "fixed", "grid"), CASES)
def test_equals_training_alone(make, fixed, grid, dtype, bound):
    data, test = small(dtype), small(dtype, 30)
    # Two and a half epochs, and a last report between two of every third step.
    setting = {"steps": 10, "batch_size": 30, "every": 3, "test": test, "device": "cpu"}
    frame = sweep(
        lambda: MLP([64, 6, 10]).to(dtype), data, partial(make, **fixed), grid, seeds=2, **setting
    )
    columns = ["step", "loss", "accuracy", "test_loss", "test_accuracy"]
    assert list(frame) == ["optimizer", *grid, "seed", *columns, "diverged"]
    assert set(frame["optimizer"]) == {make.__name__}
    assert len(frame) == np.prod([len(values) for values in grid.values()]) * 2 * 4
    for _, run in frame.groupby(frame.index // 4):
        cell = run.iloc[0][list(grid)].to_dict()
        cell = {k: None if v is None or v != v else v for k, v in cell.items()}
        seed = int(run.iloc[0]["seed"])
        torch.manual_seed(seed)
        model = MLP([64, 6, 10]).to(dtype)
        expected = fit(model, data, alone(make, cell, fixed), seed=seed, **setting)
        np.testing.assert_allclose(run[columns], expected[columns], rtol=bound, atol=bound)
    assert not frame["diverged"].any()


def test_every_optimizer_is_tested():
    assert {make.__name__ for make, _, _ in CASES} == set(optim.__all__)


def parameters_of_an_ensemble(monkeypatch, *arguments, **options):
    """Return the frame of a sweep and the parameters that it ends with."""
    ends, original = [], Models.test

    def spy(models, data):
        ends.append({name: p.clone() for name, p in models.params.items()})
        return original(models, data)

    monkeypatch.setattr(Models, "test", spy)
    frame = sweep(*arguments, test=small(n=10), every=10**6, **options)
    return frame, ends[-1]


@pytest.mark.parametrize("make", [getattr(optim, name) for name in optim.__all__])
def test_float32_parameters_stay_float32_and_equal_those_trained_alone(make, monkeypatch):
    grid = {"lr": [1e-3, 1e-2], "weight_decay": [0.0, 0.1]}
    _, params = parameters_of_an_ensemble(
        monkeypatch, lambda: MLP([64, 6, 10]), small(), make, grid, steps=20, batch_size=30
    )
    torch.manual_seed(0)
    model = MLP([64, 6, 10])
    fit(model, small(), lambda p: make(p, lr=1e-2, weight_decay=0.1), steps=20, batch_size=30)
    for name, p in model.named_parameters():
        assert params[name].dtype == torch.float32
        torch.testing.assert_close(params[name][-1], p.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [SGD, optim.AdaBound])
def test_a_schedule_equals_lambda_lr(make):
    setting = {"steps": 12, "batch_size": 30, "every": 4, "device": "cpu"}
    data, factor = small(torch.float64), lambda t: 0.9**t
    frame = sweep(
        lambda: MLP([64, 10]).double(), data, make, {"lr": [0.01, 0.1]}, schedule=factor, **setting
    )
    for lr, run in frame.groupby("lr"):
        torch.manual_seed(0)
        model = MLP([64, 10]).double()
        expected = fit(
            model,
            data,
            partial(make, lr=lr),
            scheduler=lambda o: LambdaLR(o, factor),
            **setting,
        )
        np.testing.assert_allclose(run["loss"], expected["loss"], rtol=1e-10)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_change_nothing(chunk):
    arguments = (
        lambda: MLP([64, 6, 10]).double(),
        small(torch.float64),
        {"plain": SGD, "heavy": partial(SGD, momentum=0.9), "Adam": Adam},
        {"lr": [0.01, 0.1]},
    )
    setting = {"seeds": [3, 1], "steps": 6, "batch_size": 30, "every": 4}
    whole, parts = sweep(*arguments, **setting), sweep(*arguments, chunk=chunk, **setting)
    keys = ["optimizer", "lr", "seed", "step"]
    assert whole[keys].equals(parts[keys])
    assert whole["optimizer"].unique().tolist() == ["plain", "heavy", "Adam"]
    assert whole["seed"].tolist()[:4] == [3, 3, 1, 1]
    np.testing.assert_allclose(whole["loss"], parts["loss"], rtol=1e-12)


def test_cells_that_differ_by_numbers_are_one_program(monkeypatch):
    parts, original = [], Update.__init__

    def spy(update, stack, params, schedule):
        parts.append((len(next(iter(params.values()))), stack.h))
        original(update, stack, params, schedule)

    monkeypatch.setattr(Update, "__init__", spy)
    grid = {"lr": [1e-3, 1e-2], "beta1": [0.0, 0.9], "eps": [1e-8]}
    sweep(lambda: MLP([64, 10]), small(), Adam, grid, steps=1)
    [(models, h)] = parts
    assert models == 4
    assert {name for name, value in vars(h).items() if torch.is_tensor(value)} == {"lr", "beta1"}


@pytest.mark.parametrize(
    ("make", "options"),
    [(SGD, {"momentum": 0.9}), (Adam, {"weight_decay": 0.1}), (optim.ADOPT, {}), (RMSprop, {})],
)
def test_one_kernel_steps_all_models_as_tensor_operations_do(make, options, monkeypatch):
    grid, setting = {"lr": [1e-3, 1e-2]}, {"seeds": 2, "steps": 7, "batch_size": 30, "every": 7}
    arguments = lambda: MLP([64, 6, 10]).double(), small(torch.float64), partial(make, **options)
    calls, step = [], RowKernel.__call__
    monkeypatch.setattr(RowKernel, "__call__", lambda *a: (calls.append(1), step(*a)))
    fast = sweep(*arguments, grid, **setting)
    assert len(calls) == 7

    def none(*arguments):
        raise Untranslatable("not here")

    monkeypatch.setattr(RowKernel, "__init__", none)
    slow = sweep(*arguments, grid, **setting)
    np.testing.assert_allclose(fast["loss"], slow["loss"], rtol=1e-12)


class Late(nn.Module):
    """A model whose second layer has no gradient in its first two steps."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 10), nn.Linear(64, 10)
        self.calls = 0

    def forward(self, x):
        if torch.is_grad_enabled() and self.training:
            self.calls += 1
        return self.first(x) + (self.second(x) if self.calls > 2 else 0.0)


@pytest.mark.parametrize("make", [Adam, optim.AdaSGD])
def test_a_late_parameter_counts_its_own_steps(make):
    data, setting = small(torch.float64), {"steps": 6, "every": 2, "device": "cpu"}
    frame = sweep(lambda: Late().double(), data, make, {"lr": [0.01, 0.1]}, **setting)
    for lr, run in frame.groupby("lr"):
        torch.manual_seed(0)
        expected = fit(Late().double(), data, partial(make, lr=lr), **setting)
        np.testing.assert_allclose(run["loss"], expected["loss"], rtol=1e-10)


def test_a_model_may_begin_with_batch_normalisation():
    data = small(torch.float64)
    setting = {"steps": 4, "batch_size": 30, "every": 2, "test": data, "device": "cpu"}

    def model():
        return nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 10)).double()

    frame = sweep(model, data, SGD, {"lr": [0.01, 0.1]}, **setting)
    for lr, run in frame.groupby("lr"):
        torch.manual_seed(0)
        expected = fit(model(), data, partial(SGD, lr=lr), **setting)
        np.testing.assert_allclose(run["test_loss"], expected["test_loss"], rtol=1e-10)


def test_parameters_that_end_as_nan_have_diverged():
    def loss(output, y):
        return F.cross_entropy(output, y) + (0.0 * output.sum()).abs().sqrt()

    frame = sweep(lambda: MLP([64, 10]), small(), SGD, {"lr": [0.1]}, steps=1, loss=loss)
    assert np.isfinite(frame["loss"]).all()
    assert frame["diverged"].tolist() == [True]


def test_numpy_numbers_serve():
    counts = {"seeds": np.int64(2), "steps": np.int32(2), "every": np.int64(1)}
    frame = sweep(lambda: MLP([64, 10]), small(), SGD, {"lr": np.array([0.1])}, **counts)
    assert frame["seed"].tolist() == [0, 0, 1, 1]


def test_seeds_fix_start_and_batches_for_all():
    frame = sweep(lambda: MLP([64, 6, 10]), small(), {"SGD": SGD, "Adam": Adam},
                  {"lr": [0.01, 0.1]}, seeds=3, steps=2, every=1, batch_size=30)  # fmt: skip
    first = frame[frame["step"] == 1].pivot_table(
        index=["optimizer", "lr"], columns="seed", values="loss"
    )
    assert np.ptp(first.to_numpy(), axis=0).max() < 1e-6  # same loss before any step
    assert first.nunique(axis=1).min() == 3


def test_a_model_that_diverges_does_so_alone():
    grid = {"lr": [0.05, 1e30, 0.1]}
    setting = {"steps": 12, "batch_size": 30, "every": 3}
    arguments = lambda: MLP([64, 6, 10]), small(), SGD
    frame = sweep(*arguments, grid, **setting)
    wild = frame["lr"] == 1e30
    assert frame[wild]["diverged"].iloc[-1]
    assert not np.isfinite(frame[wild]["loss"].iloc[-1])
    assert frame[wild]["diverged"].is_monotonic_increasing
    alone = sweep(*arguments, {"lr": [0.05, 0.1]}, **setting)
    assert not frame[~wild]["diverged"].any()
    np.testing.assert_allclose(frame[~wild]["loss"], alone["loss"], rtol=1e-6)


def test_divergence_is_remembered():
    x = torch.linspace(-1, 1, 40).view(-1, 1)
    y = x.clone()
    y[7] = 9.0  # a mark: the loss is infinite in the one batch of an epoch that holds it

    def loss(output, y):
        return F.mse_loss(output, y) + torch.where(y.max() > 5, torch.inf, 0.0)

    frame = sweep(lambda: nn.Linear(1, 1), Dataset(x, y), SGD, {"lr": [1e-3]}, steps=8,
                  batch_size=10, every=1, loss=loss)  # fmt: skip
    finite = np.isfinite(frame["loss"])
    assert finite.sum() == 6
    assert frame["diverged"].tolist() == (~finite).cummax().tolist()


class Odd(nn.Module):
    """A model with a frozen and an unused parameter, a buffer that changes, and a tied weight."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 10)
        self.normal = nn.BatchNorm1d(10)
        self.second = nn.Linear(10, 10, bias=False)
        self.third = nn.Linear(10, 10, bias=False)
        self.third.weight = self.second.weight
        self.unused = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.full((10,), 0.5), requires_grad=False)

    def forward(self, x):
        return self.third(F.tanh(self.second(self.normal(self.first(x))))) + self.frozen


@pytest.mark.parametrize("make", [Adam, optim.AdaSGD, optim.BlockwiseAdam])
def test_models_with_buffers_and_odd_parameters(make):
    data = small(torch.float64)
    setting = {"steps": 8, "batch_size": 30, "every": 4, "test": data, "device": "cpu"}
    grid = {"lr": [0.01, 0.02], "weight_decay": [0.1]}
    frame = sweep(lambda: Odd().double(), data, make, grid, seeds=2, **setting)
    for (lr, seed), run in frame.groupby(["lr", "seed"]):
        torch.manual_seed(seed)
        model = Odd().double()
        expected = fit(model, data, partial(make, lr=lr, weight_decay=0.1), seed=seed, **setting)
        np.testing.assert_allclose(run["loss"], expected["loss"], rtol=1e-10)
        np.testing.assert_allclose(run["test_loss"], expected["test_loss"], rtol=1e-10)


def test_regression_has_no_accuracy():
    x = torch.linspace(-1, 1, 40).view(-1, 1)
    frame = sweep(lambda: nn.Linear(1, 1), Dataset(x, 3 * x), SGD, {"lr": [0.1, 0.5]}, steps=60,
                  batch_size=40, every=60, loss=F.mse_loss, test=Dataset(x, 3 * x))  # fmt: skip
    assert list(frame) == [
        "optimizer", "lr", "seed", "step", "loss", "test_loss", "diverged",
    ]  # fmt: skip
    assert frame["test_loss"].iloc[-1] < 1e-3


def test_sequences_are_scored_by_token():
    torch.manual_seed(0)
    ids = torch.randint(5, (40, 6))
    data = Dataset(ids, ids)
    frame = sweep(lambda: nn.Embedding(5, 5), data, Adam, {"lr": [0.1]}, steps=30, batch_size=10,
                  every=30, test=data)  # fmt: skip
    assert frame["test_accuracy"].item() == 1


def test_the_callers_random_state_is_left_alone():
    before = torch.get_rng_state()
    sweep(lambda: MLP([64, 10]), small(), SGD, {"lr": [0.1]}, seeds=[5], steps=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_ctrl_c_returns_what_there_is():
    def interrupted(t):
        calls.append(t)
        if len(calls) == 15:
            raise KeyboardInterrupt
        return 1.0

    calls = []
    frame = sweep(lambda: MLP([64, 10]), small(), {"SGD": SGD, "Adam": Adam}, {"lr": [0.1, 0.2]},
                  steps=10, every=2, schedule=interrupted)  # fmt: skip
    counts = frame.groupby(["optimizer", "lr"]).size().to_dict()
    assert counts == {("SGD", 0.1): 5, ("SGD", 0.2): 5, ("Adam", 0.1): 2, ("Adam", 0.2): 2}


def test_no_steps_is_no_history():
    frame = sweep(lambda: MLP([64, 10]), small(), SGD, {"lr": [0.1]}, steps=0)
    assert len(frame) == 0
    assert list(frame) == ["optimizer", "lr", "seed", "step", "loss", "diverged"]


def test_the_bar_counts_steps_of_all_models(monkeypatch, capsys):
    monkeypatch.setenv("COMPANION_PROGRESS", "1")
    monkeypatch.setattr(progress, "DELAY", 0.0)
    sweep(lambda: MLP([64, 10]), small(), SGD, {"lr": [0.1, 0.2]}, seeds=2, steps=5)
    out, err = capsys.readouterr()
    assert err == ""
    assert "/20" in out


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"grid": {"lr": 0.1}}, ValueError, "grid: lr must be a sequence of values, got 0.1"),
        ({"grid": {"lr": []}}, ValueError, r"grid: lr must be a sequence of values, got \[\]"),
        ({"grid": {"variant": "paper"}}, ValueError, "grid: variant must be a sequence"),
        ({"grid": {"betas": [(0.9, 0.99)]}}, ValueError, "grid: write beta1 and beta2"),
        ({"grid": {"lr": [0.1, -1.0]}}, ValueError, r"Adam: lr must be in .*got -1.0"),
        ({"grid": {"beta2": [1.0]}}, ValueError, r"Adam: beta2 must be in \[0, 1\), got 1.0"),
        ({"grid": {"speed": [1]}}, TypeError, "Adam got an unknown option speed=1"),
        ({"optimizer": torch.optim.Adam}, TypeError, "optimizer: expected classes of companion"),
        ({"optimizer": {"mine": "Adam"}}, TypeError, "optimizer: .* got mine='Adam'"),
        ({"optimizer": "Adam"}, TypeError, "optimizer: .* got 'Adam'"),
        ({"seeds": 0}, ValueError, "seeds: expected a number of at least 1"),
        ({"seeds": -3}, ValueError, "seeds: expected a number of at least 1 .* got -3"),
        ({"seeds": []}, ValueError, "seeds: expected a number of at least 1"),
        ({"seeds": 1.5}, TypeError, "seeds: expected a whole number, got 1.5"),
        ({"seeds": [0.5]}, TypeError, "seeds: expected a whole number, got 0.5"),
        ({"seeds": True}, TypeError, "seeds: expected a whole number, got True"),
        ({"seeds": "12"}, TypeError, "seeds: expected a whole number, got '12'"),
        ({"seeds": [2**80]}, ValueError, "seeds: expected a number of 64 bits"),
        ({"data": small(n=0)}, ValueError, "data: expected .* at least one"),
        ({"test": small(n=0)}, ValueError, "test: expected .* at least one"),
        ({"loss": "mse"}, TypeError, "loss: expected a function, got 'mse'"),
        ({"loss": lambda o, y: 0.3}, TypeError, "loss: expected a scalar tensor"),
        ({"loss": lambda o, y: (o.sum(), 1)}, TypeError, "loss: expected a scalar tensor"),
        ({"loss": lambda o, y: o.sum().detach()}, ValueError, "loss: no parameter has a gradient"),
        ({"schedule": 0.9}, TypeError, "schedule: expected a function, got 0.9"),
        ({"schedule": lambda t: float("nan")}, ValueError, "Adam: lr must be in .* got "),
        ({"grid": [0.1]}, TypeError, r"grid: expected a dict of sequences by option, got \[0.1\]"),
        ({"optimizer": partial(Adam, 0.1)}, TypeError, "optimizer: .* with options by name"),
        ({"seeds": [1, 1]}, ValueError, r"seeds: .*different seeds, got \[1, 1\]"),
        ({"steps": -1}, ValueError, "steps: expected at least 0, got -1"),
        ({"every": 0}, ValueError, "every: expected at least 1"),
        ({"chunk": 0}, ValueError, "chunk: expected at least 1"),
        ({"batch_size": 1000}, ValueError, "batch_size: expected 1 to 100, .*got 1000"),
        ({"data": 3}, TypeError, "data: expected a data set"),
        ({"test": 3}, TypeError, "test: expected a data set"),
        ({"model_fn": lambda: MLP([64, 10]).half()}, TypeError, "model_fn: layers.0.weight is "),
        ({"model_fn": lambda: nn.Flatten()}, ValueError, "model_fn: the model has no parameters"),
        ({"model_fn": MLP([64, 10])}, TypeError, "model_fn: expected a function that returns"),
        ({"model_fn": lambda: 3}, TypeError, "model_fn: expected a function .* new Module, got 3"),
        ({"model_fn": lambda: SHARED, "seeds": 2}, TypeError, r"model_fn: .* new Module, got MLP"),
        ({"loss": lambda o, y: o.sum(1)}, ValueError, r"loss: expected a scalar, got .*\(64,\)"),
    ],
)  # fmt: skip
def test_refuses(change, error, message):
    arguments = {
        "model_fn": lambda: MLP([64, 10]), "data": small(), "optimizer": Adam,
        "grid": {"lr": [0.1]}, "steps": 2, **change,
    }  # fmt: skip
    with pytest.raises(error, match=message):
        sweep(**arguments)
