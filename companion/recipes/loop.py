"""One training run of a recipe, at any scale: what is trained, and the loop over its steps.

`companion.train.fit` trains on pairs (x, y). Here the loss is any function of model and batch, a
step may take several batches, and the same task runs in one process or in many.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from companion.progress import bar
from companion.recipes.processes import Alone


@dataclass
class Task:
    """All that a training run needs.

    Attributes
    ----------
    model : Module
        Already initialised, on the CPU.
    optimizer : callable
        model → its optimizer.
    loss : callable
        (model, batch) → scalar tensor, a mean over the batch.
    batches : iterator
        Of tensors or tuples of tensors, such as `companion.data.Batches`; with ``state_dict``, so
        that a run can go on.
    steps, every : int
        Steps of the optimizer; steps a report.
    schedule : callable, optional
        t = 0, 1, … → factor on the step size of that step.
    evaluate : callable, optional
        model → dictionary of numbers; called in evaluation mode, without gradients.
    evaluate_every : int, default 1
        Reports an evaluation; the last always has one. Other rows hold NaN in its place.
    accumulate : int, default 1
        Batches a step; the gradient is that of their mean loss.
    clip_norm : float, optional
        Largest norm of the gradient.
    precision : {"float32", "bfloat16"}
        Of the model's arithmetic; parameters and state of the optimizer stay float32.
    shard : tuple of Module classes
        Parts that `torch.distributed.fsdp.fully_shard` shards one by one, where processes share the
        parameters. Empty: each process has all of them.
    """

    model: nn.Module
    optimizer: Callable[[nn.Module], Optimizer]
    loss: Callable[[nn.Module, object], Tensor]
    batches: Iterator
    steps: int
    every: int
    schedule: Callable[[int], float] | None = None
    evaluate: Callable[[nn.Module], dict] | None = None
    evaluate_every: int = 1
    accumulate: int = 1
    clip_norm: float | None = None
    precision: str = "float32"
    shard: tuple = ()


def train(task: Task, *, device="cpu", progress: bool = False) -> pd.DataFrame:
    """Train in this process; return one row a report: step, mean loss since the last, evaluation.

    A run whose loss is not finite ends there, with a last row of infinite loss.

    Examples
    --------
    >>> from companion.data import Batches
    >>> from companion.optim import ADOPT
    >>> torch.manual_seed(0)
    <torch._C.Generator object at ...>
    >>> x = torch.randn(256, 3)
    >>> task = Task(nn.Linear(3, 1), lambda model: ADOPT(model.parameters(), lr=0.03),
    ...             lambda model, x: (model(x)[:, 0] - x.sum(1)).square().mean(),
    ...             Batches(x, 32), steps=200, every=100)
    >>> train(task).loss.round(3).tolist()[-1]
    0.0
    """
    run = Run(task, device)
    with bar(task.steps, unit="step", show=progress) as moved:
        while not run.finished:
            run.advance()
            moved.update()
    return run.history()


class Run:
    """A task between two steps, in this process or in one of many.

    Parameters
    ----------
    task : Task
    device : device
    processes : Alone, optional
        Those that train together; see `companion.recipes.processes`.

    Attributes
    ----------
    step : int
        Steps taken.
    rows : list of dict
        Reports so far.
    total : float
        Sum of the losses since the last.
    seconds : float
        Whatever the caller counts; kept with the rest.
    """

    def __init__(self, task: Task, device="cpu", processes: Alone | None = None):
        self.task, self.device = task, torch.device(device)
        self.processes = Alone() if processes is None else processes
        self.forward = self.processes.spread(task, self.device)
        self.optimizer = task.optimizer(task.model)
        self.scheduler = LambdaLR(self.optimizer, task.schedule) if task.schedule else None
        self.autocast = contextlib.nullcontext()
        if task.precision != "float32":
            dtype = getattr(torch, task.precision)
            self.autocast = torch.autocast(self.device.type, dtype=dtype)
        self.step, self.rows, self.total, self.seconds = 0, [], 0.0, 0.0
        task.model.train()

    @property
    def finished(self) -> bool:
        """Whether all steps are taken, or the loss was not finite."""
        return self.step >= self.task.steps or (bool(self.rows) and self.rows[-1]["loss"] == inf)

    def history(self) -> pd.DataFrame:
        """Return the rows so far."""
        return pd.DataFrame(self.rows)

    def advance(self) -> None:
        """Take one step, and report where one is due."""
        loss = self._loss()
        self.step += 1
        self.total += loss
        if not math.isfinite(loss):
            self.rows.append({"step": self.step, "loss": inf})
            return
        self._update()
        if self.step % self.task.every == 0 or self.step == self.task.steps:
            since = self.step - (self.rows[-1]["step"] if self.rows else 0)
            row = {"step": self.step, "loss": self.total / since}
            self.rows.append(row | self._evaluated())
            self.total = 0.0

    def _loss(self) -> float:
        """Make the gradient; return the mean loss. One that is not finite ends it at once."""
        self.optimizer.zero_grad(set_to_none=True)
        total, accumulate = 0.0, self.task.accumulate
        for i in range(accumulate):
            batch, weight = self.processes.part(next(self.task.batches))
            single = isinstance(batch, Tensor)
            batch = batch.to(self.device) if single else tuple(z.to(self.device) for z in batch)
            with self.processes.gathering(self.forward, last=i == accumulate - 1):
                with self.autocast:
                    loss = self.forward(self.task.loss, batch) * (weight / accumulate)
                total += self.processes.mean(loss.item())
                if not math.isfinite(total):
                    return total
                loss.backward()
        return total

    def _update(self) -> None:
        if self.task.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.task.model.parameters(), self.task.clip_norm)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()

    def _evaluated(self) -> dict:
        """Return what ``evaluate`` measures where it is due, and leave the model training."""
        task = self.task
        due = self.step == task.steps or self.step % (task.every * task.evaluate_every) == 0
        if task.evaluate is None or not due:
            return {}
        self.task.model.eval()
        with torch.no_grad(), self.autocast:
            row = self.forward(self.task.evaluate)
        self.processes.settle(self.forward)
        self.task.model.train()
        return {name: float(value) for name, value in row.items()}


def warmup_cosine(steps: int, warmup: int = 0, floor: float = 0.0) -> Callable[[int], float]:
    r"""Return the factor :math:`t \mapsto` linear rise over ``warmup`` steps, then half a cosine.

    Parameters
    ----------
    steps : int
        In all; the factor of the step after the last is ``floor``.
    warmup : int
        Steps until 1: the first has factor 1/warmup.
    floor : float
        Least factor.

    Examples
    --------
    >>> factor = warmup_cosine(10, warmup=2, floor=0.1)
    >>> [round(factor(t), 3) for t in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.55, 0.1]
    """

    def factor(t: int) -> float:
        if t < warmup:
            return (t + 1) / warmup
        done = min((t - warmup) / max(steps - warmup, 1), 1.0)
        return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2

    return factor
