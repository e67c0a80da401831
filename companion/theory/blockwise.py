r"""The rate of blockwise Adam without momentum: Theorem 3.11 of Xie, Mohamadi and Li (2024).

The algorithm has β1 = 0, no bias correction, a start v_0 ≥ 0 and ε inside the root. For a partition
into blocks b of :math:`d_b` coordinates,

.. math::

    v_{t,b} = \beta_2 v_{t-1,b} + (1 - \beta_2) \|g_{t,(b)}\|_2^2 / d_b, \qquad
    x_{t,(b)} = x_{t-1,(b)} - \eta \, g_{t,(b)} / \sqrt{v_{t,b} + \epsilon}

Single coordinates are Adam (Theorem 3.5), one block is AdaSGD. Symbols: Δ = f(x_0) - inf f; H the
smoothness H(f, Φ) of the partition, :math:`S = \sum_b d_b \sigma_b` with the noise of Assumption
3.10, ℓ a bound of E ln((v_{T,b} + ε) / (v_0 + ε)) for every block. The constants are derived here:
the chapter on blockwise Adam has the proof.
"""

import math


def ratio_sum_bound(T: int, beta2: float, growth: float) -> float:
    r"""Bound Σ g_t² / v_t for t = 1, …, T where v_t - β2 v_{t-1} ≥ (1 - β2) g_t² (Lemma 3.14).

    .. math::

        \sum_{t \le T} \frac{g_t^2}{v_t} \le T + \frac{\beta_2}{1 - \beta_2} \ln \frac{v_T}{v_0}

    A single term can be as large as 1 / (1 - β2).

    Parameters
    ----------
    T : int
        Steps.
    beta2 : float
        Inside [0, 1).
    growth : float
        ln(v_T / v_0).

    Notes
    -----
    g_t²/v_t ≤ (1 - β2 v_{t-1}/v_t) / (1 - β2) = 1 + β2/(1 - β2) · (1 - v_{t-1}/v_t), and
    1 - z ≤ -ln z. Sum. Equality where g_t² = v_0 throughout.

    Examples
    --------
    >>> ratio_sum_bound(10, 0.5, growth=0.0)
    10.0
    """
    return T + beta2 / (1 - beta2) * growth


def growth_bound(T, lr, beta2, *, gradient, smoothness, sigma, v0, eps=0.0) -> float:
    r"""Bound ℓ, the expected growth of ln(v + ε), by a logarithm.

    .. math::

        \ell \le \ln \Big(1 + \frac{\sigma^2 + M^2}{v_0 + \epsilon} \Big), \qquad
        M = \|\nabla f(x_0)\|_{\Phi,*} + \frac{H \eta T}{\sqrt{1 - \beta_2}}

    Parameters
    ----------
    T, lr, beta2
        Steps, η and β2 < 1.
    gradient : float
        :math:`\|\nabla f(x_0)\|_{\Phi,*} = \sum_b \sqrt{d_b} \|\nabla_{(b)} f(x_0)\|_2`.
    smoothness : float
        H.
    sigma : float
        The largest σ_b.
    v0, eps : float
        v_0 and ε, not both zero.

    Notes
    -----
    A step has the norm max_b η |g_(b)| / √(d_b (v_b + ε)) ≤ η / √(1 - β2), so the gradient's dual
    norm stays below M; v_T is an average of v_0 and of squares of expectation at most M² + σ²;
    Jensen. It is crude: measure ℓ where you can. Derived here, in place of the paper's Lemma C.1.

    Examples
    --------
    >>> round(growth_bound(100, 0.1, 0.75, gradient=0.0, smoothness=1.0, sigma=0.0, v0=1.0), 3)
    5.994
    """
    largest = gradient + smoothness * lr * T / math.sqrt(1 - beta2)
    return math.log(1 + (sigma**2 + largest**2) / (v0 + eps))


def blockwise_bound(T, lr, beta2, *, gap, smoothness, noise, d, growth, v0, eps=0.0) -> float:
    r"""Bound the mean of E‖∇f(x_t)‖_{Φ,*} over the second half of a run (Theorems 3.5 and 3.11).

    .. math::

        \frac2T \sum_{T/2 < t \le T} \mathbb E \|\nabla f(x_{t-1})\|_{\Phi,*}
        \le 2 \sqrt2 E + \sqrt{2 E} \Big(
        \frac{4 \beta_2^{T/4} d \sqrt{v_0}}{T (1 - \beta_2)} + S + d \sqrt\epsilon \Big)^{1/2}

    .. math::

        E = \frac{2 \Delta}{\eta T} + \Big(1 + \frac{\beta_2 \ell}{T (1 - \beta_2)} \Big)
        \big( \eta H + 2 \sqrt{1 - \beta_2} \, S \big)

    Parameters
    ----------
    T : int
        Steps, even.
    lr, beta2 : float
        η and β2 < 1.
    gap, smoothness, noise : float
        Δ, H and S.
    d : int
        Coordinates.
    growth : float
        ℓ, measured or by `growth_bound`.
    v0, eps : float
        v_0 and ε.

    Notes
    -----
    The smallest of these gradients is at most their mean.

    Examples
    --------
    >>> options = {"gap": 1.0, "smoothness": 2.0, "d": 1, "growth": 0.0, "v0": 0.0}
    >>> round(blockwise_bound(100, 0.1, 0.0, noise=0.0, **options), 3)  # 2√2 (.2 + .2)
    1.131
    """
    E = 2 * gap / (lr * T) + (1 + beta2 * growth / (T * (1 - beta2))) * (
        lr * smoothness + 2 * math.sqrt(1 - beta2) * noise
    )
    start = 4 * beta2 ** (T / 4) * d * math.sqrt(v0) / (T * (1 - beta2))
    return 2 * math.sqrt(2) * E + math.sqrt(2 * E * (start + noise + d * math.sqrt(eps)))


def corollary_options(T: int, gap: float, smoothness: float, factor: float = 2.0) -> dict:
    r"""Return the ``lr`` and ``beta2`` of Corollaries 3.6 and 3.7 for a run of T steps.

    .. math:: \eta = \sqrt{\frac{2 \Delta}{T H}}, \qquad 1 - \beta_2 = c \, \frac{\ln T}T

    With noise the bound is then O(T^{-1/4}) up to a logarithm, without noise O(T^{-1/2}).

    Parameters
    ----------
    T : int
        Steps, so many that c ln T ≤ T.
    gap, smoothness : float
        Δ and H.
    factor : float, default 2
        c. What v_0 leaves falls like T^{-1/4 - c/8} without noise: 2 is enough.

    Raises
    ------
    ValueError
        If 1 - β2 would exceed one.

    Examples
    --------
    >>> options = corollary_options(200, gap=1.0, smoothness=1.0)
    >>> options["lr"], round(options["beta2"], 4)
    (0.1, 0.947)
    """
    rest = factor * math.log(T) / T
    if not rest <= 1:
        raise ValueError(f"factor: expected at most T / ln T = {T / math.log(T):.3g}, got {factor}")
    return {"lr": math.sqrt(2 * gap / (T * smoothness)), "beta2": 1 - rest}
