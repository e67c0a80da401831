"""Checks of the exercises of the chapter on norms and steepest descent."""

import torch

from companion.checks import against, double

ONES, DIAGONAL = double([1.0, 1.0, 1.0]), torch.diag(double([1.0, 0.5, 0.1]))


@against(
    [
        (double([3.0, -1.0, 4.0]), double([1.0, 2.0, 0.5])),
        (double([-2.0, 0.5]), double([0.25, 3.0])),
    ],
    hint={
        "dual norm": "put r = s / w: in r the norm is that of l-infinity, and the gradient is w g",
        "step": "minus the dual norm times the step of norm one that attains it",
    },
)
def check_weighted(g, w):
    """Exercise 1: dual norm and steepest step for max |s_i| / w_i."""
    dual = (w * g).abs().sum()
    return dual, -dual * w * g.sign()


@against(
    [
        # Lengths 5 and 2 in blocks of 2 and 1: the dual norm is 5 sqrt(2) + 2.
        (double([3.0, 4.0, -2.0]), torch.tensor([0, 0, 1])),
        # The same coordinates in another order.
        (double([3.0, -2.0, 4.0]), torch.tensor([1, 0, 1])),
        (double([3.0, 4.0]), torch.tensor([0, 1])),
        (double([3.0, 4.0]), torch.tensor([0, 0])),
    ],
    hint="the dual norm times sqrt(d_b) g / |g| in each block; where does the minus go?",
)
def check_block_step(g, labels):
    """Exercise 2: steepest step in the norm of a partition."""
    dual, step = 0.0, torch.zeros_like(g)
    for block in (labels == b for b in labels.unique()):
        root, length = block.sum().sqrt(), g[block].norm()
        dual = dual + root * length
        step = step + root / length * g * block
    return -dual * step


@against(
    [(1.0, 1.0), (5.0, 0.3)],
    hint={
        "step size": "the jump goes from x0 to -x0",
        "ratio": "the gradient stays at K x0; which term of the bound is left for large T?",
    },
)
def check_tight(K, x0):
    """Exercise 3: the step size at which the theorem is sharp, and the ratio to the bound."""
    return 2 * x0, 1.0


@against(
    {
        "a diagonal Hessian": (ONES, DIAGONAL),
        "a sparse gradient": (double([2.0, 0.0, 0.0]), DIAGONAL),
        # The best signs give 8, less than the sum of absolute values, 12.
        "signs that do not fit together": (
            ONES,
            double([[2.0, -1.0, 1.0], [-1.0, 2.0, 1.0], [1.0, 1.0, 2.0]]),
        ),
    },
    hint="try all signs for L-infinity; the other constant is the largest eigenvalue",
)
def check_advantage(g, H):
    """Exercise 4: the guarantee of sign descent over that of gradient descent."""
    signs = torch.cartesian_prod(*[double([-1.0, 1.0])] * len(g))
    L_inf, L_2 = ((signs @ H) * signs).sum(-1).max(), torch.linalg.eigvalsh(H).max()
    return g.abs().sum() ** 2 / L_inf / (g.square().sum() / L_2)
