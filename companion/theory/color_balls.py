"""The colour-ball lemmas: how far momentum is from the sum of gradients, in expectation.

A box holds n balls with labels c_0, …, c_{n-1}: the gradients of n samples, x held fixed. In each
of k epochs the balls are drawn one after another. In epoch k, momentum after the draw at place i is

    m_i = Σ over all draws so far of β^(draws since) · label,        i = 0, …, n - 1,

and the sum of gradients with the same weights is

    Σ f_i = (c_0 + … + c_{n-1}) (1 + β + … + β^(nk-1)).

There is no factor 1 - β; β stands for β1. After Zhang et al. (2022), who take n = 2.
"""

import itertools
import math

import torch
from torch import Tensor

LIMIT = 2_000_000


def draws(n: int, k: int, order: str = "reshuffled") -> Tensor:
    """Return every sequence of balls in k epochs; all are equally likely.

    Parameters
    ----------
    n, k : int
        Balls and epochs.
    order : {"reshuffled", "iid"}
        Without replacement inside each epoch, or with.

    Returns
    -------
    Tensor
        Indices of balls, of shape (count, k, n); count is (n!)^k or n^(nk).

    Raises
    ------
    ValueError
        If there are more than two million.

    Examples
    --------
    >>> draws(2, 2).flatten(1).tolist()
    [[0, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 1, 0]]
    """
    if order not in ("reshuffled", "iid"):
        raise ValueError(f"order must be 'reshuffled' or 'iid', got {order!r}")
    if n < 1 or k < 1:
        raise ValueError(f"need n >= 1 and k >= 1, got n={n}, k={k}")
    each = math.factorial(n) if order == "reshuffled" else n**n
    if k * math.log(each) > math.log(LIMIT):
        raise ValueError(f"n={n}, k={k} has {each}^{k} sequences, more than {LIMIT}; take fewer")
    if order == "reshuffled":
        epochs = list(itertools.permutations(range(n)))
    else:
        epochs = list(itertools.product(range(n), repeat=n))
    return torch.tensor(list(itertools.product(epochs, repeat=k))).reshape(-1, k, n)


def momentum_sum(c, beta: float, k: int, order: str = "reshuffled") -> Tensor:
    """Return Σ_i m_i for every sequence of `draws`, by running the recursion.

    Parameters
    ----------
    c : sequence of float
        The labels, of shape (n,).
    beta : float
        β1.
    k : int
        Epochs.
    order : {"reshuffled", "iid"}
        As for `draws`.

    Returns
    -------
    Tensor
        Float64, of shape (count,); its mean is an expectation, its variance (``correction=0``)
        that of the model.

    Examples
    --------
    >>> momentum_sum([1.0, -3.0], 0.5, k=1).tolist()  # 1 + (1/2 - 3), -3 + (-3/2 + 1)
    [-1.5, -3.5]
    """
    c = _labels(c)
    sequences = c[draws(len(c), k, order)]  # (count, k, n)
    m = total = torch.zeros(len(sequences), dtype=torch.float64)
    for epoch in range(k):
        for i in range(len(c)):
            m = beta * m + sequences[:, epoch, i]
            total = total + m if epoch == k - 1 else total
    return total


def momentum_error(c, beta: float, k: int, order: str = "reshuffled") -> float:
    """Return E[Σ m_i - Σ f_i] by enumeration; `lemma_a1` is its closed form.

    Cost: that of `draws`.

    Examples
    --------
    >>> momentum_error([1.0, -3.0], 0.5, k=1), lemma_a1([1.0, -3.0], 0.5, k=1)
    (0.5, 0.5)
    """
    c = _labels(c)
    return (momentum_sum(c, beta, k, order).mean() - _gradient_sum(c, beta, k)).item()


def lemma_a1(c, beta: float, k: int) -> float:
    r"""Return E[Σ m_i - Σ f_i] in closed form, for any n, with replacement and without.

    .. math::

        \mathbb E\Big[\sum_i m_i - \sum_i f_i\Big]
        = -\bar c \, \beta^{n (k - 1)} \sum_{s=1}^{n-1} s \beta^s,
        \qquad n = 2: \; -\beta^{2k-1} \, \frac{c_0 + c_1}2

    Every draw has the mean c̄ in either order, so only the missing last weights remain; that a
    reshuffled epoch holds each ball once lowers the variance alone.

    Parameters
    ----------
    c : sequence of float
        The labels, of shape (n,).
    beta : float
        β1.
    k : int
        Epochs.

    Notes
    -----
    Source: Zhang et al. (2022), Lemma A.1 (n = 2); any n derived here.

    Examples
    --------
    >>> lemma_a1([1.0, 2.0, 6.0], 0.5, k=2)  # -3 · 0.5³ · (0.5 + 2 · 0.25)
    -0.375
    """
    c = _labels(c)
    n = len(c)
    return -c.mean().item() * beta ** (n * (k - 1)) * sum(s * beta**s for s in range(1, n))


def momentum_sum_variance(c, beta: float, k: int, order: str = "reshuffled") -> float:
    r"""Return Var[Σ m_i] in closed form.

    A draw at place p of an epoch that lies e epochs back has the weight

    .. math::

        w_{e,p} = \sum_{i} \beta^{n e + i - p},
        \quad 0 \le i < n \ (e > 0), \quad p \le i < n \ (e = 0)

    in Σ m_i. With the variance σ² of a label, and w̄_e the mean over the places of an epoch,

    .. math::

        \operatorname{Var} = \sigma^2 \sum_{e,p} w_{e,p}^2 \ \text{(with replacement)}, \qquad
        \sigma^2 \frac{n}{n - 1} \sum_{e,p} (w_{e,p} - \bar w_e)^2 \ \text{(without)}

    as two places of an epoch have the covariance -σ²/(n - 1).

    Parameters
    ----------
    c, beta, k, order
        As for `momentum_sum`.

    Notes
    -----
    Cost: n²k additions. Derived here.

    Examples
    --------
    >>> for order in ("reshuffled", "iid"):
    ...     print(round(momentum_sum_variance([1.0, -3.0], 0.5, 6, order), 3))
    1.6
    16.0
    """
    c = _labels(c)
    n, sigma2 = len(c), c.var(correction=0).item()
    if order not in ("reshuffled", "iid"):
        raise ValueError(f"order must be 'reshuffled' or 'iid', got {order!r}")
    total = 0.0
    for e in range(k):
        w = [sum(beta ** (n * e + i - p) for i in range(0 if e else p, n)) for p in range(n)]
        centre = sum(w) / n if order == "reshuffled" else 0.0
        total += sum((z - centre) ** 2 for z in w)
    return sigma2 * total * (n / (n - 1) if order == "reshuffled" and n > 1 else 1)


def wandering(signs: Tensor) -> Tensor:
    r"""Return r_k of a walk that follows the draws of earlier epochs, with |r_j - r_{j-1}| = 1/√j.

    .. math::

        r_k = 1 + \sum_{j=2}^k \frac{s_{j-1}}{\sqrt j}

    Parameters
    ----------
    signs : Tensor
        s_j = ±1, of shape (count, k).

    Examples
    --------
    >>> wandering(torch.tensor([[1.0, 1.0], [1.0, -1.0]])).tolist()  # s_k does not matter
    [1.7071..., 1.7071...]
    """
    steps = torch.arange(2, signs.shape[-1] + 1, dtype=signs.dtype).rsqrt()
    return 1 + (signs[..., :-1] * steps).sum(-1)


def weighted_momentum_error(c, beta: float, k: int, r=wandering) -> float:
    """Return E[r_k (Σ m_i - Σ f_i)] for two balls by enumeration; `lemma_a2` is its closed form.

    Parameters
    ----------
    c : (float, float)
        The two labels.
    beta : float
        β1.
    k : int
        Epochs.
    r : callable
        From the signs s_j, +1 where epoch j began with c_0 and -1 where with c_1, of shape
        (count, k), to r_k, of shape (count,). It must not depend on the last epoch.

    Examples
    --------
    >>> pair = [1.0, -3.0], 0.5, 4
    >>> round(weighted_momentum_error(*pair), 12) == round(lemma_a2(*pair), 12)
    True
    """
    c = _labels(c, 2)
    r_k, _ = _weights(k, r)
    return (r_k * (momentum_sum(c, beta, k) - _gradient_sum(c, beta, k))).mean().item()


def lemma_a2(c, beta: float, k: int, r=wandering) -> float:
    r"""Return E[r_k (Σ m_i - Σ f_i)] for two balls in closed form, given the moments of r_k.

    .. math::

        -\mathbb E[r_k] \, \beta^{2k-1} \bar c
        - \delta \, \frac{1 - \beta^2}\beta \sum_{j<k} \beta^{2 (k - j)} \, \mathbb E[r_k s_j],
        \qquad \delta = \frac{c_0 - c_1}2

    The second term is the price of a weight that knows the earlier epochs. If r moves by 1/√j in
    epoch j it is O(1/√k), and no better: `wandering` has E[r_k s_j] = 1/√(j + 1).

    Parameters
    ----------
    c, beta, k, r
        As for `weighted_momentum_error`; 0 < β < 1.

    Notes
    -----
    Why: an earlier epoch j enters Σ m_i with the weights (1 + β) β^{2(k-j)} for its first ball and
    (1 + β) β^{2(k-j)-1} for its second; their difference multiplies δ s_j. Source: Zhang et al.
    (2022), Lemma A.2, states the order of the second term; its exact form is derived here.

    Examples
    --------
    >>> lemma_a2([1.0, -3.0], 0.5, k=3, r=lambda s: torch.ones(len(s), dtype=s.dtype))
    0.03125
    """
    c = _labels(c, 2)
    r_k, signs = _weights(k, r)
    delta = (c[0] - c[1]).item() / 2
    correlation = (r_k[:, None] * signs).mean(0)  # E[r_k s_j], j = 1, …, k
    late = sum(beta ** (2 * (k - j)) * correlation[j - 1].item() for j in range(1, k))
    first = r_k.mean().item() * beta ** (2 * k - 1) * c.mean().item()
    return -first - delta * (1 - beta**2) / beta * late


def _labels(c, n: int | None = None) -> Tensor:
    c = torch.as_tensor(c, dtype=torch.float64)
    if c.dim() != 1 or len(c) < 1 or (n and len(c) != n):
        raise ValueError(f"c must have shape ({n or 'n'},), got {tuple(c.shape)}")
    return c


def _gradient_sum(c: Tensor, beta: float, k: int) -> Tensor:
    """Return Σ f_i."""
    return c.sum() * sum(beta**j for j in range(len(c) * k))


def _weights(k: int, r) -> tuple[Tensor, Tensor]:
    """Return r_k and the signs for every sequence of `draws`."""
    signs = 1.0 - 2.0 * draws(2, k)[:, :, 0].double()  # (count, k)
    flipped = torch.cat([signs[:, :-1], -signs[:, -1:]], 1)
    if not torch.equal(r(signs), r(flipped)):
        raise ValueError("r must depend on the epochs before the last alone")
    return r(signs), signs
