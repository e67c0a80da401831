"""Hinton's example of why rprop needs care with small batches."""

import torch

from companion.problems.rare import RareGradient


class HintonRprop(RareGradient):
    """Gradients of +0.1 nine times in ten and -0.9 once: their sum is zero, the signs' is not.

    SGD stays where it is on average. A method that looks at signs alone moves eight steps out of
    ten in one direction. Every coordinate has its own draws; every x is a minimiser.

    Parameters
    ----------
    order : {"reshuffled", "iid", "cyclic"}
        As for `RareGradient`. Mean 0 and variance 0.09 in all.

    References
    ----------
    Hinton, Srivastava and Swersky (2012), Neural networks for machine learning, lecture 6.

    Examples
    --------
    >>> oracle, x = HintonRprop(), torch.zeros(1, dtype=torch.float64)
    >>> total = sum(oracle(x) for _ in range(10))
    >>> abs(total.item()) < 1e-12
    True
    """

    minimiser = 0.0

    def __init__(self, order: str = "reshuffled"):
        super().__init__(0.1, order)

    def rare(self, x):
        return torch.full_like(x, -0.9)

    def common(self, x):
        return torch.full_like(x, 0.1)

    def losses(self, x):
        return -0.9 * x, 0.1 * x
