"""Checks of the exercises of the chapter on the four measures of smoothness."""

import torch

from companion.checks import against, double, symmetric

ORDER = "the first is at most the second, the second at most the third"
H = double([[2.0, -1.0, 0.0], [-1.0, 0.0, 3.0], [0.0, 3.0, -4.0]])
FLIPS = double([1.0, -1.0, 1.0, -1.0])
POSITIVE = double([[1, 2, 3, 1], [2, 1, 1, 4], [3, 1, 2, 1], [1, 4, 1, 5]])
STARTS = symmetric(6, 1)


@against(
    [double([1.0]), double([1.0, -2.0, 3.0]), double([0.0, 0.5, 0.0, -0.5, 4.0])],
    hint=dict.fromkeys(("‖H‖∞→1", "Λ", "‖H‖₁,₁", "d‖H‖₂"), ORDER),
)
def check_rank_one(u):
    """Exercise 1: the four numbers of u uᵀ, ``rank_one(u)``."""
    l1 = torch.outer(u, u).abs().sum()
    return l1, l1, l1, len(u) * u.square().sum()


@against(
    [(H, double(D)) for D in ([1.0, 1.0, 1.0], [3.0, 4.0, 7.0], [0.5, 2.0, 1.0])],
    hint="the largest absolute eigenvalue of D^(-1/2) H D^(-1/2), times the trace of D",
)
def check_certificate(H, D):
    """Exercise 2: the upper bound on Λ of a diagonal, ``certificate(H, D)``."""
    root = D.rsqrt().diag()
    return torch.linalg.eigvalsh(root @ H @ root).abs().max() * D.sum()


@against(
    {
        "u uᵀ": torch.outer(FLIPS * POSITIVE[2], FLIPS * POSITIVE[2]),
        "positive entries": POSITIVE,
        "positive entries, flipped": FLIPS[:, None] * POSITIVE * FLIPS,
        "one pair of another sign": POSITIVE - 10 * (POSITIVE == 4),
        "a negative diagonal": POSITIVE - 10 * torch.eye(4, dtype=torch.float64),
        "negative entries": -POSITIVE,
        "negative entries, flipped": -FLIPS[:, None] * POSITIVE * FLIPS,
        "a negative first entry": POSITIVE - 10 * torch.eye(4, dtype=torch.float64)[0].diag(),
    },
    hint="which coordinates must flip together with the first one, and may u be -v?",
)
def check_tight(H):
    """Exercise 3: whether ‖H‖∞→1 = ‖H‖₁,₁ for a matrix without zeros, ``tight(H)``."""
    u = torch.cartesian_prod(*[double([-1.0, 1.0])] * len(H))
    return bool((u @ H).abs().sum(-1).max() == H.abs().sum())


@against(
    {f"r = {r}, {n} products": (H, STARTS[:3, :r], n) for r, n in ((1, 1), (3, 1), (3, 7))},
    hint="rows of V have length one before each product",
)
def check_lower_bound(H, V, products):
    """Exercise 4: the lower bound on Λ by alternation, ``lower_bound(H, V, products)``."""
    for _ in range(products):
        V = H @ (V / V.square().sum(1, keepdim=True).sqrt())
    return V.square().sum(1).sqrt().sum()
