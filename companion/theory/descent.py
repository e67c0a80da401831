r"""What smoothness alone promises of SGD, whatever the shape of f."""

import torch
from torch import Tensor


def gradient_bound(lrs, L: float, gap: float, sigma: float) -> Tensor:
    r"""Bound the mean of E|∇f(x_{t-1})|², weighted by the steps, for SGD on an L-smooth f.

    .. math::

        \frac{\sum_{t \le T} \eta_t \, \mathbb E |\nabla f(x_{t-1})|^2}{\sum_{t \le T} \eta_t}
        \le \frac{2 \Delta + L \sigma^2 \sum_{t \le T} \eta_t^2}{\sum_{t \le T} \eta_t}

    For constant steps the right side is 2Δ/(ηT) + ηLσ²: a start that is forgotten, and a floor.

    Parameters
    ----------
    lrs : sequence or Tensor, shape (T,)
        The steps η_1, …, η_T, each in (0, 1/L].
    L : float
        Lipschitz constant of ∇f.
    gap : float
        Δ ≥ f(x₀) - inf f.
    sigma : float
        σ², its square, bounds E|g_t - ∇f(x_{t-1})|² given the past, all coordinates together.

    Returns
    -------
    Tensor, shape (T,)
        The right side for each number of steps.

    Raises
    ------
    ValueError
        A step outside (0, 1/L].

    Notes
    -----
    By the descent lemma E f(x_t) ≤ E f(x_{t-1}) - η(1 - ηL/2) E|∇f|² + η²Lσ²/2, and ηL ≤ 1. Sum.
    Source: Ghadimi and Lan (2013), "Stochastic first- and zeroth-order methods"; derived here.

    Examples
    --------
    >>> gradient_bound([0.5, 0.5], L=1.0, gap=1.0, sigma=1.0).tolist()
    [4.5, 2.5]
    """
    lrs = torch.as_tensor(lrs, dtype=torch.float64)
    wrong = lrs[~((lrs > 0) & (lrs * L <= 1 + 1e-12))]
    if len(wrong):
        raise ValueError(f"lrs must lie in (0, 1/L] = (0, {1 / L:g}], got {wrong[0]:g}")
    return (2 * gap + L * sigma**2 * lrs.square().cumsum(0)) / lrs.cumsum(0)


def average_error(T, lam: float, lr: float, sigma: float, start: float):
    r"""Return E(z̄_T)² of the mean of the first T iterates of SGD on ½ λ z², exactly.

    .. math::

        \mathbb E \bar z_T^2 = \Big( \frac{1 - \rho^T}{\eta \lambda T} z_0 \Big)^2
        + \frac{\sigma^2}{\lambda^2 T^2} \sum_{j < T} (1 - \rho^j)^2,
        \qquad \bar z_T = \frac1T \sum_{t < T} z_t, \quad \rho = 1 - \eta \lambda

    It tends to σ²/(λ²T), whatever the constant step η.

    Parameters
    ----------
    T : int or Tensor
        Number of iterates, the start included.
    lam, lr, sigma : float
        λ, η with 0 < ηλ < 2, and the standard deviation of the noise of a gradient.
    start : float
        z₀ = x₀ - x*.

    Notes
    -----
    Sum z_t - z_{t-1} = -ηλ z_{t-1} - ησ ξ_t over t and divide by -ηλT; insert
    z_T = ρᵀ z₀ - ησ Σ ρ^{T-s} ξ_s. Source: the method of Polyak and Juditsky (1992); derived here.

    Examples
    --------
    >>> average_error(2, lam=1.0, lr=0.5, sigma=1.0, start=4.0)  # (4 + 2 - ½ ξ₁) / 2
    9.0625
    """
    if not 0 < lr * lam < 2:
        raise ValueError(f"lr must lie in (0, 2/lam) = (0, {2 / lam:g}), got {lr:g}")
    rho = 1 - lr * lam
    bias = (1 - rho**T) / (lr * lam * T) * start
    noise = T - 2 * (1 - rho**T) / (1 - rho) + (1 - rho ** (2 * T)) / (1 - rho**2)
    return bias**2 + (sigma / lam / T) ** 2 * noise
