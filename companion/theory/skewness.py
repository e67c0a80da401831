"""Adam's bias for large β2: v knows the gradient that it divides."""

import torch
from torch import Tensor

ORDERS = ("iid", "reshuffled", "cyclic")


def kappa(
    beta1, n: int | None = None, order: str = "reshuffled", optimizer: str = "Adam"
) -> Tensor:
    r"""Return κ of `skewness_bias`: how much of the bias an order and a momentum leave.

    For Adam

    .. math::

        \kappa = \begin{cases}
        1 & \text{independent samples} \\
        \frac1n \sum_{p<n} (1 - \beta_1^{p+1}) \big(1 - \frac p{n-1}\big) & \text{reshuffled} \\
        \frac12 - \frac1{n-1} \Big(\frac{\beta_1}{1 - \beta_1}
        - \frac{n \beta_1^n}{1 - \beta_1^n}\Big) & \text{a fixed cycle}
        \end{cases}

    and for ADOPT 0, -½ and -½ at every β1.

    Parameters
    ----------
    beta1 : float or Tensor
        From 0 to 1, 1 excluded; any shape.
    n : int, optional
        Samples in an epoch, at least 2. Independent samples, ADOPT and β1 = 0 do not need it.
    order : {"iid", "reshuffled", "cyclic"}
        How samples come. A fixed cycle has the value above where one sample differs from the
        others, and on average over all cycles of any samples; `step_deviation` takes one cycle as
        it is.
    optimizer : {"Adam", "ADOPT"}
        Adam divides by a second moment that holds the present gradient; ADOPT by the one before,
        and before it averages.

    Returns
    -------
    Tensor
        κ, float64, of the shape of ``beta1``.

    Raises
    ------
    ValueError
        If an argument is unknown, out of range, or missing.

    Notes
    -----
    Why. Let C = cov(g, g²) of one sample, and 1 - β2 → 0. E[m_t v_t] - E[m]E[v] is (1 - β2) times
    the sum over s, r of (1 - β1) β1^s β2^r cov(g_{t-s}, g²_{t-r}). *Independent* samples keep
    r = s, which adds up to C. *Reshuffled*, with p draws of the epoch before the present one: the
    gradient of each of these p + 1 draws meets itself, and p others with the covariance
    -C/(n - 1) each; a gradient of an earlier epoch meets its whole epoch, which adds up to 0. So
    the weight of the present epoch in m, 1 - β1^(p+1), multiplies C (1 - p/(n - 1)). *Cyclic*: v
    r steps later holds (1 - β2)((n - 1)/2 - r)/n of a squared gradient's excess, and m weighs r
    by (1 - β1) β1^r/(1 - β1^n). *ADOPT*'s step is an average of g_t/√v_{t-1}, whose mean does not
    depend on β1. Derived here.

    Cost: n evaluations.

    Examples
    --------
    >>> kappa(torch.tensor([0.0, 0.5, 0.9]), n=10)
    tensor([0.5000, 0.4111, 0.1513], dtype=torch.float64)
    >>> kappa(0.9, 10, "cyclic"), kappa(0.9, order="iid")
    (tensor(0.0948, dtype=torch.float64), tensor(1., dtype=torch.float64))
    >>> kappa(0.9, 10, optimizer="ADOPT")
    tensor(-0.5000, dtype=torch.float64)
    """
    beta1 = _decay("beta1", beta1)
    if order not in ORDERS or optimizer not in ("Adam", "ADOPT"):
        raise ValueError(
            f"order must be one of {ORDERS} and optimizer Adam or ADOPT, "
            f"got {order!r} and {optimizer!r}"
        )
    if optimizer == "ADOPT":
        return torch.full_like(beta1, 0.0 if order == "iid" else -0.5)
    if order == "iid":
        return torch.ones_like(beta1)
    if n is None and not beta1.any():
        n = 2  # any n: κ = ½
    if n is None or n < 2:
        raise ValueError(f"n must be at least 2 for order={order!r}, got {n}")
    p = torch.arange(n, dtype=torch.float64)
    power = beta1[..., None] ** p
    if order == "reshuffled":
        return ((1 - beta1[..., None] * power) * (1 - p / (n - 1))).mean(-1)
    return (power * (0.5 - p / (n - 1))).sum(-1) / power.sum(-1)


def skewness_bias(beta2, second, third, kappa=1.0, mean=0.0) -> Tensor:
    r"""Return by how much Adam's mean step falls short of the mean gradient, times √E[g²].

    .. math::

        \mathbb E\Big[\frac m{\sqrt v}\Big] \approx \frac{\mathbb E[g] - b}{\sqrt{\mathbb E[g^2]}},
        \qquad b = \kappa \, (1 - \beta_2) \,
        \frac{\mathbb E[g^3] - \mathbb E[g] \, \mathbb E[g^2]}{2 \, \mathbb E[g^2]}

    to first order in 1 - β2. The optimizer comes to rest where E[g] = b. There the mean is of
    order 1 - β2 itself and its product drops out: leave ``mean`` at 0. Anywhere else give it: the
    numerator is the covariance of g and g², which is zero for a gradient without noise. With
    independent samples E[g] has a factor there too, which `step_deviation` knows.

    Parameters
    ----------
    beta2 : float or Tensor
        β2, near 1: 1 - β2 well below 1/n, the frequency of the rarest gradient, and below 1 - β1.
    second, third : float or Tensor
        E[g²] and E[g³] of the gradient oracle.
    kappa : float or Tensor
        From `kappa`: 1 for Adam with independent samples, ½ when reshuffled without momentum.
    mean : float or Tensor
        E[g]; 0 at a stationary point.

    Returns
    -------
    Tensor
        b. At a resting point divide by the curvature of the mean loss for the shift of x.

    Notes
    -----
    Why: with v = V + w, V = E[g²], the mean step is E[g]/√V - E[m w]/(2 V^{3/2}), and E[m w] is
    κ (1 - β2) cov(g, g²); see `kappa`. Derived here.

    Examples
    --------
    >>> from companion.problems import TenParabolas
    >>> moments = TenParabolas(a=3.0).moments(torch.zeros((), dtype=torch.float64))
    >>> g = skewness_bias(0.999, moments.second, moments.third)
    >>> round((g / 0.02).item(), 4)  # the mean loss is x²/100
    -0.1333
    """
    beta2, second, third, kappa, mean = (
        torch.as_tensor(z, dtype=torch.float64) for z in (beta2, second, third, kappa, mean)
    )
    return kappa * (1 - beta2) * (third - mean * second) / (2 * second)


def skewness_threshold(mean, second, third, kappa=1.0) -> Tensor:
    r"""Return the β2* above which Adam follows a constant mean gradient, to first order in 1 - β2*.

    E[g] = b of `skewness_bias`, solved for β2:

    .. math::

        1 - \beta_2^* \approx \frac{2 \, \mathbb E[g] \, \mathbb E[g^2]}
        {\kappa \, (\mathbb E[g^3] - \mathbb E[g] \, \mathbb E[g^2])}

    On function (2) this is about 2/(κ n²).

    Parameters
    ----------
    mean, second, third : float or Tensor
        E[g], E[g²] and E[g³].
    kappa : float or Tensor
        From `kappa`, not zero.

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
    mean, second, third, kappa = (
        torch.as_tensor(z, dtype=torch.float64) for z in (mean, second, third, kappa)
    )
    return 1 - 2 * mean * second / (kappa * (third - mean * second))


def step_deviation(
    gradients, beta1, beta2, order: str = "reshuffled", optimizer: str = "Adam"
) -> Tensor:
    r"""Return E[m/√v] - E[g]/√E[g²] in each coordinate, to first order in 1 - β2, with x held.

    .. math::

        (1 - \beta_2) \, \Big( -\kappa(\beta_1, n) \,
        \frac{\operatorname{cov}(g, g^2)}{2 \, \mathbb E[g^2]^{3/2}} + \iota \, \frac{3 \,
        \mathbb E[g] \operatorname{Var}(g^2)}{16 \, \mathbb E[g^2]^{5/2}} \Big)

    with ι = 1 for independent samples, whose v varies by √(1 - β2), and ι = 0 for the other orders,
    where it varies by 1 - β2.

    Parameters
    ----------
    gradients : Tensor
        The gradients of the n samples or batches, of shape (n,) or (n, d), n ≥ 2. For
        ``order="cyclic"`` they come as the rows do, and the result is that of this very cycle.
    beta1, beta2 : float or Tensor
        0 ≤ β1 < 1, and β2 near 1 as for `skewness_bias`; tensors broadcast to the cells' shape.
    order, optimizer : str
        As for `kappa`.

    Returns
    -------
    Tensor
        Float64, of shape cells or (*cells, d); 0 where a coordinate has no gradient in any sample.

    Notes
    -----
    Cost: a few passes over the gradients; n of them for the cyclic order. There the parts are
    m_t = Σ_s β1^s (1 - β1)/(1 - β1^n) g_{t-s} and
    w_t = (1 - β2) Σ_r ((n - 1)/2 - r)/n g²_{t-r}, s, r < n, and the result is
    -mean(m w)/(2 E[g²]^{3/2}). The second part is 3 E[m] E[w²]/(8 E[g²]^{5/2}), where E[w²] is
    (1 - β2)/(1 + β2) Var(g²). Derived here.

    Examples
    --------
    >>> step_deviation([10.0] + [-1.0] * 9, beta1=0.9, beta2=torch.tensor([0.99, 0.999]))
    tensor([-0.0021, -0.0002], dtype=torch.float64)
    >>> step_deviation([2.0, 2.0, 2.0], 0.9, 0.999)  # a constant gradient is followed exactly
    tensor(-0., dtype=torch.float64)
    """
    g = torch.as_tensor(gradients, dtype=torch.float64)
    if g.dim() not in (1, 2) or len(g) < 2:
        raise ValueError(f"gradients must have shape (n,) or (n, d), n >= 2, got {tuple(g.shape)}")
    beta1, beta2 = torch.broadcast_tensors(_decay("beta1", beta1), torch.as_tensor(beta2).double())
    factor = kappa(beta1, len(g), order, optimizer)  # refuses unknown names
    off = 1 - beta2
    if g.dim() == 2:
        factor, off = factor[..., None], off[..., None]
    second = g.square().mean(0)
    excess = g.square() - second
    if order == "cyclic":
        product = _cycle(g, excess, beta1, optimizer)
    else:
        product = factor * (g * excess).mean(0)
    deviation = -off * product / (2 * second**1.5)
    if order == "iid":
        deviation = deviation + off * 3 * g.mean(0) * excess.square().mean(0) / (16 * second**2.5)
    return torch.where(second > 0, deviation, 0.0)


def _cycle(g: Tensor, excess: Tensor, beta1: Tensor, optimizer: str) -> Tensor:
    """Return mean(m w)/(1 - β2) of a fixed cycle, of shape (*cells, ...)."""
    n = len(g)
    w = sum(((n - 1) / 2 - r) / n * excess.roll(r, 0) for r in range(n))
    if optimizer == "ADOPT":  # the v of before, and momentum does not change the mean step
        w, beta1 = w.roll(1, 0), torch.zeros_like(beta1)
    meetings = torch.stack([(g.roll(s, 0) * w).mean(0) for s in range(n)])  # (n, ...)
    weights = beta1[..., None] ** torch.arange(n)
    return torch.tensordot(weights / weights.sum(-1, keepdim=True), meetings, 1)


def _decay(name: str, value) -> Tensor:
    beta = torch.as_tensor(value, dtype=torch.float64)
    if not bool(((beta >= 0) & (beta < 1)).all()):
        raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}")
    return beta
