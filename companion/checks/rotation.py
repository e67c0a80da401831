"""Checks of the exercises of the chapter on rotated losses."""

import math

import torch

from companion.checks import against, double, product, symmetric


def _turn(theta: float) -> torch.Tensor:
    c, s = math.cos(theta), math.sin(theta)
    return double([[c, -s], [s, c]])


EYE, HESSIAN = torch.eye(3, dtype=torch.float64), double([[1.0, 0.0], [0.0, 3.0]])


@against(
    {
        f"a quadratic, turned by {theta:.1f}": (product(HESSIAN), _turn(theta), double([2.0, 1.0]))
        for theta in (0.0, 0.3, math.pi / 2)
    },
    hint="evaluate grad at Q x, then use the chain rule: which of Q and Qᵀ comes out?",
)
def check_rotated_gradient(grad, Q, x):
    """Exercise 1: the gradient of L∘R at x, ``rotated_gradient(grad, Q, x)``."""
    return Q.T @ HESSIAN @ Q @ x


@against(
    {
        "the identity": EYE,
        "a permutation": EYE[[2, 0, 1]],
        "a permutation with signs": double([[0, -1, 0], [1, 0, 0], [0, 0, -1]]),
        "a turn by 90 degrees, rounded": _turn(math.pi / 2),
        "a turn by 45 degrees": _turn(math.pi / 4),
        "a turn of two of three axes": torch.block_diag(EYE[:1, :1], _turn(0.5)),
        "a turn of two of three axes, by 0.001": torch.block_diag(EYE[:1, :1], _turn(0.001)),
        "a turn of two of three axes, by 1e-6": torch.block_diag(EYE[:1, :1], _turn(1e-6)),
        "a turn by 1e-6, then a permutation": torch.block_diag(EYE[:1, :1], _turn(1e-6))[[2, 0, 1]],
        # It sends (1, 1, 1, 1) to itself.
        "a reflection with entries ±1/2": 0.5 - torch.eye(4, dtype=torch.float64),
    },
    hint="a signed permutation has one entry other than zero in each row; rounding aside, which is "
    "of the size 1e-16; a turn by a small angle a has cos a = 1 - a²/2 but sin a = a",
)
def check_commutes(Q):
    """Exercise 2: whether SignSGD is equivariant under Q, ``commutes_with_sign(Q)``."""
    return bool(((Q.abs() > 1e-12).sum(1) == 1).all())


@against(
    {
        f"sizes {sizes}": (
            [torch.linalg.qr(symmetric(k, seed))[0] for seed, k in enumerate(sizes)],
            torch.arange(1.0, 1 + math.prod(sizes), dtype=torch.float64),
        )
        for sizes in ((2, 2, 2), (3, 1, 2))
    },
    hint="view x as (d₁, d₂, d₃); y[a, b, c] = Σ Q₁[a, i] Q₂[b, j] Q₃[c, k] x[i, j, k]",
)
def check_kronecker(Qs, x):
    """Exercise 3: (Q₁ ⊗ Q₂ ⊗ Q₃) x without the large matrix, ``kronecker_product(Qs, x)``."""
    return torch.kron(torch.kron(Qs[0], Qs[1]), Qs[2]) @ x


@against(
    [(1.0, 0.7), (9.0, 0.0), (9.0, math.pi / 4), (25.0, 2.0), (4.0, -0.3)],
    hint="the diagonal adds up to the trace; the other two entries are (κ - 1) sin θ cos θ",
)
def check_turned_norm(kappa, theta):
    """Exercise 4: Σ|H'_ij| of diag(1, κ) turned by θ, ``turned_norm(kappa, theta)``."""
    Q = _turn(theta)
    return (Q.T @ torch.diag(double([1.0, kappa])) @ Q).abs().sum()
