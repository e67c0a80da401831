"""Guarantees: smoothness constants and dual norms by torch, the steps by the package's rules."""

import math

import torch

from companion.optim import SGD, SignSGD
from companion.problems import Quadratic
from companion.simulate import trajectory

PICTURE = "book/geometry/01_norms.html"
SETTINGS = [
    {},
    {"tilt": 0, "direction": [90, 0], "kappa": 30},
    {"tilt": 45, "direction": [135, 0], "kappa": 100},
    {"tilt": 70, "direction": [0, 0], "kappa": 2},
    {"kappa": 1, "direction": [45, 0]},
]


def ratios(v):
    """Return L₂, L∞ and, by direction, density, promised and true decreases (rule, direction)."""
    tilt = torch.tensor(math.radians(v["tilt"]), dtype=torch.float64)
    c, s = tilt.cos(), tilt.sin()
    f = Quadratic([1.0, v["kappa"]], torch.stack([c, -s, s, c]).view(2, 2))
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 2)
    L2 = torch.linalg.eigvalsh(f.hessian).max()
    L_inf = ((corners @ f.hessian) * corners).sum(-1).max()
    angle = torch.deg2rad(torch.arange(181, dtype=torch.float64))
    g = torch.stack([angle.cos(), angle.sin()], -1)
    g[g.abs() < 1e-12] = 0  # a rounded zero has a sign
    x = torch.linalg.solve(f.hessian, g.T).T
    g, x = (z / f.loss(x).sqrt().unsqueeze(-1) for z in (g, x))
    torch.testing.assert_close(f.grad(x), g)
    one, two = torch.linalg.vector_norm(g, 1, -1), torch.linalg.vector_norm(g, 2, -1)
    ends = [
        trajectory(SGD, lambda _: g, x, 1, lr=1 / L2.item())[1],
        trajectory(SignSGD, lambda _: g, x, 1, lr=(one / L_inf).unsqueeze(-1))[1],
    ]
    promised = torch.stack([two**2 / (2 * L2), one**2 / (2 * L_inf)])
    kept = 1 - torch.stack([f.loss(end) for end in ends])
    return L2, L_inf, one**2 / (2 * two**2), promised, kept


def expected(v, data):
    L2, L_inf, density, promised, kept = ratios(v)
    assert (kept >= promised - 1e-12).all()
    return {
        "r.L.SGD": L2.item(),
        "r.L.SignSGD": L_inf.item(),
        "r.all.map((z) => z.density)": density.tolist(),
        "r.all.map((z) => z.promised)": (promised[1] / promised[0]).tolist(),
        "r.all.map((z) => z.kept)": (kept[1] / kept[0]).tolist(),
        "r.all.map((z) => z.steps.SGD.promised)": promised[0].tolist(),
        "r.all.map((z) => z.steps.SignSGD.kept)": kept[1].tolist(),
    }


def said(v, data):
    at = v["direction"][0]
    L2, L_inf, density, promised, kept = ratios(v)
    (slow, sign), (first, second) = promised[:, at].tolist(), kept[:, at].tolist()
    numbers = [at, v["tilt"], L2.item(), L_inf.item(), density[at].item(), 1]
    return [*numbers, slow, first, sign, second, sign / slow, second / first]
