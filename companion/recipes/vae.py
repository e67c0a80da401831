r"""A hierarchical variational autoencoder on binarised digits: Adamax, Adam and ADOPT.

The ADOPT paper trains NVAE on MNIST by Adamax, the rule of NVAE's authors, and by ADOPT. A second
experiment, ``vae-clip``, trains by ADOPT with and without the clip that its authors' code added.
"""

from dataclasses import dataclass, field, replace

import pandas as pd
import torch
from torch import Tensor

from companion.data import Batches, digits, mnist
from companion.models import VAE, VAEConfig
from companion.optim import ADOPT, Adam, Adamax
from companion.recipes import base, loop, tuning

# Name in the tables → (class, options besides the step size). Adamax's ε is NVAE's train.py's; the
# others have the defaults of their papers' code.
RULES = {
    "Adamax": (Adamax, {"eps": 1e-3}),
    "Adam": (Adam, {}),
    "ADOPT": (ADOPT, {}),
    "ADOPT, no clip": (ADOPT, {"clip_lambda": None}),
}


@dataclass(frozen=True)
class Settings:
    """All that a run depends on. "NVAE" is Vahdat and Kautz's code: README.md and train.py.

    Attributes
    ----------
    data : {"digits", "mnist"}
        Images; each batch is binarised anew, as in NVAE.
    width, latent, groups, stem, patch, cells
        Of the model, see `companion.models.VAEConfig`. NVAE on MNIST: 32 channels, 20 latent
        channels a group, 10 and 5 groups at two resolutions, two halvings before them, 2 cells.
    batch, steps : int
        Images a step; steps. NVAE: 200 on each of 2 GPUs, 400 epochs.
    warmup, floor : float
        Share of the steps in which the step size rises; its last factor. NVAE: 5 of 400 epochs,
        1e-4 / 1e-2, half a cosine between.
    anneal : float
        Share of the steps in which the weight of KL rises from 0 to 1. NVAE: .3, with weights of
        its own for each group meanwhile.
    weight_decay : float
        λ, added to the gradient. NVAE: 3e-4.
    precision : {"float32", "bfloat16"}
        Of the arithmetic. NVAE: float16 where that is safe.
    lrs : dict
        Grid of step sizes a rule. NVAE: Adamax at 1e-2. The others are ours.
    tuning, seeds : tuple of int
        Seeds of the choice and of the report, apart.
    held, tested : int
        Training images held back for the choice; images that a report is measured on. Ours.
    every : int
        Steps a report.
    """

    data: str
    width: int
    latent: int
    groups: tuple
    patch: int
    batch: int
    steps: int
    every: int
    lrs: dict = field(hash=False)
    stem: int = 0
    cells: int = 1
    warmup: float = 5 / 400
    floor: float = 1e-2
    anneal: float = 0.3
    weight_decay: float = 3e-4
    precision: str = "float32"
    tuning: tuple = (1000,)
    seeds: tuple = (0, 1, 2)
    held: int = 5000
    tested: int = 2000


GRID = {"Adamax": (1e-2, 3e-2, 1e-1), "Adam": (3e-3, 1e-2, 3e-2), "ADOPT": (3e-3, 1e-2, 3e-2)}
CLIP = {"ADOPT": (3e-3,), "ADOPT, no clip": (3e-3,)}
FIXED = {"lrs": CLIP, "tuning": ()}
STORED = Settings(
    "mnist",
    width=16,
    latent=8,
    groups=(1, 1),
    patch=4,
    batch=64,
    steps=400,
    every=40,
    lrs=GRID,
    tested=1000,
)
QUICK = Settings(
    "digits", width=8, latent=4, groups=(1, 1), patch=2, batch=32, steps=60, every=10, lrs=GRID,
    held=300, tested=360,
)  # fmt: skip
FULL = Settings(
    "mnist", width=32, latent=20, groups=(5, 10), patch=1, stem=2, cells=2, batch=400,
    steps=60_000, every=150, lrs=GRID | {"Adamax": (1e-2,)}, precision="bfloat16",
    tested=10_000,
)  # fmt: skip
SMOKE = replace(QUICK, steps=3, every=1, lrs={name: lrs[:2] for name, lrs in GRID.items()})
SCALES = {
    "vae": {"smoke": SMOKE, "quick": QUICK, "stored": STORED, "full": FULL},
    "vae-clip": {
        "smoke": replace(SMOKE, **FIXED),
        "quick": replace(QUICK, steps=30, every=1, **FIXED),
        "stored": replace(STORED, steps=100, every=1, **FIXED, seeds=(0, 1, 2, 3, 4), tested=200),
        "full": replace(FULL, every=10, **FIXED),
    },
}


class Experiment(base.Experiment):
    """Cells of the grid first, of the report afterwards; ``vae-clip`` has one step size."""

    def plan(self, table: pd.DataFrame) -> list:
        """Return the cells to run, given the results so far."""
        s = self._settings
        return tuning.plan(table, s.lrs, s.lrs, s.tuning, s.seeds, chosen)

    def model(self) -> VAE:
        """Return an untrained model."""
        s = self._settings
        size = {"digits": 8, "mnist": 28}[s.data]
        return VAE(VAEConfig(size, s.width, s.latent, s.groups, s.stem, s.patch, s.cells))

    def task(self, cell: dict) -> loop.Task:
        """Return what is trained: −ELBO with the annealed weight on KL."""
        s = self._settings
        source = {"digits": digits, "mnist": mnist}[s.data]
        train = source("train").x
        if cell["phase"] == "tune":
            train, test = train[: -s.held], train[-s.held :]
        else:
            test = source("test").x
        torch.manual_seed(cell["seed"])
        cls, options = RULES[cell["optimizer"]]
        return loop.Task(
            model=self.model(),
            optimizer=lambda model: cls(
                model.parameters(),
                lr=cell["lr"],
                weight_decay=s.weight_decay,
                fused=True,
                **options,
            ),
            loss=annealed_loss,
            batches=Annealed(Batches(train, s.batch, seed=cell["seed"]), s.anneal * s.steps),
            steps=s.steps,
            every=s.every,
            schedule=loop.warmup_cosine(s.steps, round(s.warmup * s.steps), s.floor),
            evaluate=Evaluation(test[: s.tested]),
            precision=s.precision,
        )


def chosen(table: pd.DataFrame) -> dict:
    """Return each rule's step size: of the least −ELBO at the end, on images held back."""
    return tuning.lowest(table, "nelbo")


class Annealed:
    """Batches of images, each with the weight that KL has in its step.

    Parameters
    ----------
    batches : Batches
        Of images (n, c, h, w).
    rise : float
        Steps until the weight has risen from 0 to 1, linearly.

    Examples
    --------
    >>> batches = Annealed(Batches(torch.zeros(6, 1, 2, 2), 2), rise=2)
    >>> [next(batches)[1].tolist() for _ in range(4)]
    [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0], [1.0, 1.0]]
    """

    def __init__(self, batches: Batches, rise: float):
        self.batches, self.rise, self.taken = batches, rise, 0

    def __iter__(self):
        return self

    def __next__(self):
        x = next(self.batches)
        weight = min(1.0, self.taken / self.rise)
        self.taken += 1
        return x, torch.full((len(x),), weight, device=x.device)

    def state_dict(self) -> dict:
        """State from which `load_state_dict` goes on."""
        return {"batches": self.batches.state_dict(), "taken": self.taken}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was called."""
        self.batches.load_state_dict(state["batches"])
        self.taken = state["taken"]


def annealed_loss(model: VAE, batch) -> Tensor:
    """Return the mean of reconstruction + weight · KL, on images binarised at random."""
    x, weight = batch
    parts = model(torch.bernoulli(x))
    return (parts.reconstruction + weight * parts.kl.sum(1)).mean()


class Evaluation:
    """−ELBO on images that are binarised once, always with the same noise.

    Parameters
    ----------
    images : Tensor
        (n, c, h, w) in [0, 1].
    """

    def __init__(self, images: Tensor):
        self.images = torch.bernoulli(images, generator=torch.Generator().manual_seed(0))

    def __call__(self, model: VAE) -> dict:
        """Return the means of −ELBO, of its two parts, in nats an image."""
        device = next(model.parameters()).device
        total = torch.zeros(2, dtype=torch.float64)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            for x in self.images.split(500):
                parts = model(x.to(device))
                sums = parts.reconstruction.sum(), parts.kl.sum()
                total += torch.stack(sums).double().cpu()
        reconstruction, kl = (total / len(self.images)).tolist()
        return {"nelbo": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}
