"""ADOPT's clip: the package's own trajectories on the toy, and the second moment written out."""

from functools import cache

import numpy as np
import torch

from companion.optim import ADOPT
from companion.play import Draws
from companion.simulate import trajectory

PICTURE = "book/convergence/06_adopt.html"
SETTINGS = [
    {},
    {"k": 7, "gap": 0.1, "seed": 4},
    {"zero": True},  # without the clip all is lost in one step
    {"k": 2, "gap": 0.001},
]
CALLS, RUNS = 3000, 16


@cache
def measured(k, gap, zero, seed):
    """Return x with the clip and without, (calls, runs); the first run's calls and u; its first."""
    u = Draws(seed).uniform((CALLS, 1)) + np.arange(RUNS) / RUNS
    g = np.where(u - np.floor(u) < 1 / k, float(k**2), -float(k))
    g[0] *= not zero
    paths = []
    for clip in (0.25, None):
        rows = iter(torch.from_numpy(g)[..., None])
        paths.append(
            trajectory(
                ADOPT,
                lambda x, rows=rows: next(rows),
                torch.zeros(RUNS, 1, dtype=torch.float64),
                CALLS,
                lr=lambda t: 0.01 / (1 + t / 100) ** 0.5,
                beta1=0.9,
                beta2=1 - gap,
                clip_lambda=clip,
                project=(-1.0, 1.0),
            )[1:, :, 0].numpy()
        )
    v, rare, first = g[0, 0] ** 2, [], abs(g[1, 0]) / 1e-6
    for t, z in enumerate(g[1:, 0], start=2):
        if z > 0:
            rare.append((t, z / max(v**0.5, 1e-6)))
        v = (1 - gap) * v + gap * z**2
    return paths, np.array(rare), first if zero else 0


def settled(v):
    return measured(*(v[name] for name in ("k", "gap", "zero", "seed")))


def shown(v):
    """Return the calls that the figure shows, and quartiles of x there for each path."""
    at = np.array([t for t in range(1, CALLS + 1) if t < 100 or t % 10 == 0])
    return at, [np.quantile(x[at - 1], [0.25, 0.5, 0.75], axis=1) for x in settled(v)[0]]


def cut(rare):
    return int((rare[:, 1] > (rare[:, 0] - 1) ** 0.25).sum())


def expected(v, data):
    (_, rare, first), (at, ends) = settled(v), shown(v)
    wanted = {"r.rare": rare, "r.cut": cut(rare), "r.first": first}
    for name, z in zip(("with the clip", "without"), ends, strict=True):
        wanted |= {f"r.paths[{name!r}].at": at, f"r.paths[{name!r}].ends": z}
    return wanted


def said(v, data):
    (_, rare, _), (_, ends) = settled(v), shown(v)
    k = v["k"]
    words = [k, 1 - v["gap"], k - 1, (k - 1) ** 4 + 1, cut(rare), len(rare), CALLS, RUNS]
    return [*words, *(float(z) for x in ends for z in (x[1].max(), x[1][-1]))]
