"""Where Adam goes when gradients come in a fixed cycle, exactly; and a bound for any order."""

import math

import torch
from torch import Tensor


def cyclic_drift(beta1, beta2, n: int, rare: float | None = None, common: float = -1.0) -> Tensor:
    r"""Return the sum of Adam's normalised steps over one cycle, in the steady state.

    One gradient in n is ``rare`` (r), the others are ``common`` (c), whatever x is. With p steps
    since the rare one,

    .. math::

        m_p = c + (r - c) \frac{1 - \beta_1}{1 - \beta_1^n} \beta_1^p, \quad
        v_p = c^2 + (r^2 - c^2) \frac{1 - \beta_2}{1 - \beta_2^n} \beta_2^p, \quad
        D = \sum_{p=0}^{n-1} \frac{m_p}{\sqrt{v_p}}

    Adam without ε moves by -α D in a cycle of constant step size α. So where the mean gradient is
    positive, D < 0 is a march in the wrong direction.

    Parameters
    ----------
    beta1, beta2 : float or Tensor
        From 0 to 1, the end included: the limit. Tensors broadcast.
    n : int
        Length of the cycle.
    rare : float, optional
        The rare gradient; n if left out, which is function (2) of Zhang et al. right of x = -1.
    common : float
        The common gradient, not zero.

    Returns
    -------
    Tensor
        D, float64, of the broadcast shape of the betas.

    Notes
    -----
    Cost: n evaluations of the summand; no simulation. Derived here: the averages of a periodic
    sequence are geometric sums over whole cycles.

    Examples
    --------
    >>> cyclic_drift(0.0, torch.tensor([0.2, 0.95, 0.96]), n=10) > 0
    tensor([False, False,  True])
    >>> cyclic_drift(0.9, 0.999, n=101, rare=1010.0, common=-10.0).item() < 0  # torch's default
    True
    """
    if n < 2 or common == 0:
        raise ValueError(f"need n >= 2 and a common gradient other than 0, got {n} and {common}")
    beta1, beta2 = (_beta(name, b) for name, b in (("beta1", beta1), ("beta2", beta2)))
    rare = float(n if rare is None else rare)
    # 1 / (1 + β + … + βⁿ⁻¹) equals (1 - β) / (1 - βⁿ) and holds at β = 1 too.
    m = (rare - common) / _geometric(beta1, n)
    v = (rare**2 - common**2) / _geometric(beta2, n)
    total = torch.zeros(torch.broadcast_shapes(beta1.shape, beta2.shape), dtype=torch.float64)
    for _ in range(n):
        total = total + (common + m) / (common**2 + v).sqrt()
        m, v = m * beta1, v * beta2
    return total


def cyclic_threshold(beta1, n: int, rare: float | None = None, common: float = -1.0) -> Tensor:
    r"""Return β2*: above it, Adam moves the right way on the cyclic problem of `cyclic_drift`.

    The largest zero of the drift as a function of β2, by a scan of -log₁₀(1 - β2) from 0 to 8 in
    steps of 0.02 and bisection to about 1e-15.

    Parameters
    ----------
    beta1 : float or Tensor
        Any shape.
    n, rare, common
        As for `cyclic_drift`; the mean gradient must be positive.

    Returns
    -------
    Tensor
        β2*, float64, of the shape of ``beta1``; NaN where the drift is right for every β2.

    Notes
    -----
    Cost: about 450 evaluations of `cyclic_drift`; memory: a few arrays of 401 numbers a β1. Derived
    here.

    Examples
    --------
    >>> cyclic_threshold(torch.tensor([0.0, 0.9]), n=10)
    tensor([0.9554, 0.7747], dtype=torch.float64)
    >>> cyclic_threshold(0.0, n=3, rare=4.0)  # Reddi's mod-3 problem, C = 4
    tensor(0.3170, dtype=torch.float64)
    """
    beta1 = _beta("beta1", beta1)
    r = float(n if rare is None else rare)
    if not r + (n - 1) * common > 0:
        raise ValueError(f"the mean gradient must be positive, got {r} + {n - 1} * {common}")

    def wrong(s, beta1=beta1):
        return cyclic_drift(beta1, 1 - 10.0**-s, n, rare, common) <= 0

    scan = torch.linspace(0, 8, 401, dtype=torch.float64)
    last = torch.where(wrong(scan, beta1[..., None]), scan, -1.0).amax(-1)
    low = last.clamp(min=0)
    high = low + (scan[1] - scan[0])
    for _ in range(45):
        middle = (low + high) / 2
        bad = wrong(middle)
        low, high = torch.where(bad, middle, low), torch.where(bad, high, middle)
    return torch.where(last < 0, torch.nan, 1 - 10**-low)


def drift_bound(beta1, beta2, n: int) -> Tensor:
    r"""Return an upper bound of n times Adam's mean step on function (2), whatever the order.

    The gradients are n with frequency 1/n and -1 otherwise, in any stationary order, random or not:

    .. math::

        n \, \mathbb E\Big[\frac{m}{\sqrt v}\Big] \le (n + 1)(1 - \beta_1) \sum_{s \ge 0}
        \frac{\beta_1^s}{\sqrt{1 + (1 - \beta_2) \beta_2^s (n^2 - 1)}}
        - \frac{n}{\sqrt{n + 1 - 1/n}}

    Below zero, Adam diverges in that order; above zero, the bound is silent.

    Parameters
    ----------
    beta1, beta2 : float or Tensor
        0 ≤ β1 < 1, 0 ≤ β2 ≤ 1; tensors broadcast.
    n : int
        At least 2.

    Returns
    -------
    Tensor
        The bound, float64, of the broadcast shape.

    Notes
    -----
    Why: m = -1 + (n + 1)(1 - β1) Σ β1^s [rare s steps ago], and v is at least the bracket when the
    rare gradient was s steps ago; E[1/√v] ≥ 1/√E[v] by Jensen's inequality, with E[v] = E[g²].
    Cost: the sum is cut where its rest is below 1e-12. Derived here.

    Examples
    --------
    >>> drift_bound(0.0, torch.tensor([0.0, 0.5]), n=10) < 0
    tensor([True, True])
    """
    beta1, beta2 = _beta("beta1", beta1), _beta("beta2", beta2)
    largest = beta1.max().item()
    if not largest < 1:
        raise ValueError(f"beta1 must be below 1, got {largest}")
    # The terms after S add up to at most (n + 1) β1^S.
    terms = 1 if largest == 0 else math.ceil(math.log(1e-12 / (n + 1)) / math.log(largest)) + 1
    total = torch.zeros(torch.broadcast_shapes(beta1.shape, beta2.shape), dtype=torch.float64)
    weight, memory = 1 - beta1, 1 - beta2
    for _ in range(terms):
        total = total + weight / (1 + memory * (n**2 - 1)).sqrt()
        weight, memory = weight * beta1, memory * beta2
    return (n + 1) * total - n / math.sqrt(n + 1 - 1 / n)


def _beta(name: str, value) -> Tensor:
    beta = torch.as_tensor(value, dtype=torch.float64)
    if not bool(((beta >= 0) & (beta <= 1)).all()):
        raise ValueError(f"{name} must lie in [0, 1], got {value!r}")
    return beta


def _geometric(beta: Tensor, n: int) -> Tensor:
    """Return 1 + β + … + βⁿ⁻¹."""
    total = torch.zeros_like(beta)
    for _ in range(n):
        total = total * beta + 1
    return total
