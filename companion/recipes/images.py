"""Images: a ResNet-18 with and without linear warm-up, and a Swin transformer.

The ADOPT paper (Section 5) trains a ResNet-18 on CIFAR-10 and a Swin transformer on ImageNet. What
the settings of its two networks are is said at `SCALES`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.models import Swin, SwinConfig, resnet18
from companion.models.swin import Block
from companion.optim import ADOPT, Adam, AdamW
from companion.recipes import base, loop, tuning
from companion.recipes.image_data import Images, batches, measured, parts
from companion.train import decay_groups


@dataclass(frozen=True)
class Variant:
    """A rule with its options and the course of its step size.

    Attributes
    ----------
    rule : type
        An optimizer of `companion.optim`.
    options : dict
        Beside step size and weight decay.
    schedule : {"cosine", "warm-up", "constant", "root"}
        Half a cosine; that after a linear rise; neither; or 1/√(1 + t/100).
    base : str
        Name of the variant whose step size it takes, where it does not choose its own.
    """

    rule: Callable
    options: dict = field(default_factory=dict)
    schedule: str = "warm-up"
    base: str = ""


@dataclass(frozen=True)
class Settings:
    """All that a run depends on.

    Attributes
    ----------
    data : {"digits", "cifar10", "imagenet"}
        Images; the last from a folder of the reader's own, see `companion.data.ImageFolder`.
    pool : int
        Pixels a side that are averaged into one.
    network : {"resnet", "swin", "small"}
    sizes : dict
        Of the network: arguments of `resnet18`, `SwinConfig` or `small`.
    steps, batch : int
        Steps in all; images a step.
    accumulate : int
        Parts that a step's images are taken in.
    warmup : int
        Steps of the linear rise of the schedule "warm-up".
    floor : float
        Step size at the end of the cosine, as a part of the highest.
    lrs : tuple of float
        The grid of step sizes; one is chosen a variant by the loss on images held back.
    tuning, seeds : tuple of int
        Seeds of the choice and of the report, apart.
    held : int
        Training images that are held back for the choice.
    tested : int
        Images that a report is measured on, the first of its part.
    weight_decay : float
        Of all that is no bias, normalisation or relative position.
    pad : int
        Largest move of the random crops, in pixels; 0 for none.
    mirror : bool
        Whether half of the images are mirrored.
    smoothing : float
        Of labels.
    clip_norm : float, optional
        Largest norm of the gradient.
    precision : {"float32", "bfloat16"}
        Of the network's arithmetic.
    every : int
        Steps a report.
    """

    data: str
    network: str
    sizes: dict
    steps: int
    batch: int
    warmup: int
    lrs: tuple
    tuning: tuple
    seeds: tuple
    held: int
    tested: int
    every: int
    pool: int = 1
    accumulate: int = 1
    floor: float = 0.0
    weight_decay: float = 0.0
    pad: int = 0
    mirror: bool = False
    smoothing: float = 0.0
    clip_norm: float | None = None
    precision: str = "float32"


VARIANTS = {
    "resnet": {
        "Adam": Variant(Adam, schedule="cosine"),
        "Adam, warm-up": Variant(Adam),
        "ADOPT": Variant(ADOPT, schedule="cosine"),
        "ADOPT, warm-up": Variant(ADOPT),
    },
    "swin": {"AdamW": Variant(AdamW), "ADOPT": Variant(ADOPT, {"decoupled": True})},
}
THREE = {"tuning": (1000,), "seeds": (0, 1, 2)}
# Ours, but for the network and the data, which are the paper's. Images of 16×16 pixels cost a
# quarter of CIFAR-10's 32×32.
RESNET = Settings(
    "cifar10", "resnet", {"width": 8}, steps=600, batch=32, warmup=60, lrs=(1e-3, 3e-3, 1e-2, 3e-2),
    held=10_000, tested=5_000, every=200, pool=2, pad=2, mirror=True, **THREE,
)  # fmt: skip
DIGITS = {"data": "digits", "held": 300, "tested": 360, "pool": 1, "pad": 1, "mirror": False}
DIGITS |= {"steps": 44, "every": 22, "warmup": 10, "batch": 16}
RESNET_QUICK = replace(RESNET, **DIGITS, sizes={"width": 8, "channels": 1}, lrs=(1e-2, 3e-2))
RESNET_FULL = replace(  # ours: 200 epochs of 390 batches
    RESNET, sizes={"width": 64}, steps=78_000, batch=128, warmup=1_950,
    lrs=(1e-4, 1e-3, 1e-2, 1e-1), tested=10_000, every=390, pool=1, pad=4, weight_decay=5e-4,
)  # fmt: skip
TINY = {"image": 16, "classes": 10, "patch": 2, "dim": 24, "depths": (2, 2), "heads": (2, 4)}
SWIN = replace(
    RESNET, network="swin", sizes={**TINY, "window": 4},
    lrs=(3e-4, 1e-3, 3e-3, 1e-2), weight_decay=0.05, clip_norm=5.0, smoothing=0.1,
)  # fmt: skip
SMALLER = {**TINY, "image": 8, "channels": 1, "window": 2}
SWIN_QUICK = replace(SWIN, **DIGITS, sizes=SMALLER, lrs=(3e-3, 1e-2))
# The official code's README: 8 × 128 images, 300 epochs (of 1251 batches), 20 of warm-up, step size
# 1e-3 to 1e-5, weight decay .05, smoothing .1, clip 5, mixed precision. Not here: mixup, cutmix,
# erasing, TrivialAugment, repeated augmentation, the average of the weights.
SWIN_FULL = replace(
    SWIN, data="imagenet", sizes={}, steps=375_300, batch=1024, warmup=25_020, lrs=(1e-3,),
    floor=0.01, held=50_000, tested=50_000, every=1251, pool=1, precision="bfloat16",
)  # fmt: skip


def smoke(settings: Settings) -> Settings:
    """Return settings that only prove that all runs."""
    return replace(settings, steps=3, warmup=1, every=2, batch=8, lrs=(1e-3,), seeds=(0, 1))


SCALES = {
    "resnet": {
        "smoke": smoke(RESNET_QUICK),
        "quick": RESNET_QUICK,
        "stored": RESNET,
        "full": RESNET_FULL,
    },
    "swin": {"smoke": smoke(SWIN_QUICK), "quick": SWIN_QUICK, "stored": SWIN, "full": SWIN_FULL},
}


class Experiment(base.Experiment):
    """Each variant chooses its step size on images held back; then all report on other seeds."""

    variants = VARIANTS

    def __init__(self, name: str, settings: Settings):
        super().__init__(name, settings)
        self.choices = self.variants[name]

    def plan(self, table) -> list:
        """Return the cells to run, given the results so far."""
        s = self._settings
        lrs = {name: () if v.base else s.lrs for name, v in self.choices.items()}
        return tuning.plan(table, self.choices, lrs, s.tuning, s.seeds, self.best)

    def best(self, table) -> dict:
        """Return each variant's step size: of the lowest loss at the end, on images held back."""
        found = tuning.lowest(table, "test_loss")
        return {name: found[v.base or name] for name, v in self.choices.items()}

    def task(self, cell: dict) -> loop.Task:
        """Return what is trained in a cell."""
        s, v = self._settings, self.choices[cell["optimizer"]]
        learn, test = parts(s.data, s.pool, s.held if cell["phase"] == "tune" else 0)
        torch.manual_seed(cell["seed"])
        model = network(s)
        return loop.Task(
            model,
            lambda model: optimizer(model, v, cell["lr"], s.weight_decay),
            partial(loss, learn, s.smoothing),
            batches(learn, s.batch // s.accumulate, s.pad, s.mirror, cell["seed"]),
            steps=s.steps,
            every=s.every,
            schedule=schedule(s, v.schedule),
            evaluate=partial(measured, test, s.tested),
            accumulate=s.accumulate,
            clip_norm=s.clip_norm,
            precision=s.precision,
            shard=(Block,) if s.network == "swin" else (),
        )

    def train(self, cell: dict) -> pd.DataFrame:
        """Train one network; a run that diverges ends with a row of infinite loss."""
        columns = ["step", "loss", "test_loss", "test_accuracy"]
        history = loop.train(self.task(cell)).reindex(columns=columns)
        return history.fillna({"test_loss": math.inf, "test_accuracy": 0.0})


def network(s: Settings) -> nn.Module:
    """Return the network of some settings; the caller has seeded torch."""
    if s.network == "swin":
        return Swin(SwinConfig(**s.sizes))
    return resnet18(**s.sizes) if s.network == "resnet" else small(**s.sizes)


def small(channels: int = 3, width: int = 8, classes: int = 10) -> nn.Sequential:
    """Return three 3×3 convolutions, each of which halves the image's sides, and a linear layer."""
    layers = []
    for outputs in (width, 2 * width, 4 * width):
        layers += [nn.Conv2d(channels, outputs, 3, stride=2, padding=1), nn.ReLU()]
        channels = outputs
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * outputs, classes)
    )


def schedule(s: Settings, name: str) -> Callable[[int], float] | None:
    """Return the factor on the step size after t steps."""
    if name == "root":
        return lambda t: (1 + t / 100) ** -0.5
    if name == "constant":
        return None
    return loop.warmup_cosine(s.steps, s.warmup if name == "warm-up" else 0, s.floor)


def loss(images: Images, smoothing: float, model: nn.Module, batch) -> Tensor:
    """Return the cross entropy of a batch."""
    x, y = batch
    return F.cross_entropy(model(images.decode(x)).float(), y, label_smoothing=smoothing)


def optimizer(model: nn.Module, variant: Variant, lr: float, weight_decay: float):
    """Return a variant's optimizer; biases, normalisations and relative positions do not decay."""
    groups = decay_groups(model, weight_decay, free=("bias",))
    return variant.rule(groups, lr=lr, fused=True, **variant.options)


def ratios(task: loop.Task, beta2: float, corrected: bool) -> pd.DataFrame:
    """Train, and return quantiles over parameters of how long each wants its step to be.

    That is |g|/√v, of ADOPT with the v before this gradient, or of Adam with its own, corrected;
    over the parameters whose gradient is not zero.

    Returns
    -------
    DataFrame
        ``step``, from 2 on; ``median`` and ``high``, the quantile .99; ``clipped``, the share above
        ADOPT's clip.
    """
    optimizer, v, rows = task.optimizer(task.model), None, []
    for t in range(1, task.steps + 1):
        optimizer.zero_grad()
        task.loss(task.model, next(task.batches)).backward()
        g2 = torch.cat([p.grad.flatten() for p in task.model.parameters()]).square()
        old = g2 if v is None else v
        v = (1 - beta2 if corrected else 1.0) * g2 if v is None else torch.lerp(g2, v, beta2)
        scale = v / (1 - beta2**t) if corrected else old
        u = (g2 / scale.clamp(min=1e-12))[g2 > 0].sqrt()
        if t > 1:
            clipped = (u > (t - 1) ** 0.25).float().mean().item()
            median, high = u.quantile(torch.tensor([0.5, 0.99])).tolist()
            rows.append({"step": t, "median": median, "high": high, "clipped": clipped})
        optimizer.step()
    return pd.DataFrame(rows)
