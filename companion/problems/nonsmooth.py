"""Losses with a kink: a hinge with an outlier, and one ReLU neuron that can die."""

import torch

from companion.problems.rare import RareGradient


class HingeOutlier(RareGradient):
    r"""The hinge loss of a linear classifier in which one sample of n is large and contradicts.

    .. math::

        f(x) = \frac1n \max(0, 1 - n x) + \frac{n - 1}n \max(0, 1 + x), \qquad x^* = \frac1n

    f is convex and falls with slope -1/n from x = -1 to x*, but of n gradients there n - 1 point
    the other way. Left of -1 the common gradient vanishes.

    Parameters
    ----------
    n : int
        Number of samples, at least 3.
    order : {"iid", "reshuffled", "cyclic"}
        As for `RareGradient`.

    Notes
    -----
    Of the subgradients at a kink the oracle returns zero, as automatic differentiation of
    ``torch.relu`` does. Derived here.

    Examples
    --------
    >>> f, x = HingeOutlier(n=10), torch.tensor([[-2.0], [0.0], [0.1], [1.0]])
    >>> f.rare(x).flatten().tolist(), f.common(x).flatten().tolist()
    ([-10.0, -10.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0])
    """

    def __init__(self, n: int, order: str = "iid"):
        if isinstance(n, bool) or n != int(n) or n < 3:
            raise ValueError(f"n must be a whole number of at least 3, got {n!r}")
        super().__init__(1 / n, order)
        self.n, self.minimiser = int(n), 1 / n

    def rare(self, x):
        return torch.where(self.n * x < 1, -float(self.n), 0.0).to(x)

    def common(self, x):
        return torch.where(x > -1, 1.0, 0.0).to(x)

    def losses(self, x):
        return torch.relu(1 - self.n * x), torch.relu(1 + x)


class DeadReLU(RareGradient):
    r"""Regression by one ReLU neuron; one target of n is an outlier that can kill it.

    .. math::

        f_i(x) = \tfrac12 (\max(0, x) - y_i)^2, \qquad y_0 = -c, \quad
        y_i = \frac{n + c}{n - 1}, \quad i = 1, \dots, n - 1

    The mean target is 1, so x* = 1. At x ≤ 0 every gradient is zero: the neuron is dead, and no
    gradient method brings it back.

    Parameters
    ----------
    n : int
        Number of targets, at least 2.
    c : float
        Minus the outlier, at least 0. A gradient step of size α from x* enters the dead region if
        α (1 + c) ≥ 1.
    order : {"iid", "reshuffled", "cyclic"}
        As for `RareGradient`.

    Notes
    -----
    The subgradient at the kink x = 0 is zero, as automatic differentiation of ``torch.relu``
    returns it. Derived here.

    Examples
    --------
    >>> f, x = DeadReLU(n=4, c=5.0), torch.tensor([[1.0], [0.0], [-1.0]])
    >>> f.rare(x).flatten().tolist(), f.common(x).flatten().tolist()
    ([6.0, 0.0, 0.0], [-2.0, 0.0, 0.0])
    """

    minimiser = 1.0

    def __init__(self, n: int, c: float, order: str = "iid"):
        if isinstance(n, bool) or n != int(n) or n < 2:
            raise ValueError(f"n must be a whole number of at least 2, got {n!r}")
        if not c >= 0:
            raise ValueError(f"c must be at least 0, got {c!r}")
        super().__init__(1 / n, order)
        self.n, self.c = int(n), float(c)
        self.targets = (-self.c, (n + self.c) / (n - 1))

    def rare(self, x):
        return torch.where(x > 0, x - self.targets[0], 0.0)

    def common(self, x):
        return torch.where(x > 0, x - self.targets[1], 0.0)

    def losses(self, x):
        z = torch.relu(x)
        return tuple((z - y).square() / 2 for y in self.targets)
