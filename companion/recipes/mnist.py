r"""MNIST: a network with one hidden layer, five rules, step size α/√t.

The ADOPT paper (Section 5) compares ADOPT, Adam, AMSGrad and AdaShift over three trials. Width,
batch, steps, weight decay and the grid of α are ours: `Settings`.
"""

from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch.optim.lr_scheduler import LambdaLR

from companion.data import Dataset, digits, fashion_mnist, mnist
from companion.models import MLP
from companion.optim import ADOPT, Adam, AdamW, AdaShift, AMSGrad
from companion.recipes import base, tuning
from companion.train import fit

OPTIMIZERS = {
    "Adam": Adam,
    "AdamW": AdamW,
    "AMSGrad": AMSGrad,
    "AdaShift": AdaShift,
    "ADOPT": ADOPT,
}


@dataclass(frozen=True)
class Settings:
    """All that a run depends on.

    Attributes
    ----------
    data : {"digits", "mnist", "fashion_mnist"}
        Images.
    hidden, steps, batch : int
        Units of the hidden layer; steps in all; images a step.
    lrs : tuple of float
        The grid of α; one is chosen a rule by the accuracy on images held back from training.
    tuning, seeds : tuple of int
        Seeds of the choice and of the report, apart.
    held : int
        Training images that are held back for the choice.
    weight_decay : float
        Of all rules; AdamW's is decoupled.
    every : int
        Steps a report.
    """

    data: str = "mnist"
    hidden: int = 784
    steps: int = 10_000
    batch: int = 128
    lrs: tuple = (1.0, 0.1, 0.01, 0.001)
    tuning: tuple = (1000,)
    seeds: tuple = (0, 1, 2)
    held: int = 10_000
    weight_decay: float = 1e-4
    every: int = 500


QUICK = Settings("digits", 64, 240, 64, seeds=(0, 1, 2, 3, 4), held=300, every=20)
SMOKE = replace(QUICK, steps=4, lrs=(0.1, 0.01), every=2, seeds=(0, 1))
SCALES = {"mnist": {"smoke": SMOKE, "quick": QUICK, "stored": Settings(), "full": Settings()}}


class Experiment(base.Experiment):
    """Cells of the grid first, of the report afterwards."""

    def plan(self, table: pd.DataFrame) -> list:
        """Return the cells to run, given the results so far."""
        s = self._settings
        return tuning.plan(table, OPTIMIZERS, s.lrs, s.tuning, s.seeds, chosen)

    def train(self, cell: dict) -> pd.DataFrame:
        """Train one network; a run that diverges has one row, of infinite loss."""
        s = self._settings
        data, test = images(s.data)
        if cell["phase"] == "tune":
            data, test = (
                Dataset(data.x[: -s.held], data.y[: -s.held]),
                Dataset(data.x[-s.held :], data.y[-s.held :]),
            )
        torch.manual_seed(cell["seed"])
        model = MLP([data.x.shape[1], s.hidden, 10])
        optimizer = OPTIMIZERS[cell["optimizer"]]
        try:
            history = fit(
                model,
                data,
                lambda p: optimizer(p, lr=cell["lr"], weight_decay=s.weight_decay, fused=True),
                scheduler=lambda o: LambdaLR(o, lambda t: (t + 1) ** -0.5),
                steps=s.steps,
                batch_size=s.batch,
                test=test,
                seed=cell["seed"],
                every=s.every,
                device="cpu",
                progress=False,
            )
        except FloatingPointError:
            row = {"step": s.steps, "loss": float("inf"), "accuracy": 0.0}
            return pd.DataFrame([row | {"test_loss": float("inf"), "test_accuracy": 0.0}])
        return history[["step", "loss", "accuracy", "test_loss", "test_accuracy"]]


def images(name: str):
    """Return training and test images of a data set, flat and normalised."""
    source = {"digits": digits, "mnist": mnist, "fashion_mnist": fashion_mnist}[name]
    return source("train", flatten=True, normalize=True), source(
        "test", flatten=True, normalize=True
    )


def chosen(table: pd.DataFrame) -> dict:
    """Return each rule's step size: of the fewest errors at the end, on images held back."""
    return tuning.lowest(table.assign(errors=1 - table.test_accuracy), "errors")
