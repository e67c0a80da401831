"""The smallest recipe: a network on digits, to try the launcher with; all of its numbers are ours.

At full scale the network has half a billion parameters, in bfloat16, for memory and speed of GPUs;
what it learns there is of no interest.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn

from companion import optim
from companion.data import Batches, digits
from companion.models import MLP
from companion.recipes import base, loop, tuning
from companion.train import cross_entropy


@dataclass(frozen=True)
class Settings:
    """All that a run depends on.

    Attributes
    ----------
    hidden, layers : int
        Units of each hidden layer; hidden layers.
    batch, accumulate, steps, warmup : int
        Images a batch; batches a step; steps, of which some warm up.
    lrs : tuple of float
        The step size, one for all.
    clip_norm : float
        Largest norm of the gradient.
    precision : {"float32", "bfloat16"}
    sharded : bool
        Whether processes divide the parameters, layer by layer, or copy them.
    optimizers : tuple of str
        Names in `companion.optim`.
    seeds : tuple of int
    every : int
        Steps a report.
    """

    hidden: int = 64
    layers: int = 2
    batch: int = 64
    accumulate: int = 1
    steps: int = 60
    warmup: int = 10
    lrs: tuple = (0.003,)
    clip_norm: float = 1.0
    precision: str = "float32"
    sharded: bool = False
    optimizers: tuple = ("Adam", "ADOPT")
    seeds: tuple = (0, 1, 2)
    every: int = 20


QUICK = Settings()
SMOKE = replace(QUICK, hidden=16, steps=6, warmup=2, seeds=(0, 1), every=2)
FULL = replace(
    QUICK, hidden=8192, layers=8, batch=1024, precision="bfloat16", sharded=True, lrs=(1e-4,)
)
SCALES = {"digits": {"smoke": SMOKE, "quick": QUICK, "stored": QUICK, "full": FULL}}


class Experiment(base.Experiment):
    """One step size, so that nothing is chosen."""

    def plan(self, table) -> list:
        """Return the cells to run."""
        s = self._settings
        return tuning.plan(table, s.optimizers, s.lrs, (), s.seeds)

    def task(self, cell: dict) -> loop.Task:
        """Return what a cell trains."""
        s, optimizer = self._settings, getattr(optim, cell["optimizer"])
        data, test = (digits(part, flatten=True, normalize=True) for part in ("train", "test"))
        torch.manual_seed(cell["seed"])
        return loop.Task(
            MLP([64, *[s.hidden] * s.layers, 10]),
            lambda model: optimizer(model.parameters(), lr=cell["lr"]),
            lambda model, batch: cross_entropy(model(batch[0]), batch[1]),
            Batches(data, s.batch, seed=cell["seed"]),
            steps=s.steps,
            every=s.every,
            schedule=loop.warmup_cosine(s.steps, s.warmup),
            evaluate=lambda model: {"accuracy": right(model, test)},
            accumulate=s.accumulate,
            clip_norm=s.clip_norm,
            precision=s.precision,
            shard=(nn.Linear,) if s.sharded else (),
        )


def right(model, data) -> float:
    """Return the share of images that a model names rightly."""
    device = next(model.parameters()).device
    return (model(data.x.to(device)).argmax(-1).cpu() == data.y).double().mean().item()
