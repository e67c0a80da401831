"""SGD: runs by the package's own trajectory, exact means and limits by `companion.theory`."""

import torch

from companion import theory
from companion.optim import SGD
from companion.play import Draws
from companion.problems import LeastSquares
from companion.simulate import trajectory
from tests.play.cases import once

PICTURE = "book/foundations/01_sgd.html"
SETTINGS = [
    {},
    {"eta": 0.7, "B": 8, "sigma": 0.5, "seed": 4, "step": 30},
    {"eta": 0.1, "B": 17, "sigma": 0.0},  # one x fits all: no floor
    {"eta": 1.1, "B": 1, "step": 40},  # past the limit in mean square, below 2/L
    {"eta": 2.2, "B": 32, "sigma": 2.0, "step": 60},  # past both
]
STEPS, RUNS, START = 200, 100, [-4.0, 2.0]
RANDOM = LeastSquares.random(n=64, d=2, kappa=4, noise=1.0)
RESIDUALS = RANDOM.targets - RANDOM.features @ RANDOM.minimiser
DATA = {"features": RANDOM.features.tolist(), "residuals": RESIDUALS.tolist()}
FIRST = 61  # where runs grow, a difference in the last place does too


def problem(v, data):
    """Return least squares with its minimiser at 0."""
    features, residuals = (
        torch.tensor(data[key], dtype=torch.float64) for key in ("features", "residuals")
    )
    return LeastSquares(features, v["sigma"] * residuals)


@once
def gaps(v, data):
    """Return the suboptimality of each run, of shape (steps + 1, runs)."""
    f = problem(v, data)
    streams = range(-(-v["B"] // 8))  # eight samples of 64 in one whole number
    whole = [Draws(v["seed"], k).integers(64**8, (STEPS, RUNS)) for k in streams]
    index = [torch.from_numpy(w // 64**j % 64) for w in whole for j in range(8)]
    rows = iter(torch.stack(index[: v["B"]], dim=-1))  # (steps, runs, B)
    x0 = torch.tensor(START, dtype=torch.float64).expand(RUNS, 2)
    path = trajectory(SGD, lambda x: f.batch_gradient(x, next(rows)), x0, STEPS, lr=v["eta"])
    return f.loss(path) - f.loss(f.minimiser)


def exact(v, data):
    x0 = torch.tensor(START, dtype=torch.float64)
    return theory.minibatch_gap(problem(v, data), x0, v["eta"], v["B"], STEPS)


def expected(v, data):
    f, found = problem(v, data), gaps(v, data)[:FIRST]
    return {
        f"r.mean.slice(0, {FIRST})": found.mean(-1),
        f"r.median.slice(0, {FIRST})": found.quantile(0.5, dim=-1),
        f"r.high.slice(0, {FIRST})": found.quantile(0.9, dim=-1),
        "r.exact": exact(v, data),
        "r.floor": theory.minibatch_floor(f, v["eta"], v["B"]),
        "r.limit": theory.mean_square_limit(f.features, v["B"]),
        "[r.limits[0], r.limits[4], r.limits.at(-1)]": [
            theory.mean_square_limit(f.features, B) for B in (1, 4, 32)
        ],
        "r.top": 2 / f.eigenvalues[-1].item(),
    }


def said(v, data):
    f, at = problem(v, data), v["step"]
    limit = theory.mean_square_limit(f.features, v["B"])
    floor = theory.minibatch_floor(f, v["eta"], v["B"])
    found = gaps(v, data)[at]
    stable = v["eta"] < limit
    return [
        *(v["B"], limit, 2 / f.eigenvalues[-1].item(), v["eta"], at, RUNS, found.mean().item()),
        *([] if stable else [found.quantile(0.5).item()]),
        exact(v, data)[at].item(),
        *([floor] if stable else []),
    ]
