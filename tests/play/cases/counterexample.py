"""The three-line problem: the exact drift of a cycle, and the package's own runs."""

import math
from functools import cache

import torch

from companion.optim import ADOPT, Adam, AMSGrad
from companion.problems import Reddi1010, ReddiMod3
from companion.simulate import trajectory
from companion.theory import cyclic_drift, cyclic_threshold

PICTURE = "book/convergence/01_counterexample.html"
HUNDRED = "1010 once, −10 a hundred times"
SETTINGS = [
    {},
    {"beta2": 0.5},
    {"C": 2.2, "beta1": 0.3, "beta2": 0.9},
    {"C": 12, "beta1": 0.9, "beta2": 0},  # every β2 is right
    {"problem": HUNDRED, "beta1": 0.9, "beta2": 0.99},
]
RULES = {
    "Adam": (Adam, {}),
    "AMSGrad": (AMSGrad, {"variant": "paper"}),
    "ADOPT": (ADOPT, {"clip_lambda": None}),
}


def cycle(v):
    """Return the problem, its cycle and the number of periods."""
    if v["problem"] == HUNDRED:
        return Reddi1010(), {"n": 101, "rare": 1010.0, "common": -10.0}, 100
    return ReddiMod3(v["C"]), {"n": 3, "rare": float(v["C"]), "common": -1.0}, 500


@cache
def runs(problem, C, *betas):
    """Return name → x after each period, by the rules themselves."""
    f, of, periods = cycle({"problem": problem, "C": C})
    settings = {"lr": lambda t: 0.5 / math.sqrt(t), "project": f.project, "every": of["n"]}
    settings["betas"] = betas
    start = torch.zeros(1, dtype=torch.float64)
    return {
        name: trajectory(rule, f, start, of["n"] * periods, **settings, **options)[:, 0]
        for name, (rule, options) in RULES.items()
    }


def moments(v):
    """Return m and √v over the last period of so many that the start is forgotten."""
    f, of, _ = cycle(v)
    h = Adam.hyper(beta1=v["beta1"], beta2=v["beta2"])
    x, kept = torch.zeros(1, dtype=torch.float64), []
    s = Adam.init(x, h)
    for t in range(1, 3030 + 1):  # a whole number of either period
        x, s = Adam.update(x, f(x), s, float(t), h)
        kept = [*kept[1 - of["n"] :], torch.cat([s.m, s.v.sqrt()])]
    return torch.stack(kept, 1)


def expected(v, data):
    _, of, _ = cycle(v)
    wanted = {
        "r.drift": cyclic_drift(v["beta1"], v["beta2"], **of),
        "r.sums.at(-1)": cyclic_drift(v["beta1"], v["beta2"], **of),
        "r.threshold": cyclic_threshold(v["beta1"], **of),
    }
    wanted |= {f"r.runs.{name}": x for name, x in runs(*v.values()).items()}
    if v["beta2"] <= 0.99:
        m, root = moments(v)
        wanted |= {"r.m": m, "r.root": root, "r.quotient": m / root}
    return wanted


def said(v, data):
    _, of, periods = cycle(v)
    edge = cyclic_threshold(v["beta1"], **of).item()
    return [
        of["rare"] + (of["n"] - 1) * of["common"],
        cyclic_drift(v["beta1"], v["beta2"], **of).item(),
        *([] if math.isnan(edge) else [edge]),
        periods,
        *(x[-1].item() for x in runs(*v.values()).values()),
    ]
