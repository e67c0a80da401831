"""Matrices with known norms, eigenvalues and traces, and a small network."""

import math

import torch

from companion.hessian import (
    LinearOperator,
    diagonal,
    extreme_eigenvalues,
    frobenius_norm,
    hutchpp,
    norm11,
    norm_inf_1,
    smoothness_bracket,
    spectral_norm,
    spectrum,
    trace,
    uniform_rows,
)
from companion.hessian.norms import METHODS
from companion.models import MLP
from companion.rotation import haar


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def symmetric(d, seed=0):
    a = normal(d, d, seed=seed)
    return a + a.T


def section_4_1(d):
    """Return the spectrum of §4.1, ten ones and 1/k², in a Haar-random basis."""
    spectrum = torch.cat([torch.ones(10), 1 / torch.arange(1, d - 9) ** 2]).double()
    q = haar(d, dtype=torch.float64).dense()
    return (q * spectrum) @ q.T


def random_sign(d):
    s = normal(d, d).sign().triu(1)
    return s + s.T + torch.eye(d).double()


def zero_rows(d):
    h = symmetric(d)
    h[: d // 3] = h[:, : d // 3] = 0
    return h


def arrow(d):
    """Return one dense row and column: row 2-norms tell nothing about the other rows."""
    h = torch.zeros(d, d).double()
    h[0] = h[:, 0] = 1
    return h


def uneven(d):
    """Return few dense rows among many sparse ones, all of the same 2-norm."""
    h = torch.eye(d).double()
    h[:20, :20] = random_sign(20) / math.sqrt(20)
    return h


def rotated(values, seed=5):
    """Return the symmetric matrix of given eigenvalues in a random basis."""
    Q = torch.linalg.qr(normal(len(values), len(values), seed=seed)).Q
    return (Q * torch.tensor(values, dtype=torch.float64)) @ Q.T


def rank_one(d=12):
    u = normal(d, seed=6)
    return torch.outer(u, u)


def kronecker():
    return torch.kron(
        rotated([1.0, 2.0, 3.0, 4.0, 5.0]), rotated([2.0, -1.0, 1.5, 1.0, 0.8], seed=7)
    )


EIGEN = {
    "rank one": rank_one(),
    "kronecker": kronecker(),
    "decay": rotated([1 / k**2 for k in range(1, 21)]),
    "indefinite": rotated([-4.0, -1.0, 0.0, 0.5, 1.0, 2.0, 2.0, 8.0]),
}


u = normal(150, seed=1)
a, b = symmetric(12, seed=2), symmetric(15, seed=3)
ORACLES = {  # matrix and its (1,1)-norm in closed form, or the definition where there is none
    "diagonal": (torch.diag(u), u.abs().sum()),
    "rank one": (torch.outer(u, u), u.abs().sum() ** 2),
    "Kronecker": (torch.kron(a, b), a.abs().sum() * b.abs().sum()),
    "random sign": (random_sign(150), torch.tensor(150.0**2)),
    "zero rows": (zero_rows(150), zero_rows(150).abs().sum()),
    "arrow": (arrow(150), torch.tensor(2.0 * 150 - 1)),
    "uneven": (uneven(300), torch.tensor(280 + 20 * math.sqrt(20))),
}


class Copies(LinearOperator):
    """Many copies of one matrix on a diagonal: independent repetitions in one product."""

    def __init__(self, matrix, copies):
        super().__init__(len(matrix) * copies, matrix.dtype, matrix.device)
        self.matrix, self.copies = matrix, copies

    def matmat(self, V):
        blocks = V.reshape(self.copies, len(self.matrix), -1)
        return (self.matrix @ blocks).reshape(V.shape)


def network(sizes=(6, 12, 3)):
    torch.manual_seed(0)
    model = MLP(sizes, activation="tanh").double()
    return model, torch.nn.functional.cross_entropy, (normal(40, sizes[0]), torch.arange(40) % 3)


class Diagonal(LinearOperator):
    """A diagonal matrix that is not stored."""

    def __init__(self, values):
        super().__init__(len(values), values.dtype, values.device)
        self.values = values

    def matmat(self, V):
        return self.values.unsqueeze(1) * V


ESTIMATORS = {  # with some eighty products each; each gives a tuple of a value and an error
    "trace": lambda op, **o: trace(op, products=40, **o),
    "diagonal": lambda op, **o: diagonal(op, products=40, **o),
    "frobenius norm": lambda op, **o: frobenius_norm(op, products=40, **o),
    "hutch++": lambda op, **o: hutchpp(op, products=81, **o),
    "hutch++, exact": lambda op, **o: hutchpp(op, products=300, **o),
    "spectral norm": spectral_norm,
    "eigenvalues": lambda op, **o: extreme_eigenvalues(op, **o)[1],
    "spectrum": lambda op, **o: spectrum(op, probes=4, steps=20, **o).mean(lambda t: t),
    "norm11": lambda op, **o: norm11(op, **o),
    "norm11, budget": lambda op, **o: norm11(op, products=30, **o),
    "norm ∞→1": norm_inf_1,
    "bracket": smoothness_bracket,
    **{
        k: lambda op, f=f, **o: f(op, products=min(40, op.d) if f is uniform_rows else 40, **o)
        for k, f in METHODS.items()
    },
}
