"""Checks of the exercises of the chapter on measuring a Hessian by products."""

import torch

from companion.checks import against, double, product, symmetric
from companion.hessian.cauchy import median_factor

X, V, H = double([1.0, -2.0, 0.5]), double([1.0, 3.0, -1.0]), symmetric(5, 1)
CAUCHY = torch.empty(4, 11, dtype=torch.float64).cauchy_(generator=torch.Generator().manual_seed(0))
P = double([0.05, 0.1, 0.15, 0.2, 0.5])
SIGNS = torch.randint(2, (5, 8), generator=torch.Generator().manual_seed(0)).double() * 2 - 1
STDERR = "standard deviation of the terms (over their number less one) / root of their number"


def _mean(terms):
    return terms.mean(), terms.std() / len(terms) ** 0.5


@against(
    {
        "sum of x⁴": (lambda z: (z**4).sum(), X, V),
        "quadratic": (lambda z: z @ H[:3, :3] @ z / 2, X, V),
        "log-sum-exp": (lambda z: z.logsumexp(0), X, V),
        "a long v": (lambda z: z.logsumexp(0), X, 1e6 * V),
    },
    hint="differentiate the gradient along v",
)
def check_hvp(f, x, v):
    """Exercise 1: a Hessian-vector product, ``hvp(f, x, v)``."""
    return torch.autograd.functional.hessian(f, x) @ v


@against(
    {f"d = {d}, n = {n}": (product(symmetric(d, d)), SIGNS[:d, :n]) for d, n in ((2, 3), (5, 8))},
    hint={"estimate": "the mean of vᵀHv over the columns", "standard error": STDERR},
)
def check_hutchinson(product, V):
    """Exercise 2: the trace and its standard error, ``hutchinson(product, V)``."""
    return _mean((V * product(V)).sum(0))


@against(
    {f"n = {n}": CAUCHY[:, :n] for n in (5, 11, 10)},
    hint="absolute values, a median for each row, their sum, and divide the factor out; "
    "torch.median takes the lower middle value",
)
def check_corrected_median(X):
    """Exercise 3: the (1,1)-norm without bias by medians, ``corrected_median(X)``."""
    return X.abs().quantile(0.5, dim=1).sum() / median_factor(X.shape[1])


@against(
    {
        "equal p": (product(H), double([0.2] * 5), torch.tensor([0, 3, 4])),
        "unequal p": (product(H), P, torch.tensor([4, 4, 1, 2, 4, 3])),
    },
    hint={
        "estimate": "divide the norm of each drawn row by its probability, and take the mean",
        "standard error": STDERR,
    },
)
def check_importance(product, p, draws):
    """Exercise 4: importance sampling of rows, ``importance(product, p, draws)``."""
    return _mean(H.abs().sum(1)[draws] / p[draws])
