"""Checks of the exercises of the chapter on the proof for large β2."""

from companion.checks import against, double
from companion.theory import lemma_a1


@against(
    [([1.0, -3.0], 0.5, 1), ([1.0, -3.0], 0.5, 4), ([1.0, 2.0, 6.0], 0.9, 3)],
    hint="m and Σ f have no factor 1 - β; only the n momenta of the last epoch are added, and Σ f "
    "has n · k weights",
)
def check_expected_gap(c, beta, k):
    """Exercise 1: E[Σ m - Σ f] of the colour balls."""
    return lemma_a1(c, beta, k)


@against(
    [(0.9, 0.999, 1), (0.9, 0.999, 20), (0.5, 0.9, 3), (0.9, 0.7, 50)],
    hint="m²/v is at most the sum of aₛ²/bₛ over the t gradients, a and b being their weights in m "
    "and v, which do not add up to one here",
)
def check_largest_step(beta1, beta2, t):
    """Exercise 2: the largest |m|/√v after t steps without correction."""
    s = double(list(range(t)))
    a, b = (1 - beta1) * beta1**s, (1 - beta2) * beta2**s
    return (a.square() / b).sum().sqrt()


@against(
    [([3.0, -1.0, 0.5], 0.9), ([10.0] + [-1.0] * 9, 0.99), ([2.0, 2.0], 0.5)],
    hint={
        "smallest": "the last draw of an epoch weighs most; draw the largest square first, in "
        "every epoch, and add up the epochs: 1/(1 - β₂ⁿ)",
        "largest": "the last draw of an epoch weighs most; draw the largest square last, in "
        "every epoch, and add up the epochs: 1/(1 - β₂ⁿ)",
    },
)
def check_edges(g, beta2):
    """Exercise 3: the smallest and the largest v at the end of an epoch."""
    squares = double(g).square().sort().values
    n = len(g)
    weights = (1 - beta2) * beta2 ** double(list(range(n))) / (1 - beta2**n)  # the latest first
    return weights @ squares, weights.flip(0) @ squares
