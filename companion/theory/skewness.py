"""Adam's bias for large β2: it comes from the skewness of the gradient."""

import torch
from torch import Tensor

_KAPPA = {
    ("Adam", "iid"): 1.0,
    ("Adam", "reshuffled"): 0.5,
    ("Adam", "cyclic"): 0.5,
    ("ADOPT", "iid"): 0.0,
    ("ADOPT", "reshuffled"): -0.5,
    ("ADOPT", "cyclic"): -0.5,
}


def skewness_factor(optimizer: str, order: str = "iid") -> float:
    """Return κ of `skewness_bias`.

    Parameters
    ----------
    optimizer : {"Adam", "ADOPT"}
        Adam divides by a second moment that holds the present gradient, ADOPT by the one before.
    order : {"iid", "reshuffled", "cyclic"}
        How samples come. The values for ``"cyclic"`` hold where gradients take one of two values,
        one of them once in a cycle.

    Examples
    --------
    >>> [skewness_factor(name, order) for name in ("Adam", "ADOPT") for order in ("iid", "cyclic")]
    [1.0, 0.5, 0.0, -0.5]
    """
    if (optimizer, order) not in _KAPPA:
        raise ValueError(
            f"optimizer and order must be one of {list(_KAPPA)}, got {(optimizer, order)!r}"
        )
    return _KAPPA[optimizer, order]


def skewness_bias(beta2, second, third, kappa: float = 1.0) -> Tensor:
    r"""Return the mean gradient at which Adam or ADOPT comes to rest, to first order in 1 - β2.

    .. math::

        \mathbb E[g] \approx \kappa \, (1 - \beta_2) \frac{\mathbb E[g^3]}{2 \, \mathbb E[g^2]}

    Parameters
    ----------
    beta2 : float or Tensor
        β2, near 1: 1 - β2 well below 1/n, the frequency of the rarest gradient, and below 1 - β1.
    second, third : float or Tensor
        E[g²] and E[g³] of the gradient oracle at the minimiser.
    kappa : float
        From `skewness_factor`: 1 for Adam with independent samples, ½ when reshuffled; 0 and -½
        for ADOPT.

    Returns
    -------
    Tensor
        The mean gradient. Divide by the curvature of the mean loss for the shift of x.

    Notes
    -----
    Why, at β1 = 0: with v = V + w, V = E[g²], the mean step is E[g]/√V - E[g w]/(2 V^{3/2}), and
    E[g_t w_t] is (1 - β2) Σ_r β2^r cov(g_t, g²_{t-r}). Independent samples leave r = 0, which is
    E[g³] where E[g] is small. Within an epoch of n, distinct samples have -1/(n - 1) of that
    covariance, and (n - 1)/2 of them came before on average: another -½. ADOPT divides by the v
    of before, without r = 0. Momentum smooths over both and changes no term of this order. Derived
    here.

    Examples
    --------
    >>> from companion.problems import TenParabolas
    >>> moments = TenParabolas(a=3.0).moments(torch.zeros((), dtype=torch.float64))
    >>> g = skewness_bias(0.999, moments.second, moments.third)
    >>> round((g / 0.02).item(), 4)  # the mean loss is x²/100
    -0.1333
    """
    beta2, second, third = (torch.as_tensor(z, dtype=torch.float64) for z in (beta2, second, third))
    return kappa * (1 - beta2) * third / (2 * second)


def skewness_threshold(mean, second, third, kappa: float = 1.0) -> Tensor:
    r"""Return the β2* above which Adam follows a constant mean gradient, to first order in 1 - β2*.

    `skewness_bias` solved for β2:

    .. math::

        1 - \beta_2^* \approx \frac{2 \, \mathbb E[g] \, \mathbb E[g^2]}{\kappa \, \mathbb E[g^3]}

    On function (2) this is about 2/n² (independent samples) and 4/n² (reshuffled or cyclic).

    Parameters
    ----------
    mean, second, third : float or Tensor
        E[g], E[g²] and E[g³].
    kappa : float
        From `skewness_factor`, not zero.

    Returns
    -------
    Tensor
        β2*; a value below 0 or above 1 means that there is none in reach of the expansion.

    Notes
    -----
    Derived here.

    Examples
    --------
    >>> n = 50
    >>> moments = 1 / n, n + 1 - 1 / n, (n**3 - n + 1) / n
    >>> round(skewness_threshold(*moments).item(), 5)
    0.99918
    """
    mean, second, third = (torch.as_tensor(z, dtype=torch.float64) for z in (mean, second, third))
    return 1 - 2 * mean * second / (kappa * third)
