"""What is claimed of the phase diagrams of networks."""

import math

import numpy as np

from benchmarks.claims import claim, grade
from benchmarks.phase_networks import BATCHES, BETA1, STEP_SIZES
from companion import results

GUESS = 0.99 * math.log(10)  # a loss that is no better than guessing


def passes(m, batch, beta1) -> bool:
    """Return whether Adam fails at β2 = 0 and learns at the largest β2."""
    first, last = (m[_name(batch, beta1, beta2)][0] for beta2 in (0.0, 0.999))
    return first >= GUESS and last < GUESS / 2


def _name(batch, beta1, beta2):
    return f"B = {batch}, β1 = {beta1}, β2 = {beta2}"


@claim(
    id="zhang-mnist",
    source="zhang2022",
    where="Experiments, MNIST",
    chapter="convergence/05_networks",
    says="The phase diagram of a network on MNIST agrees with the theory: as $\\beta_2$ grows, "
    "there is a transition from divergence to convergence, for a wide range of $\\beta_1$.",
    rule="A transition: the median loss at $\\beta_2 = 0$ is at least .99 log 10, that of "
    "guessing, and less than half of it at $\\beta_2 = .999$, both with the best of three step "
    "sizes. Reproduced: for each $\\beta_1$ and each batch size.",
    verdict=lambda m: grade(*(passes(m, batch, beta1) for batch in BATCHES for beta1 in BETA1)),
    summary=lambda raw: {k: (np.median(v), min(v), max(v)) for k, v in raw.items()},
    settings={
        "network": "784-16-10, ReLU",
        "batch sizes": BATCHES,
        "steps": 1000,
        "lr": STEP_SIZES,
        "schedule": "η / √(1 + t/100)",
        "beta1": BETA1,
        "beta2": [0.0, 0.5, 0.9, 0.99, 0.999],
        "tuned on seed": 0,
        "runs": "companion/results/phase_networks.csv",
        "note": "settings of our own; theirs are not known to us in full",
    },
    seeds=[1, 2],
)
def zhang_mnist(settings, seeds):
    """Train on MNIST and take the loss of 2,000 training images at the end: median and range.

    Another seed chooses the step size. The runs had been seen when the rule was written; a first
    rule had two values of β1 and one batch size.
    """
    runs = results.load("phase_networks")
    runs = runs.assign(loss=runs.loss.fillna(np.inf).clip(upper=1e6))
    raw = {}
    for (batch, beta1, beta2), cell in runs.groupby(["batch_size", "beta1", "beta2"]):
        if beta2 in settings["beta2"]:
            tuning = cell[cell.seed == settings["tuned on seed"]].set_index("lr").loss
            chosen = cell[(cell.lr == tuning.idxmin()) & cell.seed.isin(seeds)]
            raw[_name(batch, beta1, beta2)] = chosen.loss.tolist()
    return raw


claim(
    id="zhang-cifar10",
    source="zhang2022",
    where="Experiments, CIFAR-10",
    chapter="convergence/05_networks",
    says="The same for ResNet-18 on CIFAR-10.",
    untried="A grid of decay rates, step sizes and seeds for ResNet-18 takes a GPU for many hours.",
)
