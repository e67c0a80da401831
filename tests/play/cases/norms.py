"""Norms: the dual norm by torch, the steepest step as its derivative, the rules by one step."""

import math

import torch

from companion import optim

PICTURE = "book/geometry/01_norms.html"
SETTINGS = [
    {},
    {"norm": "ℓ1", "g": [-0.7, 1.3], "third": 0.4},
    {"norm": "ℓ2", "g": [1.0, -2.0], "third": 1.5},
    {"norm": "blocks {1, 2} and {3}", "g": [0.9, 1.2], "third": -0.5},
    {"norm": "one block {1, 2, 3}", "g": [-1.1, -0.4], "third": 2.0},
    {"norm": "blocks {1, 2} and {3}", "g": [1.0, -0.5], "third": 0.0},
    {"norm": "ℓ1", "g": [0.8, -0.8], "third": 0.0},
    {"g": [0.0, 0.0]},
]
RULES = {
    "SGD": (optim.SGD, {}),
    "SignSGD": (optim.SignSGD, {}),
    "AdaSGD": (optim.AdaSGD, {}),
    "BlockwiseAdam": (optim.BlockwiseAdam, {"partition": lambda p, _: torch.tensor([0, 0, 1])}),
}


def blocks(sizes):
    """Return the norm of a partition into blocks that follow each other, and its dual."""

    def norm(s):
        return max(part.square().mean().sqrt() for part in s.split(sizes))

    def dual(g):
        return sum(math.sqrt(len(part)) * torch.linalg.vector_norm(part) for part in g.split(sizes))

    return norm, dual


def lengths(p):
    return lambda z: torch.linalg.vector_norm(z, p)


NORMS = {
    "ℓ∞": (lengths(math.inf), lengths(1)),
    "ℓ2": (lengths(2), lengths(2)),
    "ℓ1": (lengths(1), lengths(math.inf)),
    "blocks {1, 2} and {3}": blocks([2, 1]),
    "one block {1, 2, 3}": blocks([3]),
}


def facts(v):
    """Return the dual norm, its derivative, and each rule's first step with its share."""
    norm, dual = NORMS[v["norm"]]
    g = torch.tensor([*v["g"], v["third"]], dtype=torch.float64, requires_grad=True)
    size = dual(g)
    (u,) = torch.autograd.grad(size, g)
    steps, shares = {}, {}
    for name, (rule, options) in RULES.items():
        x = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        x.grad = g.detach().clone()
        rule([x], lr=1.0, **options).step()
        s = x.detach() / (norm(x.detach()) or 1)
        steps[name], shares[name] = s, -(g @ s).item() / (size.item() or 1)
    return g.detach(), size.item(), u, steps, shares


def expected(v, data):
    g, size, u, steps, shares = facts(v)
    wanted = {
        "r.size": size,
        "-r.g.reduce((sum, z, i) => sum + z * r.way[i], 0)": size,
        **{f"r.steps.{name}": s.tolist() for name, s in steps.items()},
        **{f"r.shares.{name}": z for name, z in shares.items()},
    }
    tied = v["norm"] == "ℓ1" and (g.abs() == g.abs().max()).sum() > 1
    if size and not tied:
        wanted["r.way"] = (-u.nan_to_num()).tolist()
    many = {"ℓ1": tied, "ℓ2": size == 0, "ℓ∞": bool((g == 0).any())}
    if v["norm"] in many:
        wanted["Number(r.others)"] = float(many[v["norm"]])
    return wanted


def said(v, data):
    g, size, _, _, shares = facts(v)
    if not size:
        return [0.0]
    return [*g.tolist(), size, *(100 * z for z in shares.values())]
