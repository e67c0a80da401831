"""Adam's direction: steps of the package on the same noise, and the formulas of the chapter."""

import torch

from companion.optim import Adam
from companion.play import Draws
from companion.simulate import trajectory
from tests.play.cases import once

PICTURE = "book/foundations/04_adam.html"
SETTINGS = [
    {},
    {"sigma": 1.0},
    {"sigma": 0.0103, "seed": 4},  # hardly any noise: the sign
    {"sigma": 8.0, "mu": [-0.9, 0.2], "beta1": 0.99},
    {"beta1": 0.0, "beta2": 0.0, "mu": [0.4, -1.1]},  # SignSGD
    {"mu": [0.0, 0.0], "beta1": 0.5, "beta2": 0.9},
]
START, STEPS = 1000, 3000


@once
def steps(v):
    """Return Adam's steps, turned round, in units of η: (STEPS, 2)."""
    z = torch.from_numpy(Draws(v["seed"]).normal((START + STEPS, 2)))
    rows = iter(torch.tensor(v["mu"], dtype=torch.float64) + v["sigma"] * z)
    options = {"lr": 1.0, "betas": (v["beta1"], v["beta2"]), "eps": 0.0}
    zero = torch.zeros(2, dtype=torch.float64)
    return -trajectory(Adam, lambda x: next(rows), zero, START + STEPS, **options).diff(dim=0)[
        START:
    ]


def formulas(v):
    """Return the mean step and the share the wrong way, by the two propositions."""
    ratio = torch.tensor(v["mu"], dtype=torch.float64) / v["sigma"]
    averaged = (1 - v["beta1"]) / (1 + v["beta1"])
    noise = torch.where(ratio == 0, torch.inf, 1 / ratio.abs())
    return (
        ratio.sign() / (1 + noise.square()).sqrt(),
        torch.special.ndtr(-ratio.abs() / averaged**0.5),
    )


def angle(a, b):
    """Return the angle of two vectors in degrees, zero if one has no direction."""
    if not (a.norm() and b.norm()):
        return 0.0
    cosine = (a @ b / a.norm() / b.norm()).clamp(-1, 1)
    return torch.rad2deg(torch.acos(cosine)).item()


def measured(v):
    found, mu = steps(v), torch.tensor(v["mu"], dtype=torch.float64)
    side = torch.where(mu < 0, -1.0, 1.0)
    return found.mean(0), (found * side < 0).double().mean(0)


def expected(v, data):
    mean, wrong = measured(v)
    say_mean, say_wrong = formulas(v)
    return {
        "r.steps.map((z) => z.slice(0, 100))": steps(v)[:100].T,
        "r.mean": mean,
        "r.wrong": wrong,
        "r.said.mean": say_mean,
        "r.said.wrong": say_wrong,
    }


def said(v, data):
    mean, wrong = measured(v)
    say_mean, say_wrong = formulas(v)
    mu = torch.tensor(v["mu"], dtype=torch.float64)
    turned = [angle(mean, mu.sign()), angle(mean, mu)] if mu.any() else []
    return [
        *(mu / v["sigma"]).tolist(),
        *mean.tolist(),
        *turned,
        *say_mean.tolist(),
        *(round(100 * z, 1) for z in (*wrong.tolist(), *say_wrong.tolist())),
    ]
