"""The damping diagram: roots by eigenvalues of the step's matrix, runs by the package's own."""

import numpy as np
import torch

from companion.optim import SGD
from companion.simulate import trajectory
from companion.theory import momentum_limit
from tests.play.cases import once

PICTURE = "book/foundations/02_momentum.html"
SETTINGS = [
    {},
    {"at": [0.1, 0.2]},  # creeps
    {"at": [1.9, 0.05]},  # flips its sign
    {"at": [3.5, 0.2], "shown": 400},  # diverges
    {"at": [0.5, 0.9], "method": "Nesterov"},
    {"at": [1.3, 0.9], "method": "Nesterov"},
    {"at": [1.6, 0.9], "method": "Nesterov"},  # diverges, where the heavy ball is stable
    {"at": [2.86, 0.48], "kappa": 30.0},
    {"at": [1.05, 0.7], "kappa": 30.0, "method": "Nesterov"},
]
STEPS = 400


def matrix(a, mu, nesterov):
    """Return what takes (x, m) to the next pair, from the chapter's rules."""
    # m ← μ m + a x; x ← x - m, or x - (a x + μ m) of the new m; everything in units of η
    ahead = [[1 - a - mu * a, -mu * mu], [a, mu]]
    return np.array(ahead if nesterov else [[1 - a, -mu], [a, mu]])


def eigenvalues(v):
    (a, mu), nesterov = v["at"], v["method"] == "Nesterov"
    shares = [1.0] if v["kappa"] == 1 else [1.0, 1 / v["kappa"]]
    return [np.linalg.eigvals(matrix(a * z, mu, nesterov)) for z in shares], shares


@once
def run(v):
    (lr, mu), nesterov = v["at"], v["method"] == "Nesterov"
    shares = torch.tensor(eigenvalues(v)[1], dtype=torch.float64)
    x0 = torch.ones(len(shares), dtype=torch.float64)
    options = {"lr": lr, "momentum": mu, "nesterov": nesterov}
    return trajectory(SGD, lambda x: shares * x, x0, STEPS, **options)


def arrives(v):
    far = (run(v).abs().amax(-1) > 1e-3).nonzero()
    return far[-1].item() + 1


def expected(v, data):
    pairs, _ = eigenvalues(v)
    mus, grid = np.linspace(0.0049, 0.9751, 100), np.linspace(0.0125, 3.9875, 160)
    nesterov = v["method"] == "Nesterov"
    rates = np.array([abs(np.linalg.eigvals(matrix(a, mus[70], nesterov))).max() for a in grid])
    rates[grid >= momentum_limit(mus[70], nesterov)] = np.nan
    return {
        "r.pairs.map((p) => Math.min(...p.map((z) => z[0])))": [p.real.min() for p in pairs],
        "r.pairs.map((p) => Math.max(...p.map((z) => z[1])))": [p.imag.max() for p in pairs],
        "r.rates": [abs(p).max() for p in pairs],
        "r.rho": max(abs(p).max() for p in pairs),
        "r.way.slice(0, 101)": run(v)[:101],
        "r.arrives": arrives(v),
        "r.limit": momentum_limit(v["at"][1], nesterov),
        "figure.map(v)[70]": rates,
    }


def said(v, data):
    (a, mu), nesterov = v["at"], v["method"] == "Nesterov"
    pairs, shares = eigenvalues(v)
    numbers = [mu]
    for pair, share in zip(pairs, shares, strict=True):
        first = pair[abs(pair).argmax()]
        second = abs(first.imag) or pair[abs(pair).argmin()].real
        numbers += [a * share, first.real, second, abs(first)]
    if arrives(v) <= STEPS:
        numbers.append(arrives(v))
    elif max(abs(p).max() for p in pairs) < 1:
        numbers.append(STEPS)
    else:
        numbers.append(np.inf)
    return [*numbers, momentum_limit(mu, nesterov)]
