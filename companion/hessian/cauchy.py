r"""The (1,1)-norm by Cauchy probes: three estimates of the scale of a Cauchy variable.

The Cauchy law is 1-stable: for v with independent standard Cauchy entries, :math:`(Hv)_i` is Cauchy
with the scale :math:`\|H_i\|_1`, the 1-norm of row i. So

.. math:: \log |(Hv)_i| = \log \|H_i\|_1 + z, \qquad z = \log |\text{standard Cauchy}|,

where z has the symmetric density :math:`1 / (\pi \cosh z)`, mean 0 and variance π²/4. A row's norm
is a location: the median, the mean and the most likely location of these logarithms are
`cauchy_median`, `geometric_mean` and `scale_mle`.

Rows share their probes: one giant entry of v moves every dense row, and summing over rows does not
average that away. Standard errors are therefore taken over probes, not over rows: each probe's
influence on the whole sum is computed, and the sum of squares of these is the variance.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from companion.arguments import whole
from companion.hessian.base import LinearOperator
from companion.hessian.blocks import block_labels, block_sum
from companion.hessian.estimate import Estimate, estimate
from companion.hessian.probes import NUMBERS, pairs, seeded

ZERO = 1e-290  # a zero row's log goes in as that of 2.2e-308; less than this comes out as 0
GROUPS = 32  # groups of probes of which the geometric mean keeps running sums; 8 for large d


def cauchy_logs(
    op: LinearOperator, n: int, generator: torch.Generator, progress: bool
) -> Iterator[Tensor]:
    """Yield log |Hv| for n Cauchy probes v, float64, in chunks of shape (d, ≤ 16).

    The probes are drawn in float64 on the CPU: one seed, one draw, any device, and a tail that a
    uniform number in float32, of steps 2⁻²⁴, would cut near 5e6. A cut tail makes long flat rows
    look too small. A zero gives log(2.2e-308).
    """

    def draw(k):
        v = torch.empty(k, op.d, dtype=torch.float64).cauchy_(generator=generator).T
        return v.to(op.device, op.dtype)

    for _, x in pairs(op, n, draw, progress, "Cauchy probes"):
        yield x.double().abs().clamp_min(torch.finfo(torch.float64).tiny).log()


def summed(
    op: LinearOperator, scale: Tensor, influence: Tensor, n: int, seed: int, partition
) -> Estimate:
    """Sum the rows' norms over blocks, with the standard error that the probes' influences give.

    Parameters
    ----------
    scale : Tensor
        Estimated row norms s, float64, of shape (d,).
    influence : Tensor
        Influences of J probes, or groups of probes, on log s; of shape (d, J), with row sums 0.
    """
    labels = block_labels(partition, op.d, op.device)
    scale = scale.masked_fill(scale < ZERO, 0)
    j = influence.shape[1]
    effect = block_sum(scale.unsqueeze(1) * influence, labels)  # (blocks, J)
    value, stderr = block_sum(scale, labels), (effect.square().sum(1) * j / (j - 1)).sqrt()
    if partition is None:
        value, stderr = value[0], stderr[0]
    return estimate(op, value, stderr, n, seed)


def _all_logs(op: LinearOperator, n: int, seed: int, progress: bool) -> Tensor:
    whole("products", n, 3)
    return torch.cat(list(cauchy_logs(op, n, seeded(seed), progress)), 1)


def median_factor(n: int) -> float:
    r"""Return E[median of n |Cauchy|] for the scale 1, by which the median is too large.

    .. math:: E \tan(\pi M / 2), \quad M \sim \mathrm{Beta}(\tfrac{n+1}2, \tfrac{n+1}2)
        \;(n \text{ odd}), \qquad = 1 + \frac{\pi^2}{8n} + O(n^{-2})

    An even n averages the two middle order statistics. Below n = 3 it is infinite. Derived here.

    Examples
    --------
    >>> round(median_factor(11), 3), median_factor(2)
    (1.124, inf)
    """
    if n < 3:
        return math.inf
    u, weight = np.polynomial.legendre.leggauss(400)
    # The density lives within a few 1/√n of 1/2, or on all of [0, 1].
    half = min(0.5, 6 / math.sqrt(n))
    u, weight = 0.5 + half * u, half * weight
    total = 0.0
    for j in {(n + 1) // 2, n // 2 + 1}:  # the j-th smallest is Beta(j, n + 1 - j)
        log_c = math.lgamma(n + 1) - math.lgamma(j) - math.lgamma(n + 1 - j)
        density = np.exp(log_c + (j - 1) * np.log(u) + (n - j) * np.log1p(-u))
        total += float(weight @ (density * np.tan(math.pi / 2 * u)))
    return total / len({(n + 1) // 2, n // 2 + 1})


def cauchy_median(
    op: LinearOperator,
    products: int = 50,
    *,
    seed: int = 0,
    partition=None,
    corrected: bool = False,
    progress: bool = True,
) -> Estimate:
    r"""Estimate ‖H‖_{1,1} = Σ|H_ij| by medians, Algorithm 4 of Xie, Mohamadi and Li (2024).

    .. math:: \sum_i \operatorname{median}_{k \le n} |(H v_k)_i|,
        \qquad v_k \sim \text{Cauchy}(0,1)^d

    The median of \|Cauchy(0, s)\| is s, but the median of a sample is too large on average, by the
    factor `median_factor`: 12 % at n = 11, 2.5 % at n = 50.

    Parameters
    ----------
    op : LinearOperator
        H, symmetric, of shape (d, d).
    products : int, default 50
        n, at least 3; the paper's for GPT-2. An even n takes the mean of the two middle values.
    seed : int, default 0
        Of the probes.
    partition : None, int or Tensor
        None for the norm; else one sum for each block of rows, as `block_labels` reads it.
    corrected : bool, default False
        Divide the factor out, which makes the estimate exactly unbiased.
    progress : bool, default True
        Show a bar after five seconds.

    Returns
    -------
    Estimate
        Its relative standard error is up to 1.57/√n, the one of a single row.

    Raises
    ------
    ValueError
        Fewer than 3 probes, for which the mean is infinite.

    Notes
    -----
    Cost: n products. Memory: 8 n d bytes, all products.

    Examples
    --------
    >>> from companion.hessian.base import Dense
    >>> H = torch.diag(torch.tensor([1.0, -2.0, 3.0]))
    >>> value, stderr, *_ = cauchy_median(Dense(H), 2001)
    >>> abs(value - 6) < 3 * stderr < 0.5
    tensor(True)
    """
    logs, n = _all_logs(op, products, seed, progress), products
    ordered = logs.sort(1).values
    low, high = ordered[:, (n - 1) // 2, None], ordered[:, n // 2, None]
    scale = (low.exp() + high.exp())[:, 0] / 2
    # A median of density f moves by side/(2f) a probe; log|Cauchy| has the density 1/π at 0. The
    # middle one of an odd number is on no side.
    influence = ((logs >= high).double() - (logs <= low).double()) * (math.pi / 2 / n)
    scale = scale / median_factor(n) if corrected else scale
    return summed(op, scale, influence, n, seed, partition)


def scale_mle(
    op: LinearOperator, products: int = 50, *, seed: int = 0, partition=None, progress: bool = True
) -> Estimate:
    r"""Estimate ‖H‖_{1,1} = Σ|H_ij| by the most likely scales of the rows, × (1 − 1/n).

    .. math:: \sum_k \tanh(\log |(H v_k)_i| - \log s_i) = 0, \qquad \sum_i (1 - 1/n)\, s_i

    The best there is for one row and many probes: relative variance 2/n against 2.467/n. The factor
    removes the bias of order 1/n; what is left is of order 1/n². Derived here.

    Parameters, errors and memory are those of `cauchy_median`.

    Examples
    --------
    >>> from companion.hessian.base import Dense
    >>> value, stderr, *_ = scale_mle(Dense(torch.ones(4, 4)), 2001)
    >>> abs(value - 16) < 3 * stderr < 2
    tensor(True)
    """
    logs, n = _all_logs(op, products, seed, progress), products
    location = logs.median(1, keepdim=True).values
    for _ in range(60):  # halves the error, or better, in each round
        step = torch.tanh(logs - location).mean(1, keepdim=True).atanh()
        location = location + step
        if float(step.abs().max()) < 1e-12:
            break
    influence = 2 * torch.tanh(logs - location) / n
    return summed(op, location[:, 0].exp() * (1 - 1 / n), influence, n, seed, partition)


class LogMeans:
    r"""Running means of log |Hv| over probes, from which the geometric means of the rows follow.

    Keeps a sum for each of 32 groups of probes, whose spread gives the standard error.

    Parameters
    ----------
    op : LinearOperator
    generator : torch.Generator
    progress : bool
    """

    def __init__(self, op: LinearOperator, generator: torch.Generator, progress: bool):
        self.op, self.generator, self.progress, self.n = op, generator, progress, 0
        self.groups = max(8, min(GROUPS, NUMBERS // op.d))
        self.sums = torch.zeros(op.d, self.groups, dtype=torch.float64, device=op.device)
        self.counts = torch.zeros(self.groups, dtype=torch.float64, device=op.device)

    def add(self, n: int) -> None:
        """Take n more probes."""
        for logs in cauchy_logs(self.op, n, self.generator, self.progress):
            slot = torch.arange(self.n, self.n + logs.shape[1], device=logs.device) % self.groups
            self.sums.index_add_(1, slot, logs)
            self.counts.index_add_(0, slot, torch.ones_like(logs[0]))
            self.n += logs.shape[1]

    def scale(self) -> Tensor:
        """Return the unbiased estimates of the rows' 1-norms, of shape (d,)."""
        return math.cos(math.pi / 2 / self.n) ** self.n * (self.sums.sum(1) / self.n).exp()

    def estimate(self, seed: int, partition=None) -> Estimate:
        """Return their sum over blocks."""
        influence = (self.sums - self.counts * (self.sums.sum(1, keepdim=True) / self.n)) / self.n
        influence = influence[:, : min(self.n, self.groups)]
        return summed(self.op, self.scale(), influence, self.n, seed, partition)


def geometric_mean(
    op: LinearOperator, products: int = 50, *, seed: int = 0, partition=None, progress: bool = True
) -> Estimate:
    r"""Estimate ‖H‖_{1,1} = Σ|H_ij| by geometric means: exactly unbiased, in O(d) memory.

    .. math:: \sum_i \cos^n\!\Big(\frac{\pi}{2n}\Big) \prod_{k \le n} |(H v_k)_i|^{1/n}

    Unbiased since :math:`E|C|^t = 1/\cos(\pi t / 2)` for a standard Cauchy C and \|t\| < 1, here
    with t = 1/n, n times. One row has the relative variance
    :math:`\cos^{2n}(\pi/2n) / \cos^n(\pi/n) - 1 \to 2.467/n`. Derived here.

    Parameters and errors are those of `cauchy_median`. Cost: n products. Memory: 32 running sums
    and 16 columns of d numbers, whatever n; 8 sums and one column where d is above 10⁸.

    Examples
    --------
    >>> from companion.hessian.base import Dense
    >>> value, stderr, *_ = geometric_mean(Dense(torch.eye(1000)), 21)
    >>> abs(value - 1000) < 3 * stderr < 100
    tensor(True)
    """
    whole("products", products, 3)
    means = LogMeans(op, seeded(seed), progress)
    means.add(products)
    return means.estimate(seed, partition)
