import os
import signal
import threading

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from companion import grid, optim
from companion.grid import run
from companion.problems import Function2, HintonRprop, LeastSquares, Quadratic, Samples
from companion.simulate import iterates
from tests.naming import label

F64 = torch.float64
SLOPES = torch.tensor([5.0, -1.0, -1.0, -1.0, -0.5], dtype=F64)


def slope(x, i):
    """Return a gradient that depends on the sample, and on x below -1 (a scalar finite sum)."""
    return SLOPES.to(x)[i] * (x + 2).clamp(max=1)


def tensor(values, *shape):
    return torch.tensor(values, dtype=F64).view(*shape)


LABELS = torch.tensor([0, 1, 0])
# Every exported optimizer, and options that change what a kernel has to do.
CASES = [(name, {}) for name in optim.__all__] + [
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
    ("AdaGrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adam", {"betas": (0.5, 0.8), "weight_decay": 0.1}),
    ("AMSGrad", {"variant": "paper"}),
    ("AMSGrad", {"variant": "optax"}),
    ("AdaShift", {"phi": "mean", "n": 3}),
    ("AdaShift", {"phi": None, "n": 3}),
    ("ADOPT", {"clip_lambda": None, "weight_decay": 0.1, "decoupled": True}),
    ("ADOPT", {"clip_lambda": lambda t: t**0.1}),
    ("SignSGD", {"momentum": 0.5}),
    ("BlockwiseAdam", {"partition": lambda p, name: LABELS}),
]


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize(("name", "options"), CASES, ids=label)
def test_a_cell_equals_the_drop_in_optimizer_alone_on_the_same_samples(name, options, kernel):
    optimizer, steps, d, seeds = getattr(optim, name), 60, 3, 4
    lr = [0.003, 0.03, 0.3]
    generator = torch.Generator().manual_seed(1)
    x0 = torch.randn(seeds, d, generator=generator, dtype=F64)
    oracle = Samples(slope, 5, "reshuffled")
    result = run(
        optimizer, oracle, x0, steps, seed=3, lr=tensor(lr, -1, 1, 1), kernel=kernel, **options
    )
    oracle.reset()
    generator.manual_seed(3)
    drawn = [oracle.indices((seeds,), generator) for _ in range(steps)]
    for cell, seed in [(0, 0), (1, 3), (2, 1), (2, 2)]:
        x = nn.Parameter(x0[seed].clone())
        stepper = optimizer([x], lr=lr[cell], **options)
        for i in drawn:
            x.grad = slope(x.detach(), i[seed])
            stepper.step()
        torch.testing.assert_close(result.x[cell, seed], x.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize(
    ("name", "grids"),
    [
        ("Adam", {"beta1": [0.0, 0.5, 0.9], "beta2": [0.1, 0.9, 0.999], "eps": [0.1, 1e-8, 1.0]}),
        ("ADOPT", {"clip_lambda": [0.0, 0.25, 1.0], "beta2": [0.1, 0.9, 0.999]}),
        ("AdaBound", {"lr": [0.1, 0.2, 0.3], "final_lr": [0.1, 1, 0.5], "gamma": [1, 0.1, 0.2]}),
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


# -- summaries, against everything stored --------------------------------------------------------


def stored(oracle, x0, steps, shape, **hyper):
    walk = iterates(optim.Adam, oracle, x0.expand(shape), steps, seed=0, **hyper)
    return torch.stack([x for _, x in walk])


ADAM = {"lr": 0.1, "beta1": 0.5, "beta2": tensor([0.5, 0.9, 0.999, 0.1], 4, 1, 1)}
X0 = tensor([1.0, -1.0, -3.0, -6.0, 2.0, 0.0, -2.0], 7, 1)
LEVELS = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=F64)


def test_quantiles_drift_and_growth_equal_those_of_all_iterates():
    times = [0, 1, 7, 50, 203]
    result = run(optim.Adam, Samples(slope, 5), X0, 203, times=times, minimiser=-2.0, **ADAM)
    path = stored(Samples(slope, 5), X0, 203, (4, 7, 1), **ADAM)[..., 0]
    expected = torch.quantile(path[times], LEVELS, dim=-1).movedim(0, -1)
    torch.testing.assert_close(result.quantiles, expected, rtol=1e-12, atol=1e-12)
    assert result.times == times
    median = (path[203] - path[50]).median(-1).values
    torch.testing.assert_close(result.drift, median / 153, rtol=1e-9, atol=1e-12)
    away = (path + 2).abs()
    growth = (away[203] - away[50]).median(-1).values
    assert torch.equal(result.growth, growth > 0)
    assert 0 < result.growth.sum() < 4  # both happen
    torch.testing.assert_close(result.x[..., 0], path[-1], rtol=1e-12, atol=1e-12)


def test_what_is_observed_may_be_chosen():
    f = LeastSquares.random(n=12, d=3, kappa=20, noise=1.0, seed=0)
    x0 = torch.ones(5, 3, dtype=F64)
    chosen = {"default": None, "loss": f.loss}
    for name, observe in chosen.items():
        result = run(
            optim.Adam, f.samples(4), x0, 20, times=[20], observe=observe, minimiser=f.minimiser,
            **ADAM,
        )  # fmt: skip
        end = stored(f.samples(4), x0, 20, (4, 5, 3), **ADAM)[-1]
        y = (end - f.minimiser).norm(dim=-1) if name == "default" else f.loss(end)
        expected = torch.quantile(y, LEVELS, dim=-1).T
        torch.testing.assert_close(result.quantiles[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("level", [1.3, -1.5, -2.0])
def test_first_passage_equals_a_search_through_all_iterates(level):
    result = run(optim.Adam, Samples(slope, 5), X0, 150, level=level, **ADAM)
    path = stored(Samples(slope, 5), X0, 150, (4, 7, 1), **ADAM)[..., 0]
    for cell in range(4):
        for seed in range(7):
            x = path[:, cell, seed].tolist()
            below = x[0] <= level
            hits = [t for t in range(1, 151) if (x[t] >= level if below else x[t] <= level)]
            assert result.first_passage[cell, seed] == (hits[0] if hits else -1)


def test_first_passage_is_the_first_even_if_x_comes_back():
    def there_and_back(x):
        there_and_back.t += 1
        return torch.full_like(x, -1.0 if there_and_back.t <= 5 else 1.0)

    there_and_back.t = 0
    result = run(optim.SGD, there_and_back, tensor([0.0], 1, 1), 20, level=2.5, lr=1.0)
    assert result.x.item() == -10
    assert result.first_passage.item() == 3


def test_default_times_are_log_spaced_and_end_with_the_last_step():
    result = run(optim.SGD, lambda x: x, X0, 1000, lr=0.1)
    assert result.times[0] == 1
    assert result.times[-1] == 1000
    assert len(result.times) <= 64
    assert result.times == sorted(set(result.times))


def test_the_frame_has_one_row_a_quantile():
    result = run(optim.Adam, Samples(slope, 5), X0, 10, times=[5, 10], **ADAM)
    frame = result.frame(beta2=[0.5, 0.9, 0.999, 0.1])
    assert list(frame) == ["t", "beta2", "quantile", "value"]
    row = frame[(frame.t == 10) & (frame.beta2 == 0.999) & (frame["quantile"] == 0.5)]
    assert row.value.item() == result.quantiles[1, 2, 2].item()
    assert list(result.frame()) == ["t", "cell0", "quantile", "value"]


def test_diverged_seeds_do_not_blot_out_the_quantiles():
    values = tensor([[0.0, 1.0, 2.0, float("inf"), float("nan")]], 1, 5)
    low, median, high = grid.quantiles(values, (0.25, 0.5, 0.75))[0].tolist()
    assert (low, median, high) == (1.0, 2.0, float("inf"))
    signed = tensor([-float("inf"), 0.0, 1.0], 3)
    assert grid.quantiles(signed, (0.25, 0.5)).tolist() == [-float("inf"), 0.0]


def test_growth_counts_what_left_the_numbers():
    result = run(
        optim.SGD, lambda x: x**3, tensor([5.0], 1, 1), 40, seeds=3, minimiser=0.0,
        lr=tensor([1e-3, 1.0], 2, 1, 1),
    )  # fmt: skip
    assert result.growth.tolist() == [False, True]


# -- projection, precision, memory ----------------------------------------------------------------


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
    oracle = Samples(slope, 5, "reshuffled")
    whole = run(getattr(optim, name), oracle, X0, 30, **options)
    # 80 and 112 bytes for each of the 12 cells, and for 5 cells at a time 8 · (16 + 2) · 7.
    few = run(getattr(optim, name), oracle, X0, 30, memory=12 * 192 + 5 * 1008, **options)
    assert (whole.state["plan"]["chunks"], few.state["plan"]["chunks"]) == (1, 3)
    for key in ("x", "quantiles", "drift", "growth", "first_passage"):
        torch.testing.assert_close(getattr(few, key), getattr(whole, key), rtol=1e-13, atol=1e-13)


def test_memory_does_not_depend_on_the_number_of_steps():
    def size(steps):
        state = run(
            optim.Adam, Samples(slope, 5), X0, steps + 1, times=[1, 2], level=0.0, stop=steps,
            **ADAM,
        ).state  # fmt: skip
        return sum(z.numel() for z in pytree.tree_leaves(state) if isinstance(z, torch.Tensor))

    assert size(10) == size(1500)


# -- stopping, interrupting, going on ------------------------------------------------------------

F = LeastSquares.random(n=12, d=1, kappa=1, noise=1.0, seed=0)
ORACLES = {
    "reshuffled": lambda: Samples(slope, 5, "reshuffled"),
    "iid": lambda: Samples(slope, 5, "iid"),
    "minibatches": lambda: F.samples(3, "reshuffled"),
    "rprop": lambda: HintonRprop("reshuffled"),
    "function 2": lambda: Function2(7, order="reshuffled"),
    "noisy": lambda: Quadratic([1.0]).noisy(0.5),
}
SUMMARIES = ("x", "quantiles", "drift", "growth", "first_passage", "steps")


def same(a, b):
    return all(
        torch.equal(torch.nan_to_num(getattr(a, k)), torch.nan_to_num(getattr(b, k)))
        for k in SUMMARIES
    )


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("name", list(ORACLES))
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(name, kernel, tmp_path):
    options = {**ADAM, "level": -1.0, "minimiser": -2.0, "kernel": kernel}

    def go(**more):  # a new oracle each time, as in a new process
        return run(optim.Adam, ORACLES[name](), X0, 100, **options, **more)

    whole, part = go(), go(stop=38)
    assert part.steps.tolist() == [38] * 4
    assert not part.interrupted
    grid.save(part.state, tmp_path / "run.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    later = go(state=grid.load(tmp_path / "run.pt"), stop=9)
    assert same(go(state=later.state), whole)
    assert same(go(state=part.state), whole)  # the state given is not used up


def test_a_run_in_chunks_resumes_too():
    options = {**ADAM, "level": -1.0, "minimiser": -2.0, "times": [50], "memory": 608 + 3 * 1008}

    def go(**more):
        return run(optim.Adam, Samples(slope, 5, "reshuffled"), X0, 50, **options, **more)

    part = go(stop=68)
    assert part.state["plan"]["chunks"] == 2
    assert part.steps.tolist() == [50, 50, 50, 18]
    assert part.quantiles.isnan().any(-1).tolist() == [[False, False, False, True]]
    assert same(go(state=part.state), go())


class Nested:
    """An oracle that keeps its place elsewhere than in plain attributes, and says where."""

    def __init__(self):
        self.queue = [3.0, -1.0, -1.0]

    def __call__(self, x):
        self.queue = [*self.queue[1:], self.queue[0]]
        return self.queue[0] * (x + 2).clamp(max=1)

    def state_dict(self):
        return {"queue": list(self.queue)}

    def load_state_dict(self, state):
        self.queue = list(state["queue"])


def test_an_oracle_may_save_its_place_itself():
    whole = run(optim.Adam, Nested(), X0, 50, **ADAM)
    part = run(optim.Adam, Nested(), X0, 50, stop=20, **ADAM)
    assert torch.equal(run(optim.Adam, Nested(), X0, 50, state=part.state, **ADAM).x, whole.x)


class Breaking(Samples):
    """Does something at one call."""

    def __call__(self, x, generator=None):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 30:
            self.what()
        return super().__call__(x, generator)


def test_an_interrupt_returns_what_is_there_and_can_go_on():
    oracle = Breaking(slope, 5, "reshuffled")
    oracle.what = lambda: os.kill(os.getpid(), signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    part = run(optim.Adam, oracle, X0, 100, times=[20, 60], **ADAM)
    assert signal.getsignal(signal.SIGINT) is before
    assert part.interrupted
    assert part.steps.tolist() == [30] * 4
    assert part.quantiles.isnan().flatten(1).any(1).tolist() == [False, True]
    whole = run(optim.Adam, Samples(slope, 5, "reshuffled"), X0, 100, times=[20, 60], **ADAM)
    again = run(
        optim.Adam, Samples(slope, 5, "reshuffled"), X0, 100, times=[20, 60], state=part.state,
        **ADAM,
    )  # fmt: skip
    assert torch.equal(again.x, whole.x)
    assert torch.equal(again.quantiles, whole.quantiles)


def test_an_oracle_that_raises_keyboard_interrupt_keeps_the_summaries_only():
    def stop():
        raise KeyboardInterrupt

    oracle = Breaking(slope, 5)
    oracle.what = stop
    part = run(optim.Adam, oracle, X0, 100, times=[20, 60], **ADAM)
    assert part.interrupted
    assert part.steps.tolist() == [29] * 4
    assert part.state is None
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
        (ValueError, "stop", {"stop": -1}),
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


@pytest.mark.parametrize(
    ("name", "change"),
    [("steps", {"steps": 11}), ("seed", {"seed": 1}), ("options", {"beta2": 0.5})],
)
def test_a_state_of_another_run_is_refused(name, change):
    arguments = {"grad": Samples(slope, 5), "x0": X0, "steps": 10, "times": [5]}
    state = run(optim.Adam, **arguments, stop=5).state
    with pytest.raises(ValueError, match=f"run with {name}"):
        run(optim.Adam, **{**arguments, **change}, state=state)


def test_a_failed_save_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "run.pt"
    grid.save({"t": 1}, path)
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        grid.save({"t": lambda: 0}, path)
    assert grid.load(path) == {"t": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
