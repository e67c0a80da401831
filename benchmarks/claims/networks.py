"""What is claimed of the phase diagrams of networks."""

import math

import torch

from benchmarks.claims import NOT, PARTLY, REPRODUCED, claim, middle
from benchmarks.phase_networks import schedule
from companion.data import Dataset, mnist
from companion.models import MLP
from companion.optim import Adam
from companion.train import sweep

GUESS = 0.99 * math.log(10)  # a loss that is no better than guessing


def judge(m) -> str:
    """Return the verdict: whether Adam fails at β2 = 0 with momentum, and without."""
    fails = [middle(m[f"β1 = {beta1}, β2 = 0.0"]) >= GUESS for beta1 in (0.9, 0.0)]
    learns = all(middle(m[f"β1 = {beta1}, β2 = 0.999"]) < GUESS / 2 for beta1 in (0.9, 0.0))
    return NOT if not learns or not any(fails) else REPRODUCED if all(fails) else PARTLY


@claim(
    id="zhang-mnist",
    source="zhang2022",
    where="Experiments, MNIST",
    chapter="convergence/05_networks",
    says="The phase diagram of a network on MNIST agrees with the theory: as $\\beta_2$ grows, "
    "there is a transition from divergence to convergence, for a wide range of $\\beta_1$.",
    rule="Reproduced: at $\\beta_1 = .9$ and at $\\beta_1 = 0$ the median loss at $\\beta_2 = 0$ "
    "is at least .99 log 10, that of guessing, and less than half of it at $\\beta_2 = .999$, both "
    "with the best of three step sizes. Partly: for one of the two. Not: otherwise.",
    verdict=judge,
    settings={
        "network": "784-16-10, ReLU",
        "batch size": 16,
        "steps": 1000,
        "lr": [1e-3, 3e-3, 1e-2],
        "schedule": "η / √(1 + t/100)",
        "beta1": [0.0, 0.9],
        "beta2": [0.0, 0.5, 0.9, 0.99, 0.999],
        "note": "settings of our own; theirs are not known to us in full",
    },
    seeds=range(100, 105),
)
def zhang_mnist(settings, seeds):
    """Train on MNIST and take the loss of 2,000 training images at the end: median and range.

    The phase diagram of other seeds had been seen when the rule was written.
    """
    torch.set_num_threads(1)
    data = mnist(flatten=True)
    runs = sweep(
        lambda: MLP([784, 16, 10]),
        data,
        Adam,
        {name: settings[name] for name in ("beta1", "beta2", "lr")},
        seeds=seeds,
        steps=settings["steps"],
        batch_size=settings["batch size"],
        every=settings["steps"],
        test=Dataset(data.x[:2000], data.y[:2000]),
        schedule=schedule,
        device="cpu",
        progress=False,
    )
    runs["loss"] = runs.test_loss.fillna(math.inf).clip(upper=1e6)
    measured = {}
    for (beta1, beta2), rows in runs.groupby(["beta1", "beta2"]):
        groups = rows.groupby("lr").loss
        best = groups.get_group(groups.median().idxmin())
        measured[f"β1 = {beta1}, β2 = {beta2}"] = (best.median(), best.min(), best.max())
    return measured


claim(
    id="zhang-cifar10",
    source="zhang2022",
    where="Experiments, CIFAR-10",
    chapter="convergence/05_networks",
    says="The same for ResNet-18 on CIFAR-10.",
    untried="A grid of decay rates, step sizes and seeds for ResNet-18 takes a GPU for many hours.",
)
