"""Hinton's example: runs by the package's own trajectories, the drift by its exact formula."""

import torch

from companion.optim import SGD, RMSprop, SignSGD
from companion.play import Draws
from companion.problems import HintonRprop, Linear
from companion.simulate import trajectory
from companion.theory import cyclic_drift
from tests.play.cases import once

PICTURE = "book/foundations/03_adagrad_rmsprop.html"
SETTINGS = [
    {},
    {"alpha": 0.99},
    {"alpha": 0.0},  # signs
    {"n": 3},
    {"n": 20, "mean": -0.005, "alpha": 0.95},  # function (2) of Zhang et al.: the wrong way
    {"n": 5, "mean": 0.05, "alpha": 0.8, "shuffled": True, "seed": 3},
    {"n": 30, "alpha": 0.999, "shuffled": True},
]
CYCLES = 50
RULES = {"SGD": SGD, "SignSGD": SignSGD, "RMSprop": RMSprop}


def rare(v):
    return v["n"] * v["mean"] - (v["n"] - 1) * 0.1


class Placed(Linear):
    """The rare gradient at given places of the cycles."""

    def __init__(self, slopes, n, places):
        self.places = places
        super().__init__(slopes, 1 / n, "reshuffled")

    def __call__(self, x, generator=None):
        now = self.count % self.period == self.places[self.count // self.period]
        self.count += 1
        return self.either(torch.tensor(now), x)


@once
def ways(v):
    n, slopes = v["n"], (rare(v), 0.1)
    if v["shuffled"]:
        oracle = Placed(slopes, n, Draws(v["seed"]).integers(n, CYCLES).tolist())
    elif (n, v["mean"]) == (10, 0):
        oracle = HintonRprop("cyclic")
    else:
        oracle = Linear(slopes, 1 / n, "cyclic")
    x0 = torch.zeros(1, dtype=torch.float64)
    options = {"RMSprop": {"alpha": v["alpha"]}}
    return {
        name: trajectory(rule, oracle, x0, CYCLES * n, lr=1.0, **options.get(name, {}))[:, 0]
        for name, rule in RULES.items()
    }


def walked(v):
    half = CYCLES * v["n"] // 2
    return [((x[-1] - x[half]) / (CYCLES / 2)).item() for x in ways(v).values()]


def exact(v):
    return -cyclic_drift(0.0, v["alpha"], v["n"], rare=rare(v), common=0.1).item()


def expected(v, data):
    runs = {f"r.ways.{name}": x for name, x in ways(v).items()}
    return {**runs, "r.walked": walked(v), "r.exact": exact(v), "r.rare": rare(v)}


def said(v, data):
    numbers = [v["n"] - 1, 0.1, rare(v)]
    sgd, sign, rms = (0.0 if abs(z) < 1e-6 else z for z in walked(v))
    numbers += [sgd, sign, round(1 / (1 - v["alpha"])), rms]
    return numbers if v["shuffled"] else [*numbers, 0.0 if abs(exact(v)) < 1e-6 else exact(v)]
