"""The toy problem of the ADOPT paper."""

from companion.problems.rare import Linear


class AdoptToy(Linear):
    r"""Minimise f(x) = x on [-1, 1] from gradients k² and -k.

    .. math::

        g = \begin{cases} k^2 & \text{with probability } 1/k \\ -k & \text{otherwise} \end{cases},
        \qquad \mathbb E[g] = 1, \quad \mathbb E[g^2] = k^3 + k^2 - k, \quad x^* = -1

    Parameters
    ----------
    k : int
        At least 2. The published runs have k = 10 and 50.
    order : {"iid", "reshuffled", "cyclic"}
        Independent draws are the problem as published.

    Notes
    -----
    Published settings: x₀ = 0, β1 = 0.9, step size 0.01 / √(1 + 0.01 t), no clip and no ε. Source:
    Taniguchi et al. (2024), toy experiment.

    Examples
    --------
    >>> AdoptToy(k=10).moments(torch.zeros(1, dtype=torch.float64)).second.item()
    1090.0
    """

    def __init__(self, k: int, order: str = "iid"):
        if isinstance(k, bool) or k != int(k) or k < 2:
            raise ValueError(f"k must be a whole number of at least 2, got {k!r}")
        super().__init__((k**2, -k), 1 / k, order)
        self.k = int(k)
