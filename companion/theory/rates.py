r"""Upper bounds O(1/√T) with explicit constants, to draw beside measured curves.

Each has a short proof in its notes; none is tight in general. Symbols: T steps that move x, G² a
bound of E[g²] given the past, R = |x₀ - x*|, g an unbiased gradient at x_t, t = 0, …, T - 1.
"""

import math

import torch


def sgd_rate(T, G: float, R: float):
    r"""Bound the mean of E[f(x_t)] - f* for SGD on a convex f with the step size R / (G √T).

    .. math::

        \frac1T \sum_{t<T} \mathbb E[f(x_t)] - f^* \le \frac{R G}{\sqrt T}

    Parameters
    ----------
    T : int or Tensor
        Steps.
    G, R : float
        Square root of the bound of E[|g|²], and |x₀ - x*|.

    Notes
    -----
    With a step size α, |x_{t+1} - x*|² ≤ |x_t - x*|² - 2α g·(x_t - x*) + α²|g|², also after a
    projection onto a convex set that holds x*. Sum, use convexity: the bound R²/(2αT) + αG²/2, and
    this α minimises it. Standard; derived here.

    Examples
    --------
    >>> sgd_rate(10_000, G=2.0, R=1.0)
    0.02
    """
    return R * G / T**0.5


def sgd_decaying_rate(T, G: float, diameter: float, lr: float):
    r"""Bound the mean of E[f(x_t)] - f* for projected SGD on a convex f, steps α/√t, t = 1, …, T.

    .. math::

        \frac1T \sum_t \mathbb E[f(x_t)] - f^*
        \le \frac1{\sqrt T} \Big(\frac{D^2}{2 \alpha} + \alpha G^2\Big)

    Parameters
    ----------
    T : int or Tensor
        Steps.
    G : float
        Square root of the bound of E[|g|²].
    diameter : float
        D, of the set that x is projected onto.
    lr : float
        α.

    Notes
    -----
    Divide the inequality of `sgd_rate` by 2α_t before the sum; the differences of 1/α_t telescope
    to D²/(2α_T), and Σ 1/√t ≤ 2√T. Standard; derived here. For an online sequence of convex losses
    it bounds the mean regret.

    Examples
    --------
    >>> sgd_decaying_rate(10_000, G=1.0, diameter=2.0, lr=1.0)
    0.03
    """
    return (diameter**2 / (2 * lr) + lr * G**2) / T**0.5


def sgd_smooth_rate(T, G: float, L: float, gap: float):
    r"""Bound the mean of E[|∇f(x_t)|²] for SGD on an L-smooth f, convex or not.

    .. math::

        \frac1T \sum_{t<T} \mathbb E |\nabla f(x_t)|^2 \le G \sqrt{\frac{2 L \Delta}{T}},
        \qquad \alpha = \sqrt{\frac{2 \Delta}{L G^2 T}}

    Parameters
    ----------
    T : int or Tensor
        Steps.
    G : float
        Square root of the bound of E[|g|²].
    L : float
        Lipschitz constant of ∇f.
    gap : float
        Δ ≥ f(x₀) - inf f.

    Notes
    -----
    E[f(x_{t+1})] ≤ E[f(x_t)] - α E|∇f|² + α²LG²/2 by smoothness; sum, and minimise over α.
    Standard; derived here.

    Examples
    --------
    >>> sgd_smooth_rate(200, G=1.0, L=1.0, gap=1.0)
    0.1
    """
    return G * (2 * L * gap / T) ** 0.5


def adopt_rate(T, G: float, R: float, v_min: float, v_max: float):
    r"""Bound the mean of E[f(x_t)] - f* for ADOPT on a convex f of one variable, any β2.

    .. math::

        \frac1T \sum_{t<T} \mathbb E[f(x_t)] - f^* \le \sqrt{\frac{v_{\max}}{v_{\min}}}
        \frac{R G}{\sqrt T}, \qquad \alpha = \frac{R}{G} \sqrt{\frac{v_{\min}}T}

    For β1 = 0, no clip, independent samples. β2 does not appear.

    Parameters
    ----------
    T : int or Tensor
        Steps after the first call, which does not move x.
    G, R : float
        As for `sgd_rate`.
    v_min, v_max : float
        v_min ≤ max(v_t, ε²) ≤ v_max at all times; the extremes of g² will do. The toy of the ADOPT
        paper has k² and k⁴, so the ratio costs a factor k.

    Notes
    -----
    As for `sgd_rate`, with the step α/√v_{t-1}: v_{t-1} is known before g_t is drawn, so g_t stays
    unbiased after the division. Bound 1/√v below by 1/√v_max where it multiplies f(x_t) - f* ≥ 0,
    and 1/v above by 1/v_min where it multiplies E[g²]. With Adam's v_t the first half fails: v_t
    knows g_t. Derived here; the general theorem is in Taniguchi et al. (2024).

    Examples
    --------
    >>> adopt_rate(10_000, G=2.0, R=1.0, v_min=1.0, v_max=4.0)
    0.04
    """
    return math.sqrt(v_max / v_min) * sgd_rate(T, G, R)


def adopt_smooth_rate(T, G: float, L: float, gap: float, v_min: float):
    r"""Bound the gradient of ADOPT on an L-smooth f of one variable, convex or not, any β2.

    .. math::

        \frac1T \sum_{t<T} \big(\mathbb E |f'(x_t)|^{4/3}\big)^{3/2}
        \le \sqrt{\frac{G^2 + v_{\min}}{v_{\min}}} \; G \sqrt{\frac{2 L \Delta}T},
        \qquad \alpha = \sqrt{\frac{2 \Delta v_{\min}}{L G^2 T}}

    For β1 = 0, no clip, independent samples. β2 does not appear.

    Parameters
    ----------
    T : int or Tensor
        Steps after the first call, which does not move x.
    G, L, gap
        As for `sgd_smooth_rate`; E[g²] ≤ G² bounds E[v_t] too.
    v_min : float
        A lower bound of max(v_t, ε²); ε² will do.

    Notes
    -----
    Let u = max(v_{t-1}, ε²), known before g_t is drawn. Smoothness gives E[f'²/√u] a mean over t of
    at most Δ/(αT) + αLG²/(2 v_min), and the step size minimises that to √(2LΔG²/(v_min T)). By
    Hölder's inequality, (E|f'|^{4/3})^{3/2} ≤ E[f'²/√u] · √E[u], and u ≤ v + v_min. Derived here;
    the general theorem, with momentum and any dimension, is in Taniguchi et al. (2024).

    Examples
    --------
    >>> round(adopt_smooth_rate(200, G=1.0, L=1.0, gap=1.0, v_min=1.0), 6)
    0.141421
    """
    return math.sqrt((G**2 + v_min) / v_min) * sgd_smooth_rate(T, G, L, gap)


def adopt_variance_rate(T, sigma: float, L: float, gap: float, v_min: float):
    r"""Bound the gradient of ADOPT on an L-smooth f of one variable from the noise's variance only.

    .. math::

        \frac1T \sum_{t<T} \big(\mathbb E |f'(x_t)|^{4/3}\big)^{3/2}
        \le \sqrt{\frac{\sigma^2 + 4 L \Delta + v_{\min}}{v_{\min}}} \;
        2 \sigma \sqrt{\frac{2 L \Delta}T},
        \qquad \alpha = \sqrt{\frac{2 \Delta v_{\min}}{L \sigma^2 T}}

    For β1 = 0, any β2, no clip, independent samples, and T ≥ 2LΔ/σ². As `adopt_smooth_rate`, but
    f' may grow without limit, as it does on a parabola.

    Parameters
    ----------
    T : int or Tensor
        Steps after the first call, which does not move x.
    sigma : float
        Square root of a bound of E[(g - f')²] given the past, positive.
    L, gap
        As for `sgd_smooth_rate`.
    v_min : float
        A lower bound of max(v_t, ε²); ε² will do.

    Raises
    ------
    ValueError
        Where T < 2LΔ/σ²: the step size would exceed √v_min / L.

    Notes
    -----
    With u as for `adopt_smooth_rate`, E[g²] ≤ f'² + σ² given the past, and αL ≤ √v_min ≤ √u:
    smoothness gives E[f(x_{t+1})] ≤ f(x_t) - (α/2) f'²/√u + α²Lσ²/(2 v_min). First, f never rises
    by more than T α²Lσ²/(2 v_min) = Δ in the mean, so E[f(x_t)] - inf f ≤ 2Δ, and f'² ≤ 2L (f -
    inf f) bounds E[v] by σ² + 4LΔ. Second, E[f'²/√u] has a mean over t of at most
    2Δ/(αT) + αLσ²/v_min. Hölder's inequality joins the two. Derived here.

    Examples
    --------
    >>> round(adopt_variance_rate(200, sigma=1.0, L=1.0, gap=0.5, v_min=1.0), 6)
    0.282843
    """
    if (torch.as_tensor(T) < 2 * L * gap / sigma**2).any():
        raise ValueError(f"T: expected at least 2 L Δ / σ² = {2 * L * gap / sigma**2:g}, got {T}")
    root = math.sqrt((sigma**2 + 4 * L * gap + v_min) / v_min)
    return root * 2 * sgd_smooth_rate(T, sigma, L, gap)
