"""ADOPT's two changes apart and together: the package's own trajectories on the toy."""

from functools import cache, partial

import numpy as np
import torch

from companion.optim import ADOPT, Adam
from companion.optim.variants import Decorrelated, Reordered
from companion.play import Draws
from companion.simulate import trajectory

PICTURE = "book/convergence/06_adopt.html"
SETTINGS = [
    {},
    {"k": 4, "gap": 0.03, "seed": 5},
    {"k": 50, "gap": 1.0, "lr": 0.1},  # every rule but ADOPT is at the wrong end
    {"k": 2, "gap": 0.001, "beta1": 0.0},
]
FOUR = {
    "Adam": Adam,
    "decorrelated only": Decorrelated,
    "reordered only": Reordered,
    "ADOPT": partial(ADOPT, clip_lambda=None),
}
STEPS, RUNS, EVERY = 2000, 16, 20
GAPS = np.array([1, 0.7, 0.4, 0.15, 0.05, 0.02, 0.005, 0.001])


@cache
def runs(k, gap, beta1, lr, seed):
    """Return name → x, of shape (times, β₂, runs): the chosen β₂ first, then those of the map."""
    u = Draws(seed).uniform((STEPS, 1)) + np.arange(RUNS) / RUNS
    g = torch.from_numpy(np.where(u - np.floor(u) < 1 / k, float(k**2), -float(k)))
    beta2 = torch.tensor([1 - gap, *(1 - GAPS)], dtype=torch.float64).view(-1, 1, 1)
    found = {}
    for name, rule in FOUR.items():
        made, rows = partial(rule), iter(g)
        found[name] = trajectory(
            made.func,
            lambda x, rows=rows: next(rows)[:, None].expand(x.shape),
            torch.zeros(RUNS, 1, dtype=torch.float64),
            STEPS,
            every=EVERY,
            lr=lambda t: lr / (1 + t / 100) ** 0.5,
            beta1=beta1,
            beta2=beta2,
            project=(-1.0, 1.0),
            **made.keywords,
        )[..., 0].numpy()
    return found


def settled(v):
    return runs(*(v[name] for name in ("k", "gap", "beta1", "lr", "seed")))


def expected(v, data):
    found = {}
    for name, x in settled(v).items():
        found[f"r.paths[{name!r}]"] = np.quantile(x[:, 0], [0.25, 0.5, 0.75], axis=-1)
        found[f"r.ends[{name!r}]"] = np.median(x[-1, 1:], axis=-1)
    return found


def said(v, data):
    x = settled(v).values()
    ends = [np.median(z[-1, 0]) for z in x]
    right = [int((np.median(z[-1, 1:], axis=-1) < 0).sum()) for z in x]
    return [v["k"], 1 - v["gap"], STEPS, RUNS, -1, *ends, len(GAPS), *right]
