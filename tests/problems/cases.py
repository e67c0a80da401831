"""Smooth problems, and numbers to evaluate them at."""

import torch

from companion.problems import LeastSquares, Quadratic, SparseLogistic

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rotated(d):
    rotation = torch.linalg.qr(normal(d, d, seed=1)).Q
    return Quadratic([1.0, 3.0, 10.0][:d], rotation, normal(d, seed=2))


PROBLEMS = {
    "quadratic": (Quadratic([1.0, 4.0]), 2),
    "rotated quadratic": (rotated(3), 3),
    "least squares": (LeastSquares.random(n=12, d=3, kappa=10, noise=0.5, seed=0), 3),
    "sparse logistic": (SparseLogistic(n=40, d=5, power=1.0, seed=0), 5),
}
