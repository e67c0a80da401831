"""Checks of the exercises of the chapter on rotated losses."""

import math

import torch

from companion.checks import check, expect


def _turn(theta: float) -> torch.Tensor:
    c, s = math.cos(theta), math.sin(theta)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


@check
def check_rotated_gradient(rotated_gradient):
    """Exercise 1: the gradient of L∘R at x, ``rotated_gradient(grad, Q, x)``."""
    H = torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64))
    x = torch.tensor([2.0, 1.0], dtype=torch.float64)
    for theta in (0.0, 0.3, math.pi / 2):
        Q = _turn(theta)
        expect(
            rotated_gradient(lambda z: H @ z, Q, x),
            Q.T @ H @ Q @ x,
            hint="evaluate grad at Q x, then use the chain rule: which of Q and Qᵀ comes out?",
            what=f"a quadratic, turned by {theta:.1f}",
        )


@check
def check_commutes(commutes_with_sign):
    """Exercise 2: whether SignSGD is equivariant under Q, ``commutes_with_sign(Q)``."""
    signed = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    half = torch.full((4, 4), 0.5) - torch.eye(4)  # orthogonal; sends (1, 1, 1, 1) to itself
    cases = [
        ("the identity", torch.eye(3), True),
        ("a permutation", torch.eye(3)[[2, 0, 1]], True),
        ("a permutation with signs", signed, True),
        ("a turn by 45 degrees", _turn(math.pi / 4), False),
        ("a turn of two of three axes", torch.block_diag(torch.eye(1), _turn(0.5).float()), False),
        ("a reflection with entries ±1/2", half, False),
    ]
    hint = "a signed permutation has one entry other than zero in each row; rounding aside"
    for what, Q, answer in cases:
        got = commutes_with_sign(Q.double())
        got = bool(got) if isinstance(got, torch.Tensor) and got.numel() == 1 else got
        expect(got, answer, hint=hint, what=what)


@check
def check_kronecker(kronecker_product):
    """Exercise 3: (Q₁ ⊗ Q₂ ⊗ Q₃) x without the large matrix, ``kronecker_product(Qs, x)``."""
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.float64}
    for sizes in ((2, 2, 2), (3, 1, 2)):
        Qs = [torch.linalg.qr(torch.randn(k, k, **options))[0] for k in sizes]
        x = torch.randn(math.prod(sizes), **options)
        whole = torch.kron(torch.kron(Qs[0], Qs[1]), Qs[2])
        expect(
            kronecker_product(Qs, x),
            whole @ x,
            hint="view x as (d₁, d₂, d₃); y[a, b, c] = Σ Q₁[a, i] Q₂[b, j] Q₃[c, k] x[i, j, k]",
            what=f"sizes {sizes}",
        )


@check
def check_turned_norm(turned_norm):
    """Exercise 4: Σ|H'_ij| of diag(1, κ) turned by θ, ``turned_norm(kappa, theta)``."""
    for kappa, theta in ((1.0, 0.7), (9.0, 0.0), (9.0, math.pi / 4), (25.0, 2.0), (4.0, -0.3)):
        Q = _turn(theta)
        H = Q.T @ torch.diag(torch.tensor([1.0, kappa], dtype=torch.float64)) @ Q
        expect(
            turned_norm(kappa, theta),
            H.abs().sum().item(),
            hint="the diagonal adds up to the trace; the other two entries are (κ - 1) sin θ cos θ",
            what=f"κ = {kappa:g}, θ = {theta:.1f}",
        )
