"""Checks of the exercises of the chapter on networks in rotated coordinates."""

import torch

from companion.checks import against, double, product, symmetric
from companion.rotation import haar

PAIRED = "take the difference seed by seed; its standard deviation (n - 1), over √n"
U, V = double([1.0, 2.0, -2.0]), double([0.5, -1.0, 2.0, 0.25, -3.0])


@against(
    [
        (double([1.0, 5.0, 9.0]), double([2.0, 5.0, 11.0])),
        (double([2.0, 4.0]), double([1.0, 3.0])),  # the seeds differ, their difference does not
        (double([0.0, 4.0, 0.0, 4.0]), double([1.0, 1.0, 1.0, 1.0])),
    ],
    hint={"mean": PAIRED, "standard error": PAIRED},
)
def check_paired(a, b):
    """Exercise 1: mean and standard error of paired differences, ``paired(a, b)``."""
    return (a - b).mean(), (a - b).std() / len(a) ** 0.5


@against(
    {
        f"d = {d}": (product(symmetric(d, d)), haar(d, seed=d, dtype=torch.float64), V[:d])
        for d in (3, 5)
    },
    hint="differentiate L(R x') twice; R.T is the transpose",
)
def check_rotated_product(product, R, v):
    """Exercise 2: the Hessian of the rotated loss times v, ``rotated_product(product, R, v)``."""
    return R.dense().T @ product(R.dense() @ v)


@against(
    {
        "the identity": torch.eye(4, dtype=torch.float64),  # a rotation changes nothing
        "one gradient": torch.outer(U, U),
        "G = diag(3, 1)": double([[3.0, 0.0], [0.0, 1.0]]),
        "G = [[2, 1], [1, 2]]": double([[2.0, 1.0], [1.0, 2.0]]),
    },
    hint="the two traces, of G and of G @ G, in the proposition",
)
def check_spread(G):
    """Exercise 3: the relative variance of one rotated second moment, ``spread(G)``."""
    return 2 * (len(G) * G.square().sum() / G.trace() ** 2 - 1) / (len(G) + 2)
