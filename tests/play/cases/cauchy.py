"""Cauchy probes: the package's own estimators on the products that the figure draws."""

from functools import cache

import numpy as np
import torch

from companion.hessian import Dense, cauchy_median, geometric_mean, median_factor
from companion.play import Draws

PICTURE = "book/geometry/03_estimators.html"
SETTINGS = [
    {"step": 11},
    {"step": 4, "seed": 3},
    {"matrix": "diagonal, rows as heavy", "step": 11, "seed": 1},
    {"matrix": "all entries equal"},
    {"step": 2},  # too few
]
MOST, TRIALS = 30, 64
COUNTS = range(3, MOST + 1)


def _softmax(classes=10, samples=40):
    """Return the Hessian of a mean cross-entropy in the biases of its classes."""
    p = torch.softmax(torch.from_numpy(Draws(5).normal((samples, classes))), 1)
    return torch.diag(p.mean(0)) - p.T @ p / samples


DATA = {"H": _softmax().tolist(), "factors": [median_factor(n) for n in COUNTS]}


class Given(Dense):
    """An operator whose products are given, whatever is asked: the rows of all trials at once."""

    def __init__(self, products):
        super().__init__(torch.zeros(1, 1, dtype=torch.float64))
        self.d, self.products = len(products), products

    def matmat(self, V):
        k = V.shape[1]
        first, self.products = self.products[:, :k], self.products[:, k:]
        return first


@cache
def measured(matrix, seed, H):
    """Return the norm, the sketches, and kind → value and error, (trials, n) each."""
    H = torch.tensor(H, dtype=torch.float64)
    rows = H.abs().sum(1)
    if matrix.startswith("diagonal"):
        H = torch.diag(rows)
    elif matrix.startswith("all"):
        H = torch.full_like(H, float(rows.sum()) / H.numel())
    d, norm = len(H), H.abs().sum()
    u = torch.from_numpy(Draws(seed).uniform((TRIALS, MOST, d)))
    X = torch.einsum("ij,tkj->tik", H, (np.pi * (u - 0.5)).tan())  # (trials, rows, probes)
    kinds = {
        "median": cauchy_median,
        "corrected": lambda *a, **o: cauchy_median(*a, corrected=True, **o),
        "geometric": geometric_mean,
    }
    found = {}
    for kind, method in kinds.items():
        each = [method(Given(X.flatten(0, 1)), n, partition=TRIALS)[:2] for n in COUNTS]
        found[kind] = [torch.stack(z, 1) for z in zip(*each, strict=True)]
    return norm, X[0].abs().sum(0), found


def results(v, data):
    return measured(v["matrix"], v["seed"], tuple(map(tuple, data["H"])))


def expected(v, data):
    norm, sketches, found = results(v, data)
    wanted = {"r.norm": norm, "r.one.sketches": sketches}
    for kind, (value, error) in found.items():
        wanted[f"r.one.{kind}"] = torch.stack([value[0], error[0]], 1)
        twice = 2 * (value / norm).std(0) / TRIALS**0.5
        summary = torch.stack([value.mean(0) / norm, twice], 1)
        wanted[f"r.all.{kind}.map((z) => z.slice(0, 2))"] = summary
        if kind != "corrected":
            held = ((value - norm).abs() <= 1.96 * error).sum(0)
            wanted[f"r.all.{kind}.map((z) => z[2])"] = held
    return wanted


def said(v, data):
    n = v["step"]
    if n < 3:
        return [n, 3]
    norm, _, found = results(v, data)
    (median, error), (geometric, spread) = found["median"], found["geometric"]
    pairs = [float(z[0, n - 3]) for both in found.values() for z in both]
    held = [
        int(((value - norm).abs() <= 1.96 * e)[:, n - 3].sum())
        for value, e in ((median, error), (geometric, spread))
    ]
    means = [float(z[:, n - 3].mean() / norm) for z in (median, geometric)]
    return [n, float(norm), *pairs, TRIALS, means[0], median_factor(n), means[1], *held]
