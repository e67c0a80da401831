"""One training run of a recipe, at any scale: what is trained, and the loop over its steps.

`companion.train.fit` trains on pairs (x, y). Here the loss is any function of model and batch, a
step may take several batches, and the same task runs in one process or in many.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from companion.progress import bar


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
    model = task.model.to(device)
    optimizer = task.optimizer(model)
    scheduler = LambdaLR(optimizer, task.schedule) if task.schedule else None
    autocast = contextlib.nullcontext()
    if task.precision != "float32":
        autocast = torch.autocast(torch.device(device).type, dtype=getattr(torch, task.precision))
    rows, total = [], 0.0
    model.train()
    with bar(task.steps, unit="step", show=progress) as moved:
        for step in range(1, task.steps + 1):
            loss = advance(task, model, optimizer, scheduler, autocast, device)
            moved.update()
            total += loss
            if not math.isfinite(loss):
                rows.append({"step": step, "loss": math.inf})
                break
            if step % task.every == 0 or step == task.steps:
                since = step - (rows[-1]["step"] if rows else 0)
                rows.append({"step": step, "loss": total / since, **evaluated(task, model)})
                total = 0.0
    return pd.DataFrame(rows)


def advance(task: Task, model, optimizer, scheduler, autocast, device) -> float:
    """Take one step; return its mean loss. A loss that is not finite takes none."""
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for _ in range(task.accumulate):
        batch = next(task.batches)
        single = isinstance(batch, Tensor)
        batch = batch.to(device) if single else tuple(z.to(device) for z in batch)
        with autocast:
            loss = task.loss(model, batch) / task.accumulate
        total += loss.item()
        if not math.isfinite(total):
            return total
        loss.backward()
    if task.clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), task.clip_norm)
    optimizer.step()
    if scheduler is not None:
        scheduler.step()
    return total


def evaluated(task: Task, model) -> dict:
    """Return what ``evaluate`` measures, and leave the model training."""
    if task.evaluate is None:
        return {}
    model.eval()
    with torch.no_grad():
        row = task.evaluate(model)
    model.train()
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
