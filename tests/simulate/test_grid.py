"""A run over a grid steps as the drop-in optimizer does, kernel or not, in chunks or not."""

import os
import signal
import threading

import pytest
import torch
from torch import nn

from companion import optim
from companion.problems import Samples
from companion.simulate import iterates, run
from tests.cases import cases
from tests.simulate.cases import ADAM, F64, X0, slope, stored, tensor


class Breaking(Samples):
    """Counts its resets and its calls, and does something at one of them."""

    resets = calls = 0
    what = staticmethod(lambda: None)

    def reset(self):
        self.resets += 1
        super().reset()

    def __call__(self, x, generator=None):
        self.calls += 1
        if self.calls == 30:
            self.what()
        return super().__call__(x, generator)


STEPS, RATES = 40, [0.003, 0.03, 0.3]
CELLS = [(0, 0), (1, 3), (2, 1), (2, 2)]  # of RATES and of the seeds
_alone = {}  # what kernels and tensor operations are both compared with


def starts():
    return torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=F64)


def ends_alone(cls, options):
    """Return where the drop-in optimizer ends in each of CELLS."""
    if (cls, str(options)) not in _alone:
        oracle, generator = Samples(slope, 5, "reshuffled"), torch.Generator().manual_seed(3)
        drawn, ends = [oracle.indices((4,), generator) for _ in range(STEPS)], []
        for cell, seed in CELLS:
            x = nn.Parameter(starts()[seed])
            stepper = cls([x], lr=RATES[cell], **options)
            for i in drawn:
                x.grad = slope(x.detach(), i[seed])
                stepper.step()
            ends.append(x.detach())
        _alone[cls, str(options)] = ends
    return _alone[cls, str(options)]


@pytest.mark.parametrize("kernel", [True, False])
@cases
def test_a_cell_equals_the_drop_in_optimizer_alone_on_the_same_samples(cls, options, kernel):
    oracle, lr = Samples(slope, 5, "reshuffled"), tensor(RATES, -1, 1, 1)
    result = run(cls, oracle, starts(), STEPS, seed=3, lr=lr, kernel=kernel, **options)
    for place, alone in zip(CELLS, ends_alone(cls, options), strict=True):
        torch.testing.assert_close(result.x[place], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize(
    ("name", "grids"),
    [
        ("Adam", {"beta1": [0.0, 0.5, 0.9], "beta2": [0.1, 0.9, 0.999], "eps": [0.1, 1e-8, 1.0]}),
        ("ADOPT", {"clip_lambda": [0.0, 0.25, 1.0], "beta2": [0.1, 0.9, 0.999]}),
        ("AdaBound", {"lr": [0.1, 0.2, 0.3], "final_lr": [0.1, 1, 0.5], "gamma": [1, 0.1, 0.2]}),
        ("Adamax", {"beta1": [0.0, 0.5, 0.9], "beta2": [0.1, 0.9, 0.999], "eps": [0.1, 1e-8, 1.0]}),
        ("SGD", {"momentum": [0.0, 0.5, 0.9], "weight_decay": [0.0, 0.1, 1.0]}),
    ],
)  # fmt: skip
def test_every_hyper_parameter_may_vary_on_axes_of_its_own(name, grids, kernel):
    optimizer, steps, axes = getattr(optim, name), 40, len(grids)
    tensors = {
        k: tensor(v, *(-1 if j == i else 1 for j in range(axes)), 1, 1)
        for i, (k, v) in enumerate(grids.items())
    }
    x0 = tensor([0.5, -3.0], 2, 1)
    result = run(optimizer, Samples(slope, 5), x0, steps, kernel=kernel, **tensors)
    assert result.x.shape == (*[3] * axes, 2, 1)
    for cell in [(0, 1, 2)[:axes], (2, 0, 1)[:axes], (1, 1, 1)[:axes]]:
        own = {k: v[i] for i, (k, v) in zip(cell, grids.items(), strict=True)}
        alone = run(optimizer, Samples(slope, 5), x0, steps, kernel=False, **own)
        torch.testing.assert_close(result.x[cell], alone.x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdaBound", "ADOPT"])
def test_a_schedule_may_differ_between_cells(name, kernel):
    optimizer, lr = getattr(optim, name), tensor([0.1, 0.4], 2, 1, 1)
    x0 = tensor([1.0], 1, 1)
    result = run(
        optimizer, Samples(slope, 5), x0, 30, seeds=3, kernel=kernel, lr=lambda t: lr / t**0.5
    )
    walk = iterates(optimizer, Samples(slope, 5), x0.expand(3, 1), 30, lr=lambda t: 0.4 / t**0.5)
    *_, (_, alone) = walk
    torch.testing.assert_close(result.x[1], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [True, False])
def test_options_may_differ_between_seeds(kernel):
    lr = tensor([0.1, 0.2, 0.4], 3, 1)
    x0 = torch.ones(1, 2, dtype=F64)
    result = run(optim.Adam, Samples(slope, 5, "cyclic"), x0, 30, kernel=kernel, lr=lr)
    for seed in range(3):
        alone = run(optim.Adam, Samples(slope, 5, "cyclic"), x0, 30, lr=lr[seed].item())
        torch.testing.assert_close(result.x[seed], alone.x[0], rtol=1e-12, atol=1e-12)


def test_cells_share_samples_and_seeds_do_not():
    result = run(
        optim.SGD, Samples(slope, 5), tensor([1.0], 1, 1), 50, seeds=3,
        lr=tensor([0.1, 0.1], 2, 1, 1),
    )  # fmt: skip
    assert torch.equal(result.x[0], result.x[1])
    assert len(result.x[0].unique()) == 3


@pytest.mark.parametrize("project", [(-1.0, 1.0), lambda x: x.clamp(-1, 1)])
@pytest.mark.parametrize("kernel", [True, False])
def test_x_is_projected_after_every_step(project, kernel):
    result = run(
        optim.Adam, Samples(slope, 5), tensor([0.0], 1, 1), 80, seeds=5, kernel=kernel,
        project=project, times=range(81), **ADAM,
    )  # fmt: skip
    assert result.quantiles.abs().max() == 1
    x0 = torch.zeros(5, 1, dtype=F64)
    path = stored(Samples(slope, 5), x0, 80, (4, 5, 1), project=lambda x: x.clamp(-1, 1), **ADAM)
    torch.testing.assert_close(result.x, path[-1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [True, False])
def test_single_precision_follows_double_precision(kernel):
    both = [
        run(optim.Adam, Samples(slope, 5), X0, 60, dtype=dtype, kernel=kernel, **ADAM)
        for dtype in (torch.float32, F64)
    ]
    assert both[0].x.dtype == both[0].quantiles.dtype == torch.float32
    torch.testing.assert_close(both[0].x.double(), both[1].x, rtol=1e-4, atol=1e-4)


class Rising:
    """A first gradient that is small, so that v is made of 1 - β2 times the later ones."""

    def reset(self):
        self.scale = 1e-3

    def __call__(self, x):
        g, self.scale = torch.full_like(x, self.scale), 1.0
        return g


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("beta2", [0.9999, tensor([0.9999, 0.99999], 2, 1, 1)], ids=["one", "two"])
def test_one_minus_beta_keeps_its_digits_in_single_precision(beta2, kernel):
    # As numbers of 24 bits, 1 - β2 would be off by 3e-4 of itself, and each step by half of that.
    options = {"lr": 0.1, "beta1": 0.0, "beta2": beta2, "clip_lambda": None, "kernel": kernel}
    single, double = (
        run(optim.ADOPT, Rising(), torch.zeros(1, 1), 50, dtype=dtype, **options).x
        for dtype in (torch.float32, F64)
    )
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("name", ["Adam", "ADOPT", "AdaSGD"])
def test_chunks_change_nothing(name, kernel):
    options = {
        "lr": lambda t: 0.1 / t**0.5,
        "beta1": tensor([0.0, 0.5, 0.9], 3, 1, 1, 1),
        "beta2": tensor([0.5, 0.9, 0.99, 0.999], 4, 1, 1),
        "level": -1.0,
        "minimiser": -2.0,
        "times": [3, 30],
        "kernel": kernel,
    }
    oracle = Breaking(slope, 5, "reshuffled")
    whole = run(getattr(optim, name), oracle, X0, 30, **options)
    # 80 and 112 bytes for each of the 12 cells, and for 5 cells at a time 8 · (16 + 2) · 7.
    few = run(getattr(optim, name), oracle, X0, 30, memory=12 * 192 + 5 * 1008, **options)
    assert oracle.resets == 1 + 1 + 3  # when made; one chunk; three
    for key in ("x", "quantiles", "drift", "growth", "first_passage"):
        torch.testing.assert_close(getattr(few, key), getattr(whole, key), rtol=1e-13, atol=1e-13)


def test_an_interrupt_returns_what_is_there_and_can_go_on():
    oracle = Breaking(slope, 5, "reshuffled")
    oracle.what = lambda: os.kill(os.getpid(), signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    part = run(optim.Adam, oracle, X0, 100, times=[20, 60], **ADAM)
    assert signal.getsignal(signal.SIGINT) is before
    assert part.interrupted
    assert part.steps.tolist() == [30] * 4
    assert part.quantiles.isnan().flatten(1).any(1).tolist() == [False, True]
    assert part.first_passage is None
    whole = run(optim.Adam, Samples(slope, 5, "reshuffled"), X0, 30, times=[20], **ADAM)
    assert torch.equal(part.x, whole.x)
    assert torch.equal(part.quantiles[:1], whole.quantiles)


def test_an_interrupt_leaves_the_chunks_that_were_not_begun_at_their_start():
    oracle = Breaking(slope, 5)
    oracle.what = lambda: os.kill(os.getpid(), signal.SIGINT)
    part = run(
        optim.Adam, oracle, X0, 20, times=[20], level=-1.0, memory=4 * 152 + 2 * 1008, **ADAM
    )
    assert part.steps.tolist() == [20, 20, 10, 10]
    assert part.quantiles.isnan().any(-1).tolist() == [[False, False, True, True]]
    first = run(optim.Adam, Samples(slope, 5), X0, 5, memory=4 * 400 + 1008, **ADAM)
    assert first.steps.tolist() == [5] * 4


def test_an_oracle_that_raises_keyboard_interrupt_keeps_the_summaries_only():
    def stop():
        raise KeyboardInterrupt

    oracle = Breaking(slope, 5)
    oracle.what = stop
    part = run(optim.Adam, oracle, X0, 100, times=[20, 60], **ADAM)
    assert part.interrupted
    assert part.steps.tolist() == [29] * 4
    assert part.quantiles[0].isfinite().all()


def test_a_run_may_live_in_a_thread():
    found = []
    thread = threading.Thread(
        target=lambda: found.append(run(optim.Adam, Samples(slope, 5), X0, 20, **ADAM))
    )
    thread.start()
    thread.join()
    assert torch.equal(found[0].x, run(optim.Adam, Samples(slope, 5), X0, 20, **ADAM).x)


@pytest.mark.gpu
@pytest.mark.parametrize("order", ["iid", "reshuffled", "cyclic"])
def test_the_grid_runs_on_a_gpu(order):
    options = {**ADAM, "level": -1.0, "minimiser": -2.0}
    result = run(optim.Adam, Samples(slope, 5, order), X0, 50, device="cuda", **options)
    assert result.x.device.type == "cuda"
    if order == "cyclic":  # the same without random numbers
        here = run(optim.Adam, Samples(slope, 5, order), X0, 50, **options)
        torch.testing.assert_close(result.x.cpu(), here.x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (ValueError, "steps", {"steps": -1}),
        (ValueError, "steps", {"steps": True}),
        (TypeError, "x0", {"x0": 1.0}),
        (ValueError, "dtype", {"dtype": torch.float16}),
        (TypeError, "seeds", {"seeds": 2.0}),
        (ValueError, "seeds is 3", {"seeds": 3}),
        (ValueError, "times", {"times": [5, 11]}),
        (ValueError, "times", {"times": [2.5]}),
        (ValueError, "level", {"level": 0.0, "x0": torch.zeros(7, 2)}),
        (ValueError, "minimiser", {"minimiser": [1.0, 2.0]}),
        (ValueError, "memory must be at least", {"memory": 1000}),
        (ValueError, "observe", {"observe": lambda x: x}),
        (ValueError, "grad must return", {"grad": lambda x: x[0]}),
        (TypeError, "stop", {"stop": -1}),
        (ValueError, "seeds is 0", {"seeds": 0, "x0": torch.ones(1)}),
        (ValueError, "beta2", {"beta2": 1.0}),
        (ValueError, "last dimension", {"beta2": tensor([0.5, 0.9], 2)}),
        (ValueError, "lr", {"lr": lambda t: 0.1 if t < 5 else -0.1}),
        (ValueError, "lr", {"lr": lambda t: tensor([-0.1], 1, 1)}),
    ],
)
def test_errors_name_the_argument(error, match, options):
    arguments = {"grad": Samples(slope, 5), "x0": X0, "steps": 10, **options}
    with pytest.raises(error, match=match):
        run(optim.Adam, **arguments)
