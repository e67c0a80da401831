"""The phase transition: the exact drift, κ, and the package's own runs on the same draws."""

import math

import torch

from companion.optim import Adam
from companion.play import Draws
from companion.problems import Function2
from companion.simulate import trajectory
from companion.theory import cyclic_drift, cyclic_threshold, kappa, skewness_threshold
from tests.play.cases import once

PICTURE = "book/convergence/03_phase_transition.html"
SETTINGS = [
    {},
    {"n": 5, "order": "cyclic", "betas": [0.01, 0.9]},  # no β2 is wrong in a cycle
    {"n": 10, "order": "independent", "betas": [0.03, 0.9], "seed": 4},
    {"n": 50, "betas": [0.01, 0.0], "seed": 1},
    {"n": 3, "order": "cyclic", "betas": [0.9, 0.2]},
]
STEPS, RUNS = 3000, 8
FIRST = 61  # near the minimiser a difference in the last place grows on the way
NAMES = {"independent": "iid"}  # in the package


class Drawn(Function2):
    """Function (2) with the steep sample where given draws put it: a row of steps a run."""

    def __init__(self, n, now):
        super().__init__(n)
        self.now = now.T.unsqueeze(-1)  # (steps, runs, 1)

    def reset(self):
        self.t = -1

    def __call__(self, x):
        self.t += 1
        return self.either(self.now[self.t], x)


def now(v):
    """Return whether the steep sample comes, (runs, steps)."""
    n, phase = v["n"], torch.arange(STEPS) % v["n"]
    if v["order"] == "cyclic":
        return (phase == 0).unsqueeze(0)
    many = STEPS if v["order"] == "independent" else -(-STEPS // n)
    drawn = [Draws(v["seed"], stream).integers(n, many) for stream in range(RUNS)]
    drawn = torch.stack([torch.from_numpy(z) for z in drawn])
    if v["order"] == "independent":
        return drawn == 0
    return drawn.repeat_interleave(n, 1)[:, :STEPS] == phase


@once
def paths(v):
    """Return x at every tenth step, (times, runs)."""
    came = now(v)
    off, beta1 = v["betas"]
    start = torch.ones(len(came), 1, dtype=torch.float64)
    settings = {"lr": lambda t: 2 / math.sqrt(t + 100), "betas": (beta1, 1 - off), "every": 10}
    return trajectory(Adam, Drawn(v["n"], came), start, STEPS, **settings)[..., 0]


def first_order(v, beta1):
    """Return κ and the threshold to first order at each of these β1."""
    factor = kappa(beta1, v["n"], NAMES.get(v["order"], v["order"]))
    moments = Function2(v["n"]).moments(torch.zeros((), dtype=torch.float64))
    return factor, skewness_threshold(moments.mean, moments.second, moments.third, factor)


def expected(v, data):
    off, beta1 = v["betas"]
    rows = torch.linspace(0, 0.99, 50, dtype=torch.float64)
    middles = (torch.arange(60, dtype=torch.float64) + 0.5) / 60
    cells = cyclic_drift(0.99 * middles[:, None], 1 - 10 ** (-4 * middles), v["n"])
    factor, first = first_order(v, beta1)
    return {
        "r.drift": cyclic_drift(beta1, 1 - off, v["n"]),
        "r.threshold": cyclic_threshold(beta1, v["n"]),
        "r.wrong": (cells < 0).double(),
        "r.line": first_order(v, rows)[1],
        "r.kappa": factor,
        "r.kappas": torch.stack([kappa(rows, v["n"], z) for z in ("cyclic", "reshuffled", "iid")]),
        "r.first": first,
        f"r.paths.slice(0, {FIRST})": paths(v)[:FIRST],
    }


def said(v, data):
    off, beta1 = v["betas"]
    factor, first = first_order(v, beta1)
    edge = cyclic_threshold(beta1, v["n"])
    found = [
        *(v["n"], beta1, 1 - off, cyclic_drift(beta1, 1 - off, v["n"])),
        *([edge] if edge > 0 else []),  # else it says that Adam is right at every β2
        factor,
        *([first] if first > 0 else []),
        torch.quantile(paths(v)[-1], 0.5),
    ]
    return [float(z) for z in found]
