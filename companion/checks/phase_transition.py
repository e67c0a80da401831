"""Checks of the exercises of the chapter on the phase transition."""

from companion.checks import against, double
from companion.theory import kappa, skewness_threshold


@against(
    [3, 5, 10, 50],
    rtol=1e-4,
    hint="1/(1 + β₁ + … + β₁ⁿ⁻¹) falls from 1 to 1/n; find where it is (2n - 1)/(n² - 1)",
)
def check_escape_beta1(n):
    """Exercise 1: the β1 from which on Adam is right on function (2) for β2 → 0."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if sum(middle**i for i in range(n)) < (n**2 - 1) / (2 * n - 1):
            low = middle
        else:
            high = middle
    return low


@against(
    [(10, 1.0, 1.0), (10, 1.0, 0.5), (10, 2.0, 1.0), (50, 0.5, 0.5)],
    hint="E[gᵏ] is the mean of one steepᵏ and n - 1 gentleᵏ, and the covariance of g and g² is "
    "E[g³] - E[g] E[g²]; do not round for large n, and return β₂*, not 1 - β₂*",
)
def check_first_order_threshold(n, a, kappa):
    """Exercise 2: β2* of function (2) with the parameter a, from three moments."""
    steep, gentle = 1 + (n - 1) * a, -a
    moments = [(steep**k + (n - 1) * gentle**k) / n for k in (1, 2, 3)]
    return skewness_threshold(*moments, kappa)


@against(
    [
        ([2.0] + [-0.2] * 9, [3.0] + [10 / 3] * 9, 0.999, 1.0),
        ([2.0] + [-0.2] * 9, [3.0] + [10 / 3] * 9, 0.999, 0.5),
        ([1.0, 3.0, 0.5], [1.0, -1.0, 4.0], 0.99, 1.0),
        ([1.0, 1.0], [-2.0, 2.0], 0.9, 1.0),
    ],
    hint="the minimiser is Σ h c / Σ h, the gradients there are h (x* - c), and the shift is the "
    "bias of the mean gradient divided by the mean of h",
)
def check_resting_point(h, c, beta2, kappa):
    """Exercise 3: where Adam rests on a sum of parabolas, to first order in 1 - β2."""
    h, c = double(h), double(c)
    best = (h * c).sum() / h.sum()
    g = h * (best - c)
    bias = kappa * (1 - beta2) * (g**3).mean() / (2 * (g**2).mean())
    return best + bias / h.mean()


@against(
    [([4.0, -1.0, 0.5], 0.0), ([4.0, -1.0, 0.5], 0.9), ([7.0, -1.0, 0.5, -2.0, 0.2], 0.5)],
    hint="average m · w over all orders and all places of the epoch, after m and w took the "
    "gradient in; divide by the mean of g³ less the mean of g times that of g²",
)
def check_kappa_of_orders(g, beta1):
    """Exercise 4: κ of a reshuffled epoch, by enumeration."""
    return kappa(beta1, len(g))
