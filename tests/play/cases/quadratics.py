"""A quadratic that is turned: its norms, and the losses of the package's own runs."""

import itertools
import math

import torch

from companion.hessian import Dense, smoothness_bracket
from companion.optim import Adam, AdaSGD
from companion.play import Draws
from companion.problems import Quadratic
from companion.simulate import trajectory

PICTURE = "book/geometry/04_quadratics.html"
D, STARTS, STEPS = 8, 4, 100
ANGLES = torch.linspace(0, 1.5, 31, dtype=torch.float64)
K = torch.arange(1, D + 1, dtype=torch.float64)
SPECTRA = {
    "five ones, then 1/k²": torch.cat([torch.ones(4), K[:-4] ** -2]),
    "1/k²": K**-2,
    "1/k": 1 / K,
    "1/√k": K**-0.5,
    "two ones, then 0.01": torch.tensor([1.0, 1.0, *6 * [0.01]], dtype=torch.float64),
    "all equal": torch.ones(D, dtype=torch.float64),
}
BETAS = {"(0, 0)": (0.0, 0.0), "(0.9, 0.99)": (0.9, 0.99)}
LRS = {
    "(0, 0)": torch.logspace(-2.25, -1.25, 5, dtype=torch.float64),
    "(0.9, 0.99)": torch.logspace(-1.25, 0, 6, dtype=torch.float64),
}
SETTINGS = [
    {},
    {"t": 0},
    {"t": 1.35, "spectrum": "five ones, then 1/k²", "seed": 2},
    {"t": 0.1, "spectrum": "1/k", "beta": "(0.9, 0.99)", "tuned": False},
    {"t": 1.5, "spectrum": "all equal", "tuned": False, "lr": 1.0},
    {"t": 0.7, "spectrum": "1/√k", "beta": "(0.9, 0.99)", "seed": 5},
]
SIGNS = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=D)), dtype=torch.float64)


class Turned:
    """The loss at one rotation, with its starts."""

    def __init__(self, v, angle):
        draws = Draws(v["seed"])
        M, x = (torch.from_numpy(draws.normal((n, D))) for n in (D, STARTS))
        R = torch.linalg.matrix_exp(angle / math.sqrt(D) * (M - M.T))
        self.f, self.x0 = Quadratic(SPECTRA[v["spectrum"]], R.T), x @ R
        self.H = self.f.hessian

    def loss(self, rule, v):
        """Return the smallest mean loss over the step sizes tried, and its step size."""
        lr = LRS[v["beta"]] if v["tuned"] else torch.tensor([v["lr"]], dtype=torch.float64)
        options = {"lr": lr.view(-1, 1, 1), "betas": BETAS[v["beta"]], "eps": 1e-8, "every": STEPS}
        x = trajectory(rule, self.f.grad, self.x0, STEPS, **options)[-1]
        losses = self.f.loss(x).mean(-1)
        return losses.min().item(), lr[losses.argmin()].item()

    def norms(self):
        """Return ‖H‖₂, the (1,1)-norm and that from ℓ∞ to ℓ1; the two last per coordinate."""
        signs = (SIGNS @ self.H).abs().sum(-1).max()
        return [torch.linalg.matrix_norm(self.H, 2), self.H.abs().sum() / D, signs / D]


def bracket(H):
    """Return bounds of Λ/d, a little wider than the package's."""
    found = smoothness_bracket(Dense(H), rtol=1e-5)
    return [found.lower.item() * 0.9999 / D, found.upper.item() / D]


def expected(v, data):
    now = Turned(v, v["t"])
    few = [0, 17, 30]
    curve = [Turned(v, ANGLES[i]) for i in few]
    low, high = bracket(now.H)
    return {
        "r.H": now.H,
        "[r.now.two, r.now.one, r.now.signs]": now.norms(),
        f"r.now.lambda >= {low} && r.now.lambda <= {high}": True,
        "[r.adam.loss, r.adam.lr]": now.loss(Adam, v),
        "[r.adasgd.loss, r.adasgd.lr]": Turned(v, 0).loss(AdaSGD, v),
        f"{few}.map((i) => r.losses[i])": [z.loss(Adam, v)[0] for z in curve],
        f"{few}.map((i) => r.norms[i].one)": [z.norms()[1] for z in curve],
        f"{few}.map((i) => r.norms[i].signs)": [z.norms()[2] for z in curve],
    }


def said(v, data):
    now = Turned(v, v["t"])
    two, one, signs = (z.item() for z in now.norms())
    return [
        v["t"], two, one, sum(bracket(now.H)) / 2, signs, STEPS,
        *now.loss(Adam, v), *Turned(v, 0).loss(AdaSGD, v),
    ]  # fmt: skip
