"""Run one rule over a grid of hyper-parameters and seeds for ten million steps, in little memory.

`companion.simulate.trajectory` keeps the iterates; `run` keeps summaries of them only, made on the
way, so that memory does not depend on the number of steps. Shapes are the same: ``(cells..., seeds,
d)``, random numbers differ between seeds and are the same in every cell.
"""

import math
import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from companion.kernels.build import Untranslatable
from companion.kernels.cells import GridKernel
from companion.optim.stack import Stack
from companion.progress import bar
from companion.simulate import bind, tidy

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
TEMPORARIES = 16  # tensors of the size of x that a step may hold at once, its gradient included


@dataclass
class Result:
    """Summaries of a run. NaN (-1 in whole numbers) stands for what was not reached.

    Attributes
    ----------
    times : list of int
        Steps at which the quantiles were taken.
    quantiles : Tensor
        Quantiles 0.1, 0.25, 0.5, 0.75, 0.9 over seeds of what is observed, of shape (times,
        cells..., 5).
    x : Tensor
        The last iterate, of shape (cells..., seeds, d).
    drift : Tensor
        Median over seeds of (y_T - y_{T/4}) / (T - T/4) for the observed y, of shape (cells...).
    growth : Tensor or None
        Whether median(‖x_T - x*‖ - ‖x_{T/4} - x*‖) > 0, of shape (cells...): the criterion of
        divergence. ``None`` without a minimiser; False where T was not reached.
    first_passage : Tensor or None
        The first step t at which x reached ``level``, of shape (cells..., seeds), int64; -1 where
        it did not.
    steps : Tensor
        Steps made, of shape (cells...), int64.
    interrupted : bool
        Whether the run was cut short from the keyboard.
    state : dict or None
        What `run` needs to go on; see `save`. ``None`` if an oracle raised ``KeyboardInterrupt``
        itself, in the middle of a step.
    """

    times: list
    quantiles: Tensor
    x: Tensor
    drift: Tensor
    growth: Tensor | None
    first_passage: Tensor | None
    steps: Tensor
    interrupted: bool
    state: dict | None

    def frame(self, **cells) -> pd.DataFrame:
        """Return the quantiles as a table: columns t, one a cell dimension, quantile, value.

        Parameters
        ----------
        **cells : sequence
            One a dimension of the cells, in order: its name and the labels along it, such as
            ``beta2=[0.9, 0.99]``. Left out: ``cell0``, ``cell1``, … and the index.
        """
        shape = self.quantiles.shape[1:-1]
        cells = cells or {f"cell{i}": range(n) for i, n in enumerate(shape)}
        return tidy(self.quantiles, "value", t=self.times, **cells, quantile=QUANTILES)


def run(
    optimizer,
    grad,
    x0: Tensor,
    steps: int,
    *,
    seeds: int | None = None,
    seed: int = 0,
    times=None,
    observe=None,
    level=None,
    minimiser=None,
    project=None,
    dtype: torch.dtype = torch.float64,
    device=None,
    memory: int = 2 * 2**30,
    kernel: bool = True,
    progress: bool = True,
    state: dict | None = None,
    stop: int | None = None,
    **hyper,
) -> Result:
    r"""Step a grid of hyper-parameters, seeds and starts, and keep summaries only.

    Parameters
    ----------
    optimizer : type
        A class of `companion.optim`; its own ``update`` makes every step.
    grad : callable
        ``grad(x)`` or ``grad(x, generator)``, from (cells, seeds, d) to the same shape; all cells
        come as one dimension. Its random numbers must not depend on the number of cells. If it
        walks through data it has a method ``reset()``, and keeps its place in plain attributes
        (numbers, strings, tensors) or has ``state_dict`` and ``load_state_dict``.
    x0 : Tensor
        Start, of shape (d,), (seeds, d) or (cells..., seeds, d).
    steps : int
        Number of gradients T.
    seeds : int, optional
        Number of seeds; by default what x0 and the hyper-parameters say.
    seed : int
        Seeds the generator that all seeds draw from.
    times : sequence of int, optional
        Steps at which to take quantiles, from 0 (the start) to T; by default at most 64 from 1 to
        T, evenly spaced on a logarithmic scale.
    observe : callable, optional
        From (cells, seeds, d) to (cells, seeds): the number whose quantiles and drift are kept. By
        default x itself if d = 1, and ‖x - x*‖ otherwise, where a missing minimiser counts as zero.
    level : float, optional
        Record when x first reaches this level, from below or above; d = 1 only.
    minimiser : float, sequence or Tensor, optional
        x*, of shape (d,) or (), for the growth criterion.
    project : (float, float) or callable, optional
        An interval that x is clamped to after each step, or a function of x.
    dtype : torch.dtype
        ``torch.float64``, or ``torch.float32`` for speed. 1 - β keeps its digits only if the
        kernel below steps; else β2 = 0.9999 is off by 3e-4 of 1 - β2.
    device : torch.device, optional
        By default that of x0.
    memory : int
        Bytes. Cells are run in chunks, one after the other, that fit.
    kernel : bool
        Step by one kernel made of the rule where that is possible (on a CPU, for rules without
        averages, given a C++ compiler); else, and where False, by tensor operations. Both round
        alike up to the last digits.
    progress : bool
        Show a progress bar.
    state : dict, optional
        ``Result.state`` of a run with the same arguments, to go on from there. The continued run
        equals an uninterrupted one bit for bit.
    stop : int, optional
        Make at most so many steps in this call, counted over chunks.
    **hyper
        Options of the optimizer. Each is a number or a tensor whose last dimension is 1, such as
        (cells..., 1, 1). ``lr`` and ADOPT's ``clip_lambda`` may be functions of the step.

    Returns
    -------
    Result
        Also after an interrupt from the keyboard, with what there is.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, does not broadcast, or a state is from another run.

    Notes
    -----
    Cost: T gradients of the whole grid. Memory: x, the optimizer's state and about 16 temporaries
    for one chunk; for the whole grid the last x, 40 bytes for each time and cell, and 8 bytes an
    element with ``level``. ``growth`` compares with T/4 rather than with the start:
    the transient is over by then. Small grids, and any grid on a busy machine, are faster under
    ``torch.set_num_threads(1)``: threads wait for each other at every operation.

    Examples
    --------
    Gradients of 3 once in three and -1 otherwise: the mean points down, Adam with β2 = 0 goes up.

    >>> from companion.optim import Adam
    >>> from companion.problems import Samples
    >>> slopes = torch.tensor([3.0, -1.0, -1.0], dtype=torch.float64)
    >>> oracle = Samples(lambda x, i: slopes[i].expand_as(x), n=3, order="reshuffled")
    >>> beta2 = torch.tensor([0.0, 0.999]).view(-1, 1, 1)
    >>> result = run(
    ...     Adam, oracle, torch.zeros(1), 3000, seeds=8, project=(-1, 1), level=0.9,
    ...     lr=0.01, beta1=0.0, beta2=beta2,
    ... )
    >>> result.x.mean((-2, -1)).round(decimals=1).tolist()
    [1.0, -1.0]
    >>> (result.first_passage >= 0).tolist()[1]
    [False, False, False, False, False, False, False, False]
    """
    plan = _Plan(
        optimizer, grad, x0, steps, seeds, seed, times, observe, level, minimiser, project, dtype,
        device, memory, kernel, hyper,
    )  # fmt: skip
    work = plan.empty() if state is None else plan.loaded(state)
    budget = plan.total if stop is None else stop
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 0:
        raise ValueError(f"stop must be a whole number of at least 0, got {stop!r}")
    torn = False
    with _interrupts() as interrupted, bar(plan.total, progress) as shown, torch.no_grad():
        shown.update(int(work["done"].sum()) if state else 0)
        try:
            while work["chunk"] < len(plan.chunks) and budget > 0 and not interrupted:
                budget -= plan.advance(work, budget, interrupted, shown)
        except KeyboardInterrupt:
            interrupted.append(True)
            torn = True
    return plan.result(work, bool(interrupted), torn)


def save(state: dict, path) -> None:
    """Write ``Result.state`` to a file, all of it or nothing."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        torch.save(state, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load(path, device=None) -> dict:
    """Read a state that `save` wrote; nothing in the file is run."""
    return torch.load(path, map_location=device, weights_only=True)


def quantiles(values: Tensor, levels=QUANTILES) -> Tensor:
    """Return linearly interpolated quantiles over the last dimension, from (..., n) to (..., q).

    Infinite values are kept, and NaN counts as the largest: a few diverged seeds do not blot out
    the rest.

    Examples
    --------
    >>> quantiles(torch.tensor([0.0, 1.0, 2.0, 3.0, float("inf")]), (0.25, 0.5, 1.0))
    tensor([1., 2., inf])
    """
    ordered = values.sort(-1).values
    at = torch.tensor(levels, dtype=torch.float64) * (values.shape[-1] - 1)
    below = at.floor()
    weight = (at - below).to(ordered)
    low = ordered[..., below.long().to(ordered.device)]
    high = ordered[..., at.ceil().long().to(ordered.device)]
    return torch.where((low == high) | (weight == 0), low, (1 - weight) * low + weight * high)


class _Plan:
    """What a run is to do; what it has done so far stands in a dictionary ``work`` of tensors."""

    def __init__(
        self, optimizer, grad, x0, steps, seeds, seed, times, observe, level, minimiser, project,
        dtype, device, memory, kernel, hyper,
    ):  # fmt: skip
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise ValueError(f"steps must be a whole number of at least 0, got {steps!r}")
        if not isinstance(x0, Tensor) or not x0.is_floating_point() or x0.dim() == 0:
            raise TypeError(f"x0 must be a floating-point tensor of shape (..., d), got {x0!r}")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype!r}")
        if seeds is not None and (isinstance(seeds, bool) or not isinstance(seeds, int)):
            raise TypeError(f"seeds must be a whole number, got {seeds!r}")
        self.optimizer, self.grad, self.steps, self.seed = optimizer, grad, steps, seed
        self.observe, self.project, self.dtype = observe, project, dtype
        self.device = torch.device(device or x0.device)
        self.kernel = kernel and self.device.type == "cpu"
        self.times = _times(times, steps)
        self.row = {t: i for i, t in enumerate(self.times)}

        self.schedules = {k: v for k, v in hyper.items() if k != "partition" and callable(v)}
        first = {"lr": hyper["lr"](1)} if "lr" in self.schedules else {}
        self.stack = Stack(optimizer, **{**hyper, **first})
        self.h = self.stack.h
        shape = self.stack.shape(x0)
        shape = torch.Size((*([1] * (2 - len(shape))), *shape))
        if seeds is not None and shape[-2] not in (1, seeds):
            raise ValueError(f"seeds is {seeds}, but x0 and the options have {shape[-2]}")
        self.shape = torch.Size((*shape[:-2], seeds or shape[-2], shape[-1]))
        self.cells, self.seeds, self.d = math.prod(shape[:-2]), *self.shape[-2:]
        self.x0 = self.flat(x0.detach().to(self.device, dtype))
        self.numbers = {k: v for k, v in vars(self.h).items() if isinstance(v, Tensor)}
        if level is not None and self.d != 1:
            raise ValueError(f"level needs problems of one coordinate, got d = {self.d}")
        self.level = level
        self.minimiser = None
        if minimiser is not None:
            self.minimiser = torch.as_tensor(minimiser, dtype=dtype, device=self.device)
            if self.minimiser.shape not in ((), (self.d,)):
                raise ValueError(f"minimiser must have shape ({self.d},), got {minimiser!r}")
        self.chunks = self._chunks(memory)
        self.total = steps * len(self.chunks)

    def flat(self, value: Tensor) -> Tensor:
        """Return a tensor that broadcasts against (cells..., seeds, d) with its cells as one."""
        value = value.reshape((1,) * (len(self.shape) - value.dim()) + value.shape)
        if value.shape[:-2].numel() == 1:
            return value.reshape(1, *value.shape[-2:])
        return value.expand(*self.shape[:-2], -1, -1).reshape(self.cells, *value.shape[-2:])

    def start(self, cells: slice) -> Tensor:
        """Return the start of some cells; in memory the cells lie side by side."""
        x = self.x0.expand(self.cells, self.seeds, self.d)[cells]
        return x.permute(1, 2, 0).clone(memory_format=torch.contiguous_format).permute(2, 0, 1)

    def part(self, cells: slice, wide: bool) -> Stack:
        """Return the stack of some cells; wide for a kernel, which knows all their dimensions."""

        def part(value):
            if not isinstance(value, Tensor):
                return value
            value = value.to(self.device, torch.float64)
            if wide and len(self.chunks) == 1:  # unexpanded: far fewer powers to compute
                return value[(None,) * (len(self.shape) - value.dim())]
            value = self.flat(value)
            return value if len(value) == 1 else value[cells]

        stack = self.stack.mapped(part)
        self.lr = None
        for name, function in self.schedules.items():
            if name == "lr":
                self.lr = lambda t, function=function: part(function(t))
                stack.set_lr(self.lr(1))
            else:
                setattr(stack.h, name, lambda t, function=function: part(function(t)))
        return stack

    def _chunks(self, memory) -> list:
        one = self.start(slice(0, 1))
        state = pytree.tree_leaves(self.part(slice(0, 1), False).init(one))
        state = sum(z.numel() for z in state if isinstance(z, Tensor))
        size = one.element_size()
        for_all = self.cells * (5 * size * len(self.times) + (size + 8) * one.numel())
        each = size * (TEMPORARIES * one.numel() + state)
        if memory < for_all + each:
            raise ValueError(
                f"memory must be at least {for_all + each} bytes for {self.cells} cells of "
                f"{self.seeds} seeds at {len(self.times)} times, got {memory!r}"
            )
        length = min(self.cells, int(memory - for_all) // each)
        starts = range(0, self.cells, length)
        return [slice(i, min(i + length, self.cells)) for i in starts]

    # -- the work so far ---------------------------------------------------------------------------

    def empty(self) -> dict:
        """Return work that is all to be done."""
        like = {"dtype": self.dtype, "device": self.device}
        whole = {"dtype": torch.int64, "device": self.device}
        return {
            "plan": self.signature(),
            "chunk": 0,
            "part": None,
            "done": torch.zeros(self.cells, **whole),
            "x": self.x0.expand(self.cells, self.seeds, self.d).clone(),
            "quantiles": torch.full((len(self.times), self.cells, 5), math.nan, **like),
            "drift": torch.full((self.cells,), math.nan, **like),
            "growth": torch.full((self.cells,), math.nan, **like),
            "before": torch.zeros(self.cells, self.seeds, **whole),
        }

    def signature(self) -> dict:
        """Return what must be the same in a run that goes on."""
        return {
            "optimizer": self.optimizer.__name__,
            "shape": list(self.shape),
            "steps": self.steps,
            "seed": self.seed,
            "times": self.times,
            "dtype": str(self.dtype),
            "level": self.level,
            "chunks": len(self.chunks),
            "options": {
                k: torch.as_tensor(v, dtype=torch.float64).cpu()
                for k, v in vars(self.h).items()
                if k in self.optimizer.numbers
            },
        }

    def loaded(self, state: dict) -> dict:
        """Return a copy of saved work, after a check that it is this plan's."""
        mine, saved = self.signature(), state["plan"]
        for name, value in mine.items():
            same = value == saved[name] if name != "options" else _equal(value, saved[name])
            if not same:
                raise ValueError(
                    f"state is from a run with {name} = {saved[name]!r}, not {value!r}"
                )
        return pytree.tree_map_only(Tensor, lambda z: z.clone(), state)

    def advance(self, work: dict, budget: int, interrupted: list, shown) -> int:
        """Step one chunk until it is done, the budget is spent or somebody interrupts."""
        cells, part = self.chunks[work["chunk"]], work["part"]
        stack, generator = self.part(cells, False), torch.Generator(self.device)
        oracle = bind(self.grad, generator.manual_seed(self.seed))
        x = self.start(cells)
        s = stack.init(x)
        t, early, away, before = 0, None, None, work["before"][cells]
        sign = torch.where(x[..., 0] <= self.level, 1.0, -1.0).to(x) if self._passes else None
        if part is None:
            early, away = self._record(work, cells, 0, x, early, away)
        else:
            t, early, away = part["t"], part["early"], part["away"]
            x.copy_(part["x"])
            s = pytree.tree_unflatten(part["s"], pytree.tree_structure(s))
            generator.set_state(part["generator"].cpu())
            _restore(self.grad, part["oracle"])
        step = stack.step
        if self.kernel:
            try:
                wide = self.part(cells, True)
                shape = self.shape[:-2] if len(self.chunks) == 1 else x.shape[:1]
                kernel = GridKernel(self.optimizer, wide.h, x, s, shape, self.lr is None)
                stack, step = wide, kernel
            except Untranslatable:
                pass
        waiting = before == t  # for x to reach the level
        begun, end = t, min(self.steps, t + budget)
        marks = {*self.times, self.steps // 4, self.steps}
        try:
            while t < end and not interrupted:
                if self.lr:
                    lr = self.lr(t + 1)
                    if t == begun or not isinstance(lr, Tensor):  # of a tensor it takes long
                        stack.set_lr(lr)
                    stack.h.lr = lr
                g = oracle(x)
                if g.shape != x.shape:
                    raise ValueError(
                        f"grad must return the shape of x, {tuple(x.shape)}, got {tuple(g.shape)}"
                    )
                x, s = step(x, g, s, t + 1.0)
                if self.project is not None:
                    x = self._projected(x)
                t += 1
                if sign is not None:
                    waiting &= (sign * x[..., 0] >= sign * self.level).logical_not_()
                    before += waiting
                if t in marks:
                    early, away = self._record(work, cells, t, x, early, away)
                shown.update()
        finally:
            work["x"][cells], work["before"][cells], work["done"][cells] = x, before, t
            work["part"] = {
                "t": t,
                "x": x,
                "s": [z if z is None else z.clone() for z in pytree.tree_leaves(s)],
                "early": early,
                "away": away,
                "generator": generator.get_state(),
                "oracle": _snapshot(self.grad),
            }
        if t == self.steps:
            work["chunk"], work["part"] = work["chunk"] + 1, None
        return t - begun

    @property
    def _passes(self) -> bool:
        return self.level is not None

    def _projected(self, x):
        if callable(self.project):
            return self.project(x)
        low, high = self.project
        return x.clamp_(low, high)

    def _record(self, work, cells, t, x, early, away):
        """Take what is due at step t; return what was observed at T/4, and the distance then."""
        y = self._observed(x)
        if t in self.row:
            work["quantiles"][self.row[t], cells] = quantiles(y)
        distance = None if self.minimiser is None else (x - self.minimiser).norm(dim=-1)
        if t == self.steps // 4:
            early, away = y.clone(), distance
        if t == self.steps > 0:
            span = self.steps - self.steps // 4
            work["drift"][cells] = quantiles(y - early, (0.5,))[:, 0] / span
            if distance is not None:
                work["growth"][cells] = quantiles(distance - away, (0.5,))[:, 0]
        return early, away

    def _observed(self, x):
        if self.observe is not None:
            y = self.observe(x)
            if y.shape != x.shape[:-1]:
                raise ValueError(
                    f"observe must return {tuple(x.shape[:-1])} for x of shape {tuple(x.shape)}, "
                    f"got {tuple(y.shape)}"
                )
            return y
        if self.d == 1:
            return x[..., 0]
        return (x if self.minimiser is None else x - self.minimiser).norm(dim=-1)

    def result(self, work: dict, interrupted: bool, torn: bool) -> Result:
        cells = self.shape[:-2]
        done, before = work["done"], work["before"]
        first = torch.where(before < done[:, None], before + 1, -1)
        growth = (done == self.steps) & ~(work["growth"] <= 0)  # NaN: it left the numbers
        return Result(
            times=self.times,
            quantiles=work["quantiles"].view(-1, *cells, 5),
            x=work["x"].view(self.shape),
            drift=work["drift"].view(cells),
            growth=None if self.minimiser is None else growth.view(cells),
            first_passage=first.view(*cells, self.seeds) if self._passes else None,
            steps=done.view(cells),
            interrupted=interrupted,
            state=None if torn else work,
        )


def _times(times, steps: int) -> list:
    """Return the steps at which to take quantiles, ascending."""
    if times is None:
        spaced = torch.logspace(0, math.log10(max(steps, 1)), 64, dtype=torch.float64)
        return sorted({min(round(t), steps) for t in spaced.tolist()})
    given = sorted({int(t) for t in times})
    if not all(0 <= t <= steps and t == int(t) for t in times):
        raise ValueError(f"times must be whole numbers from 0 to steps = {steps}, got {times!r}")
    return given


def _equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def _snapshot(oracle) -> dict:
    """Return where an oracle stands in its data: its own word for it, or its plain attributes."""
    if hasattr(oracle, "state_dict"):
        return oracle.state_dict()
    plain = (bool, int, float, str, Tensor, type(None))
    found = {k: v for k, v in getattr(oracle, "__dict__", {}).items() if isinstance(v, plain)}
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in found.items()}


def _restore(oracle, saved: dict) -> None:
    """Put an oracle back to where it stood."""
    if hasattr(oracle, "load_state_dict"):
        oracle.load_state_dict(saved)
        return
    for name, value in saved.items():
        setattr(oracle, name, value)


@contextmanager
def _interrupts():
    """Yield a list that an interrupt from the keyboard fills; a second one raises at once.

    A step is never torn: whoever steps looks at the list in between.
    """
    seen = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number, frame):
        seen.append(True)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
