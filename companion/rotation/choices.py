r"""Operators to choose from: uniform, large, by scope, or made of singular vectors.

Random ones are drawn in float64 on the CPU: a seed means the same operator everywhere, up to
rounding.
"""

import math

import torch
from torch import Tensor

from companion.arguments import whole
from companion.rotation.operators import (
    Blocks,
    Composed,
    Identity,
    Kronecker,
    Permutation,
    Rotation,
    check_matrix,
)
from companion.rotation.vectors import describe, listed


def matrix(Q: Tensor) -> Rotation:
    """Return the operator of an orthogonal matrix, of shape (d, d)."""
    return Kronecker([Q])


def haar(d: int, seed: int = 0, *, dtype=None, device=None) -> Rotation:
    """Return a uniformly random orthogonal operator, for small d.

    The factor Q of a normal matrix M = QR, its columns multiplied by the signs of R's diagonal:
    without them the factorisation's own convention, not the uniform law, would decide.

    Parameters
    ----------
    d : int
        Length of the vectors, at most 20,000.
    seed : int, default 0
        Of the matrix. Half of them are rotations proper, half have a determinant of -1.
    dtype, device : optional
        Of the stored matrix; torch's default.

    Notes
    -----
    Cost: about 2 d³ operations once, d² multiplications a product, d² numbers. Source: Mezzadri,
    "How to generate random matrices from the classical compact groups", 2007.

    Examples
    --------
    >>> R = haar(3, seed=1, dtype=torch.float64)
    >>> x = torch.tensor([2.0, 3.0, 6.0], dtype=torch.float64)
    >>> round(R(x).norm().item(), 12)
    7.0
    """
    return matrix(_haar(d, _generator(seed)).to(device, dtype or torch.get_default_dtype()))


def skew(d: int, seed: int = 0) -> Tensor:
    """Return A = M - Mᵀ for a standard normal M: skew-symmetric, of shape (d, d), float64."""
    check_matrix("d", d)
    M = torch.randn(d, d, dtype=torch.float64, generator=_generator(seed))
    return M - M.T


def exponential(A: Tensor, t: float = 1.0, *, dtype=None) -> Rotation:
    """Return exp(tA): from the identity at t = 0 further and further away from it.

    Parameters
    ----------
    A : Tensor
        Skew-symmetric, of shape (d, d), such as ``skew(d)``: a direction in which to rotate.
    t : float
        How far: planes turn by angles of up to about 2t√(2d) if A is ``skew(d)``.
    dtype : optional
        Of the stored matrix; that of A. The exponential itself is taken in float64.

    Notes
    -----
    Cost: some 20 products of matrices, once; then as `haar`.

    For d ≥ 3 and A = ``skew(d)`` it does not become uniformly random as t → ∞: its angles become
    independent, without the repulsion that those of `haar` have, and E (tr R)² → d, not 1. The
    (1,1)-norm of a rotated Hessian is nearly that of a uniformly random rotation all the same.

    Examples
    --------
    >>> A = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> exponential(A, torch.pi / 2)(torch.tensor([1.0, 0.0])).round(decimals=6).tolist()
    [0.0, 1.0]
    """
    if not isinstance(A, Tensor) or A.dim() != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(f"A: expected a square matrix, got {describe(A)}")
    if not A.is_floating_point() or not torch.equal(A, -A.T):
        raise ValueError("A: expected a real skew-symmetric matrix, A = -Aᵀ, free of NaN")
    if not math.isfinite(t):
        raise ValueError(f"t: expected a finite number, got {t!r}")
    Q = torch.linalg.matrix_exp(float(t) * A.double())
    Q = Q @ (1.5 * torch.eye(len(Q)).to(Q) - 0.5 * (Q.T @ Q))  # squares its rounding error away
    return matrix(Q.to(dtype or A.dtype))


def chain(d: int, seed: int = 0, *, rounds: int = 2, dtype=None, device=None) -> Rotation:
    """Return a random orthogonal operator for vectors of millions of numbers.

    Each round shuffles the vector, writes it as an array of shape (d₁, d₂, d₃), multiplies every
    axis by a small uniformly random orthogonal matrix, and flattens it. The sizes are the most
    equal ones whose product n ≤ d leaves out fewest entries; these wait for the next round.

    Parameters
    ----------
    d : int
        Length of the vectors.
    seed : int, default 0
    rounds : int, default 2
        In one round an entry meets all others already; a second one mixes better. The result is
        not uniform among all rotations: it has some d^{2/3} free angles instead of d²/2.
    dtype, device : optional
        Of the stored matrices; torch's default.

    Notes
    -----
    Cost of a product: d (d₁ + d₂ + d₃) multiplications a round, about 3 d^{4/3}. Memory: two
    permutations of d integers a round (16 d bytes), matrices of 3 d^{2/3} numbers, and one copy of
    the vector. Source: the released code of Xie, Mohamadi and Li (2024) composes two rounds too.

    Examples
    --------
    >>> R = chain(1_000_003, seed=0)  # a prime number
    >>> R.error() < 1e-5
    True
    """
    return _chain(d, _generator(seed), rounds, dtype or torch.get_default_dtype(), device)


def layer_wise(params, seed: int = 0) -> Rotation:
    """Return a `chain` for each parameter on its own: tensors are rotated apart.

    Parameters
    ----------
    params : iterable of Tensor
        As ``model.parameters()``; their shapes, dtype and device are used.
    seed : int, default 0
    """
    generator = _generator(seed)
    return Blocks(_chain(p.numel(), generator, 2, p.dtype, p.device) for p in listed(params))


def output_wise(params, seed: int = 0) -> Rotation:
    r"""Return W ↦ W Qᵀ for each weight: the weights that lead to one output are mixed.

    Parameters
    ----------
    params : iterable of Tensor
        Weights of shape (outputs, ...), seen as matrices (outputs, n), each with its own uniformly
        random Q of n rows; vectors and scalars are left alone.
    seed : int, default 0

    Notes
    -----
    Cost: n multiplications an entry; memory n² a weight. Source: Maes et al. (2024).

    Examples
    --------
    >>> R = output_wise([torch.zeros(4, 3), torch.zeros(4)])
    >>> R.d, R.parts
    (16, (Kronecker(d=12), Identity(d=4)))
    """
    generator = _generator(seed)
    return _matrices(params, lambda p, m, n: [m, _haar(n, generator).to(p)])


def input_wise(params, seed: int = 0) -> Rotation:
    """Return W ↦ Q W for each weight: the weights that lead from one input are mixed.

    As `output_wise`, on the other side; for convolutions an input is a channel at one offset.
    """
    generator = _generator(seed)
    return _matrices(params, lambda p, m, n: [_haar(m, generator).to(p), n])


def svd(matrices) -> Rotation:
    r"""Return the operator of the singular bases: x' is a weight W' with W = U W' Vᵀ.

    Parameters
    ----------
    matrices : iterable of Tensor
        One a parameter, in order, such as its gradient G = U Σ Vᵀ or itself: (outputs, ...), seen
        as (outputs, n). In the new coordinates it is diagonal. Vectors are left alone.

    Notes
    -----
    Cost: a full singular value decomposition each, in float64; memory outputs² + n² numbers.
    Source: Maes et al. (2024).

    Examples
    --------
    >>> G = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    >>> svd([G]).T(G.flatten()).view(2, 2).abs().tolist()
    [[2.0, 0.0], [0.0, 1.0]]
    """

    def factors(p, m, n):
        check_matrix("matrices", max(m, n))
        if not torch.isfinite(p).all():
            raise ValueError("matrices: expected finite numbers, got NaN or infinity")
        U, _, Vt = torch.linalg.svd(p.detach().reshape(m, n).double(), full_matrices=True)
        return [U.to(p), Vt.T.to(p)]

    return _matrices(matrices, factors)


def _haar(d: int, generator) -> Tensor:
    check_matrix("d", d)
    Q, R = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=generator))
    return Q * R.diagonal().sign()


def _chain(d, generator, rounds, dtype, device) -> Rotation:
    sizes = _three_factors(whole("d", d, 1))
    steps = []
    for _ in range(whole("rounds", rounds, 1)):
        order = torch.randperm(d, generator=generator).to(device)
        factors = [_haar(k, generator).to(device, dtype) for k in sizes]
        steps = [Kronecker(factors, d), Permutation(order), *steps]
    return Composed(steps)


def _three_factors(d: int) -> tuple[int, int, int]:
    """Return three near-equal sizes whose product is at most d and nearly d."""
    root = d ** (1 / 3)
    near = torch.arange(max(1, int(0.7 * root)), int(1.3 * root) + 2)
    third = d // (near[:, None] * near)  # what is left for the third axis
    used = near[:, None] * near * third
    uneven = (near[:, None] - root) ** 2 + (near - root) ** 2 + (third - root) ** 2
    best = (used - 0.1 * uneven.double() / root**2).flatten().argmax()
    i, j = divmod(int(best), len(near))
    return int(near[i]), int(near[j]), int(third[i, j])


def _matrices(params, factors) -> Rotation:
    """Return Blocks of one Kronecker product a parameter, seen as a matrix (m, n)."""
    blocks = []
    for p in listed(params):
        if p.dim() < 2:
            blocks.append(Identity(p.numel()))
        else:
            blocks.append(Kronecker(factors(p, len(p), p.numel() // len(p))))
    return Blocks(blocks)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(whole("seed", seed))
