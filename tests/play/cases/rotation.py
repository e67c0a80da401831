"""Rotation: the package's runs in turned axes, all angles at once."""

import torch

from companion.optim import SGD, Adam, AdaSGD, SignSGD
from companion.problems import Quadratic
from companion.simulate import trajectory
from tests.play.cases import once

PICTURE = "book/geometry/02_rotation.html"
SETTINGS = [
    {},
    {"angle": [80, 0], "kappa": 60, "slow": 0.02, "fast": 0.3, "beta2": 0.99, "step": 25},
    {"angle": [0, 0], "view": "the valley's own axes", "SGD": False},
    {"angle": [45, 0], "SignSGD": True, "fast": 0.07, "kappa": 4, "beta2": 0.8},
    {"kappa": 1, "angle": [90, 0], "slow": 0.2},  # a bowl
    {"kappa": 100, "slow": 0.2, "step": 30},  # SGD leaves the valley
]
RULES = {"SGD": SGD, "AdaSGD": AdaSGD, "Adam": Adam, "SignSGD": SignSGD}
STEPS = 40
SAME = 1e-4  # below this share it is rounding, which long steps enlarge


def run(rule, v, valley, **options):
    """Return the path at each angle, turned back: (steps, angles, coordinates)."""
    angles = torch.deg2rad(torch.arange(91, dtype=torch.float64))
    c, s = angles.cos(), angles.sin()
    R = torch.stack([c, -s, s, c], -1).view(-1, 2, 2)
    turn = lambda x: torch.einsum("aij,...aj->...ai", R, x)  # noqa: E731
    back = lambda x: torch.einsum("aji,...aj->...ai", R, x)  # noqa: E731
    start = back(torch.tensor([-2.0, 1.2], dtype=torch.float64).expand(91, 2))
    return turn(trajectory(rule, lambda x: back(valley.grad(turn(x))), start, STEPS, **options))


@once
def runs(v):
    """Return name → loss (angles, steps) and distance to the native path (steps)."""
    valley, found = Quadratic([1.0, v["kappa"]]), {}
    for name, rule in RULES.items():
        if not v[name]:
            continue
        options = {"lr": v["slow" if name == "SGD" else "fast"]}
        options |= {"betas": (0.5, v["beta2"])} if name in ("Adam", "AdaSGD") else {}
        path = run(rule, v, valley, **options)
        gap = (path[:, v["angle"][0]] - path[:, 0]).norm(dim=-1).cummax(0).values
        gap[gap <= 1e-9 * path[:, 0].norm(dim=-1).max()] = 0  # rounding, told apart below
        found[name] = (valley.loss(path).T, gap)
    return found


def expected(v, data):
    wanted = {}
    for name, (loss, gap) in runs(v).items():
        wanted[f"r.of.{name}.losses"] = loss.tolist()
        if gap[-1]:
            wanted[f"r.of.{name}.gaps"] = gap.tolist()
        else:
            wanted[f"Number(r.of.{name}.gaps[40] <= 1e-9 * r.of.{name}.sizes[40])"] = 1
    return wanted


def said(v, data):
    numbers, step = [v["angle"][0], v["step"]], v["step"]
    for loss, gap in runs(v).values():
        now = loss[:, step]
        numbers.append(now[v["angle"][0]].item())
        if now.max() - now.min() >= SAME * now.max():
            numbers += [now.min().item(), now.max().item()]
        if SAME * 1e3 < gap[step] < 1e9:
            numbers.append(float(f"{gap[step].item():.1e}"))
    return numbers
