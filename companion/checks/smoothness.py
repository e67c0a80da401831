"""Checks of the exercises of the chapter on the four measures of smoothness."""

import torch

from companion.checks import check, expect, fail


def _matrix(*rows):
    return torch.tensor(rows, dtype=torch.float64)


@check
def check_rank_one(rank_one):
    """Exercise 1: the four numbers of u uᵀ, ``rank_one(u)``."""
    for u in ([1.0], [1.0, -2.0, 3.0], [0.0, 0.5, 0.0, -0.5, 4.0]):
        u = torch.tensor(u, dtype=torch.float64)
        H, got = torch.outer(u, u), rank_one(u)
        l1 = H.abs().sum()
        expected = l1, l1, l1, len(u) * u.square().sum()
        names = ("‖H‖∞→1", "Λ", "‖H‖₁,₁", "d‖H‖₂")
        if not isinstance(got, tuple | list):
            expect(got, torch.stack(expected), hint="return four numbers")
        elif len(got) != 4:
            fail(f"expected four numbers, got {len(got)}")
        for name, value, right in zip(names, got, expected, strict=True):
            hint = "the first is at most the second, the second at most the third"
            expect(value, right, hint=hint, what=f"{name} for u = {u.tolist()}")


@check
def check_certificate(certificate):
    """Exercise 2: the upper bound on Λ of a diagonal, ``certificate(H, D)``."""
    H = _matrix([2.0, -1.0, 0.0], [-1.0, 0.0, 3.0], [0.0, 3.0, -4.0])
    for D in ([1.0, 1.0, 1.0], [3.0, 4.0, 7.0], [0.5, 2.0, 1.0]):
        D = torch.tensor(D, dtype=torch.float64)
        root = D.rsqrt().diag()
        expected = torch.linalg.eigvalsh(root @ H @ root).abs().max() * D.sum()
        hint = "the largest absolute eigenvalue of D^(-1/2) H D^(-1/2), times the trace of D"
        expect(certificate(H, D), expected, hint=hint, what=f"D = {D.tolist()}")


@check
def check_tight(tight):
    """Exercise 3: whether flipped signs make all entries non-negative, ``tight(H)``."""
    u, ones = torch.tensor([1.0, -2.0, 3.0, -0.5], dtype=torch.float64), torch.ones(4)
    positive = _matrix([1, 2, 3, 1], [2, 1, 1, 4], [3, 1, 2, 1], [1, 4, 1, 5])
    spoilt = positive.clone()
    spoilt[1, 2] = spoilt[2, 1] = -1.0
    negative = positive - 10 * torch.eye(4, dtype=torch.float64)
    for name, H, expected in (
        ("u uᵀ", torch.outer(u, u), True),
        ("positive entries", positive, True),
        ("positive entries, flipped", u.sign()[:, None] * positive * u.sign(), True),
        ("one pair of another sign", spoilt, False),
        ("a negative diagonal", negative, False),
        ("-𝟙𝟙ᵀ", -torch.outer(ones, ones).double(), False),
    ):
        got = tight(H)
        if got is ... or got is None:
            expect(got, expected)  # says "not yet"
        if bool(got) != expected:
            hint = "which coordinates must flip together with the first one?"
            fail(f"{name}: expected {expected}, got {got}", hint)


@check
def check_lower_bound(lower_bound):
    """Exercise 4: the lower bound on Λ by alternation, ``lower_bound(H, V, products)``."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    H = A + A.T
    for r, products in ((1, 1), (3, 1), (3, 7)):
        V = torch.randn(6, r, generator=generator, dtype=torch.float64)
        W = V
        for _ in range(products):
            W = W / W.square().sum(1, keepdim=True).sqrt()
            W = H @ W
        expected = W.square().sum(1).sqrt().sum()
        hint = "rows of V have length one before each product"
        expect(
            lower_bound(H, V, products), expected, hint=hint, what=f"r = {r}, {products} products"
        )
