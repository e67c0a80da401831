"""Adam when the gradient wakes up: step by step with the package's rules, and its bound."""

import math

import torch

from companion.optim import Adam
from companion.optim.variants import UncorrectedAdam
from companion.theory import step_bound

PICTURE = "book/foundations/04_adam.html"
SETTINGS = [
    {},
    {"end": [1.0, 1.0]},
    {"end": [45.0, 99.0], "beta1": 0.9},
    {"silence": 0, "end": [900.3, 1.0]},  # the start of a run, with correction
    {"silence": 0, "end": [900.3, 1.0], "corrected": False},
    {"silence": 300, "beta1": 0.5, "beta2": 0.9798, "end": [20.0, 0.2], "corrected": False},
    {"silence": 1000, "beta1": 0.95, "beta2": 0.8, "end": [60.0, 0.01]},  # β₁ ≥ √β₂: no bound
    {"beta1": 0.5, "beta2": 0.0, "end": [30.0, 1.0]},  # nothing to divide by after the burst
    {"beta1": 0.0, "beta2": 0.0, "end": [30.0, 1.0]},
]
STEPS = 1000


def gradients(v):
    """Return the gradients after the silence."""
    count = round(v["end"][0])
    k = torch.arange(STEPS, dtype=torch.float64)
    growth = math.exp(math.log(v["end"][1]) / max(1, count - 1)) if count > 1 else 1.0
    return torch.where(k < count, growth**k, 0.0)


def steps(rule, v):
    """Return lengths of the steps after the silence, which leaves both moments at zero."""
    h = rule.hyper(lr=1.0, beta1=v["beta1"], beta2=v["beta2"], eps=1e-100)
    zero = torch.zeros(1, dtype=torch.float64)
    s, found = rule.init(zero, h), []
    for t, g in enumerate(gradients(v)[:, None], start=v["silence"] + 1):
        x, s = rule.update(zero, g, s, float(t), h)
        found.append(-x)
    return torch.cat(found)


def bounds(v):
    """Return the right side of the proposition, term by term, at the first steps and some later."""
    found = []
    for t in (v["silence"] + k for k in (1, 2, 10, 100)):
        k = torch.arange(t, dtype=torch.float64)
        a = (1 - v["beta1"]) * v["beta1"] ** k
        b = (1 - v["beta2"]) * v["beta2"] ** k
        if v["corrected"]:
            a, b = a / (1 - v["beta1"] ** t), b / (1 - v["beta2"] ** t)
        kept = b > 1e-290  # below, both weights leave the numbers there are
        found.append((a.square() / b)[kept].sum().sqrt().item())
    return found


def rules(v):
    return (Adam, UncorrectedAdam) if v["corrected"] else (UncorrectedAdam, Adam)


def expected(v, data):
    own, other = (steps(rule, v) for rule in rules(v))
    found = {"r.own.steps": own, "r.other.steps": other, "r.longest": own.max()}
    found["r.limit"] = step_bound(v["beta1"], v["beta2"])
    # where there is no limit, the sum is too large to be taken term by term
    if math.isfinite(found["r.limit"]):
        found["[0, 1, 9, 99].map((k) => r.bounds[k])"] = bounds(v)
    if v["beta2"]:  # what is divided: the step is their quotient
        found["r.own.m.map((m, k) => m / r.own.root[k])"] = own
    return found


def said(v, data):
    own = steps(rules(v)[0], v)
    spike = (1 - v["beta1"]) / math.sqrt(1 - v["beta2"])
    limit = step_bound(v["beta1"], v["beta2"]).item()
    longest = own.max().item()
    at = (own >= longest * (1 - 1e-9)).nonzero()[0].item() + 1  # the first of equals
    longest = longest if longest < 1e9 else math.inf
    return [v["silence"], round(v["end"][0]), longest, at, max(1.0, spike), limit]
