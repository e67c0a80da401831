"""The race: paths on landscapes, by the package's own trajectories."""

import math

import torch

from companion import optim
from companion.play import Draws
from companion.problems import beale, gradient, ravine, rosenbrock, saddle, turned
from companion.simulate import trajectory
from tests.play.cases import once

PICTURE = "book/index.html"
SETTINGS = [
    {},
    {"landscape": "Rosenbrock", "slow": 0.0005, "noise": 1.5, "seed": 3, "step": 120},
    {"landscape": "a ravine turned by 45°", "beta1": 0.5, "beta2": 0.9, "AMSGrad": True},
    {"landscape": "Beale", "start": [1.0, -1.0], "AdaGrad": True, "RMSprop": True},
    {"landscape": "a saddle", "start": [2.0, 0.0], "noise": 0.1, "fast": 0.01},
    {"landscape": "Rosenbrock", "slow": 0.1},  # SGD leaves the plane
]
LANDSCAPES = {
    "a ravine": ravine(30),
    "a ravine turned by 45°": turned(ravine(30)),
    "Rosenbrock": rosenbrock,
    "Beale": beale,
    "a saddle": saddle,
}
STEPS = 200
FIRST = 51  # where f is curved, a difference in the last place grows on the way


def rules(v):
    """Return name → (class, options) of the rules that run."""
    slow, fast, betas = {"lr": v["slow"]}, {"lr": v["fast"]}, (v["beta1"], v["beta2"])
    known = {
        "SGD": (optim.SGD, slow),
        "Momentum": (optim.SGD, {**slow, "momentum": v["beta1"]}),
        "AdaGrad": (optim.AdaGrad, fast),
        "RMSprop": (optim.RMSprop, {**fast, "alpha": v["beta2"]}),
        **{
            name: (getattr(optim, name), {**fast, "betas": betas})
            for name in ("Adam", "AMSGrad", "ADOPT")
        },
    }
    return {name: known[name] for name in known if v[name]}


@once
def losses(v):
    """Return name → the losses of a path, from its start on."""
    f = LANDSCAPES[v["landscape"]]
    noise = v["noise"] * torch.from_numpy(Draws(v["seed"]).normal((STEPS, 2)))
    found = {}
    for name, (cls, options) in rules(v).items():
        rows, slope = iter(noise), gradient(f)
        path = trajectory(
            cls,
            lambda x, slope=slope, rows=rows: slope(x) + next(rows),
            torch.tensor(v["start"], dtype=torch.float64),
            STEPS,
            **options,
        )
        found[name] = f(path).numpy()
    return found


def expected(v, data):
    return {f"r.losses[{name!r}].slice(0, {FIRST})": z[:FIRST] for name, z in losses(v).items()}


def said(v, data):
    ends = (float(z[v["step"]]) for z in losses(v).values())
    return [*v["start"], v["step"], *(z if math.isfinite(z) else math.inf for z in ends)]
