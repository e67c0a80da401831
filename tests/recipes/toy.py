"""A recipe of a minute model for tests of the launcher: toy.py NAME …, as python -m … does."""

import sys
import types
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from companion import optim, recipes
from companion.data import Batches
from companion.recipes import launch, loop


class Block(nn.Module):
    """A part to shard by; 7 rows, which two processes cannot halve."""

    def __init__(self, dropout):
        super().__init__()
        self.inner, self.dropout = nn.Linear(5, 7), nn.Dropout(dropout)
        self.outer = nn.Linear(7, 5)

    def forward(self, x):
        return x + self.outer(self.dropout(self.inner(x).tanh()))


class Model(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.blocks = nn.Sequential(Block(dropout), Block(dropout))
        self.head = nn.Linear(5, 1)

    def squared(self, batch):  # a method, past forward
        x, y = batch
        return (self.head(self.blocks(x)) - y).square().mean()


@dataclass(frozen=True)
class Settings:
    steps: int = 12
    batch: int = 10
    dropout: float = 0.0
    shard: bool = False
    lrs: tuple = (0.01, 0.02)
    seeds: tuple = (0, 1)


SCALES = {"toy": {
    "smoke": Settings(dropout=0.3), "quick": Settings(), "stored": Settings(shard=True),
    "full": Settings(steps=100_000),
}}  # fmt: skip
SCALES["plain"] = {"quick": replace(Settings(), steps=3)}


class Experiment:
    def __init__(self, name, settings):
        self.name, self._settings, self.settings = name, settings, asdict(settings)

    def plan(self, table):
        s = self._settings
        return [
            {"phase": "report", "optimizer": "Adam", "lr": s.lrs[0], "seed": seed}
            for seed in s.seeds
        ]

    def task(self, cell):
        s = self._settings
        torch.manual_seed(cell["seed"])
        x = torch.randn(35, 5)  # batches of 10, 10, 10 and 5
        cls = getattr(optim, cell["optimizer"])
        return loop.Task(
            Model(s.dropout),
            lambda model: cls(model.named_parameters(), lr=cell["lr"], **cell.get("options", {})),
            Model.squared,
            Batches((x, x[:, :1].sin()), s.batch, seed=cell["seed"]),
            steps=s.steps,
            every=5,
            schedule=loop.warmup_cosine(s.steps, 3),
            evaluate=lambda model: {"test": model.squared((x, x[:, :1].sin()))},
            accumulate=2,
            clip_norm=0.5,
            shard=(Block,) if s.shard else (),
        )

    def train(self, cell):
        return loop.train(self.task(cell))


class Own:
    """A recipe with a loop of its own."""

    def __init__(self, name, settings):
        self.inner = Experiment(name, settings)
        self.settings, self.plan, self.train = asdict(settings), self.inner.plan, self.inner.train


def experiment(name, settings):
    return (Own if name == "plain" else Experiment)(name, settings)


def install():
    """Make the recipes known."""
    module = types.ModuleType("companion.recipes.toy")
    module.SCALES, module.Experiment = SCALES, experiment
    sys.modules[module.__name__] = module
    recipes.MODULES |= {"toy": "toy", "plain": "toy"}


if __name__ == "__main__":
    install()
    torch.set_num_threads(1)
    sys.exit(launch.main())
