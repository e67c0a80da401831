"""The sum against the average: runs by the package's own trajectories, at the best of a grid."""

import numpy as np
import torch

from companion.optim import SGD, AdaGrad, RMSprop
from companion.play import Draws
from companion.problems import RareJump
from companion.simulate import trajectory
from tests.play.cases import once

PICTURE = "book/foundations/03_adagrad_rmsprop.html"
SETTINGS = [
    {},
    {"flatter": 1.0},  # the scale stays
    {"p": 1.0, "alpha": 0.9},  # the rare one is as frequent
    {"p": 0.01, "flatter": 100.0, "seed": 2},
    {"alpha": 0.999, "seed": 1},
    {"alpha": 0.0, "p": 0.2},  # signs
]
STEPS, HALF = 800, 400
RATES = torch.tensor([k / z for z in (100, 10, 1) for k in (1, 2, 5)], dtype=torch.float64)
RULES = {"SGD": SGD, "AdaGrad": AdaGrad, "RMSprop": RMSprop}
EPS = {"AdaGrad": 1e-10, "RMSprop": 1e-8}


def problem(v):
    seen = torch.from_numpy(Draws(v["seed"]).uniform(STEPS)) < v["p"]
    noise = np.stack([Draws(v["seed"], stream).normal(STEPS) for stream in (1, 2)], 1)
    return RareJump(seen, 0.3 * torch.from_numpy(noise), v["flatter"])


def denominators(name, g, alpha):
    """Return √v + ε after each gradient, from the definition; one for SGD."""
    if name == "SGD":
        return torch.ones_like(g)
    if name == "AdaGrad":
        return g.square().cumsum(0).sqrt() + EPS[name]
    age = torch.arange(len(g))[:, None] - torch.arange(len(g))
    powers = torch.tensor(alpha, dtype=torch.float64) ** age.clamp(min=0)
    weights = torch.where(age < 0, 0.0, (1 - alpha) * powers)
    return (weights @ g.square()).sqrt() + EPS[name]


@once
def runs(v):
    """Return name → step size, iterates (steps + 1, 2) and sizes of steps (steps, 2)."""
    f, found = problem(v), {}
    for name, rule in RULES.items():
        options = {"alpha": v["alpha"]} if name == "RMSprop" else {}
        x0 = torch.zeros(2, dtype=torch.float64)
        x = trajectory(rule, f, x0, STEPS, lr=RATES[:, None], **options)
        errors = (x[1 : HALF + 1, :, 0] - 1).square().sum(0).nan_to_num(torch.inf)
        lr, way = RATES[errors.argmin()], x[:, errors.argmin()]
        g = f.at(way[:-1], torch.arange(STEPS))
        found[name] = lr, way, lr / denominators(name, g, v["alpha"])
    return f, found


def stated(v):
    f, found = runs(v)
    left, ratios = {}, {}
    for name, (_, x, sizes) in found.items():
        far = (x[1:, 1] - f.minimum).abs()
        left[name] = [far[:HALF].mean().item(), far[HALF:].mean().item()]
        frequent, rare = (
            np.median(sizes[:HALF, j][f.seen[:HALF, j]].numpy()).item() for j in (0, 1)
        )
        ratios[name] = rare / frequent
    return f.seen[:, 1].sum().item(), left, ratios


def expected(v, data):
    f, found = runs(v)
    seen, left, ratios = stated(v)
    wanted = {"r.seen": seen}
    for name, (lr, x, sizes) in found.items():
        at = f"r.runs.{name}"
        wanted |= {f"{at}.lr": lr, f"{at}.xs": x.T, f"{at}.sizes[0]": sizes[:, 0]}
        wanted |= {f"{at}.sizes[1]": sizes[f.seen[:, 1], 1]}
        wanted |= {f"{at}.left": left[name], f"{at}.ratio": ratios[name]}
    return wanted


def said(v, data):
    seen, left, ratios = stated(v)
    numbers = [*(z for pair in left.values() for z in pair), *ratios.values()]
    return [seen, STEPS, *(float(f"{z:.2g}") for z in numbers)]
