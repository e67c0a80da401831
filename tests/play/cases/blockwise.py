"""A partition: its constant, what is left of the condition number, and the package's own runs."""

import math

import torch

from companion.hessian import Dense, smoothness_bracket
from companion.optim import BlockwiseAdam
from companion.play import Draws
from companion.problems import Quadratic
from companion.simulate import trajectory

PICTURE = "book/geometry/06_blockwise.html"
D, STEPS, OLD = 12, 200, 3
LRS = torch.logspace(-1, 0.25, 6, dtype=torch.float64)
OWN = torch.arange(D) // 3
PRESETS = {
    "one block: AdaSGD": torch.zeros(D, dtype=int),
    "each its own: Adam": torch.arange(D),
    "the Hessian's four": OWN,
    "two halves": torch.arange(D) // 6,
    "four, mixed": torch.tensor([0, 1, 1, 2, 2, 3, 0, 2, 1, 1, 1, 3]),
    "four, shuffled": torch.arange(D) % 4,
}
MINE = [0, 5, 5, 2, 2, 0, 0, 2, 3, 3, 3, 3]
SETTINGS = [
    {},
    {"partition": "four, mixed"},
    {"partition": "painted", "labels": MINE, "ratio": 3.0},
    {"partition": "two halves", "mix": 0.3},
    {"partition": "each its own: Adam", "ratio": 20.0, "mix": 1.0},
]


def problem(v):
    """Return the quadratic and its starts."""
    M = torch.from_numpy(Draws(0).normal((D, D)))
    A, inside = M - M.T, OWN[:, None] == OWN
    within = torch.linalg.matrix_exp(A * inside)
    across = torch.linalg.matrix_exp(v["mix"] / math.sqrt(D) * A * ~inside)
    scales = torch.tensor(4 * [1.0, 0.65, 0.3], dtype=torch.float64) * v["ratio"] ** -OWN.double()
    f = Quadratic(scales, (within @ across).T)
    x = torch.from_numpy(Draws(0, 1).normal((8, D)))
    return f, x / f.loss(x).sqrt().unsqueeze(-1)


def runs(f, x0, labels, lr):
    """Return losses by step, (steps / 4 + 1, ..., starts)."""
    x = trajectory(
        BlockwiseAdam, f.grad, x0, STEPS, partition=lambda p, name=None: labels, every=4,
        betas=(0.9, 0.99), eps=1e-12, lr=lambda t: lr * (1 - (t - 1) / STEPS),
    )  # fmt: skip
    return f.loss(x)


def measured(v, labels):
    """Return blocks, bounds of Λ/d, κ, the step size, and the curve of median losses."""
    f, x0 = problem(v)
    labels = labels.unique(return_inverse=True)[1]
    bracket = smoothness_bracket(Dense(f.hessian), labels, rtol=1e-5)
    last = runs(f, x0[:OLD], labels, LRS.view(-1, 1, 1))[-1]
    lr = LRS[last.log().mean(-1).argmin()]
    curve = runs(f, x0[OLD:], labels, lr).median(-1).values
    blocks = [f.hessian[labels == b][:, labels == b] for b in range(int(labels.max()) + 1)]
    h = torch.stack([torch.linalg.matrix_norm(block, 2) for block in blocks])[labels]
    kappa = torch.linalg.cond(f.hessian / (h[:, None] * h).sqrt())
    low, high = bracket.lower.item() / D * (1 - 1e-4), bracket.upper.item() / D
    return len(blocks), (low, high), kappa.item(), lr.item(), curve


def chosen(v):
    return torch.tensor(v["labels"]) if v["partition"] == "painted" else PRESETS[v["partition"]]


def expected(v, data):
    blocks, (low, high), kappa, lr, curve = measured(v, chosen(v))
    adasgd = measured(v, PRESETS["one block: AdaSGD"])[-1]
    return {
        "r.H": problem(v)[0].hessian,
        "[r.own.blocks, r.own.kappa, r.own.lr]": [blocks, kappa, lr],
        f"r.own.lambda >= {low} && r.own.lambda <= {high}": True,
        "r.own.curve": curve,
        "r.refs['one block: AdaSGD'].curve": adasgd,
    }


def said(v, data):
    found = []
    for labels in (chosen(v), PRESETS["one block: AdaSGD"], PRESETS["each its own: Adam"]):
        blocks, bounds, kappa, lr, curve = measured(v, labels)
        constant, loss = sum(bounds) / 2, curve[-1].item()
        found += [loss, constant] if found else [blocks, constant, kappa, STEPS, loss, lr]
    return found
