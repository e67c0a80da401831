r"""The (1,1)-norm by exact rows: a product with a unit vector gives a whole row and its 1-norm."""

import math

import torch
from torch import Tensor

from companion.arguments import whole
from companion.hessian.base import LinearOperator
from companion.hessian.blocks import block_labels, block_sum
from companion.hessian.cauchy import ZERO, LogMeans
from companion.hessian.estimate import Estimate, estimate
from companion.hessian.probes import chunks, pairs, seeded, signs

FEWEST = 8  # draws within a block below which its standard error is not reported


def row_norms(op: LinearOperator, rows: Tensor, progress: bool) -> Tensor:
    """Return the 1-norms of the given rows, float64, from indices of shape (m,); m products."""
    groups = iter(rows.to(op.device).split(list(chunks(len(rows), op.d))))

    def draw(k):
        unit = torch.zeros(op.d, k, dtype=op.dtype, device=op.device)
        unit[next(groups), torch.arange(k, device=op.device)] = 1
        return unit

    both = pairs(op, len(rows), draw, progress, "rows")
    return torch.cat([x.abs().sum(0, dtype=torch.float64) for _, x in both])


def all_rows(op: LinearOperator, partition=None, progress: bool = True) -> Estimate:
    """Return ‖H‖_{1,1} exactly, up to rounding, from all d rows: d products."""
    norms = row_norms(op, torch.arange(op.d), progress)
    value = block_sum(norms, block_labels(partition, op.d, op.device))
    value = value[0] if partition is None else value
    return estimate(op, value, torch.zeros_like(value), op.d, kind="exact")


def uniform_rows(
    op: LinearOperator, products: int = 50, *, seed: int = 0, partition=None, progress: bool = True
) -> Estimate:
    r"""Estimate ‖H‖_{1,1} = Σ|H_ij| by m rows drawn uniformly, without replacement.

    .. math:: \frac dm \sum_{i \in S} \|H_i\|_1, \qquad
        \mathrm{SE}^2 = \frac{d^2}{m} \Big(1 - \frac md\Big) s^2

    Unbiased since each row is in S with probability m/d; s² is the sample variance of what a draw
    adds to the block. A few heavy rows among many make it useless, and its standard error does not
    see those that were not drawn: it is here as the baseline.

    Parameters
    ----------
    op : LinearOperator
        H, symmetric, of shape (d, d).
    products : int, default 50
        m, 2 to d.
    seed : int, default 0
        Of the rows.
    partition : None, int or Tensor
        None for the norm; else one sum for each block of rows, as `block_labels` reads it. A block
        with fewer than 8 draws has a standard error of NaN: nobody knows.
    progress : bool, default True
        Show a bar after five seconds.

    Returns
    -------
    Estimate

    Notes
    -----
    Cost: m products. Memory: 16 columns of d numbers. Source: textbook sampling theory.

    Examples
    --------
    >>> from companion.hessian.base import Dense
    >>> uniform_rows(Dense(torch.ones(40, 40)), 5).value
    tensor(1600.)
    """
    whole("products", (m := products), 2)
    if m > op.d:
        raise ValueError(f"products: expected 2 to d = {op.d}, got {m}")
    rows = torch.randperm(op.d, generator=seeded(seed))[:m]
    labels = block_labels(partition, op.d, op.device)
    norms = row_norms(op, rows, progress)
    value, stderr = _mean(op.d * norms, labels[rows.to(op.device)], int(labels.max()) + 1)
    return _answer(op, value, stderr * math.sqrt(1 - m / op.d), m, seed, partition)


def rademacher_rows(
    op: LinearOperator,
    products: int = 50,
    *,
    seed: int = 0,
    partition=None,
    floor: float = 0.05,
    progress: bool = True,
) -> Estimate:
    r"""Estimate ‖H‖_{1,1} = Σ|H_ij| by rows drawn in proportion to their estimated 2-norms.

    Half the products are Rademacher probes v (entries ±1): :math:`E (Hv)_i^2 = \|H_i\|_2^2`. Then

    .. math:: \frac1m \sum_t \frac{\|H_{i_t}\|_1}{p_{i_t}}, \qquad i_t \sim p, \quad
        p_i = (1 - f) \frac{\|H_i\|_2}{\sum_j \|H_j\|_2} + \frac fd

    The draws from the two parts of p are f m and (1 - f) m exactly, f m rounded up: a mixture by
    chance would seldom draw from the small part, and then look certain of a wrong sum.

    Unbiased for any p > 0. The relative variance is that of :math:`\|H_i\|_1/p_i`, over m: small
    where all rows are about equally spread out, without a bound where they are not.

    Parameters
    ----------
    op, seed, partition, progress
        As for `uniform_rows`.
    products : int, default 50
        At least 6; half of them probes, half rows.
    floor : float, default 0.05
        f, the share of uniform draws. Probes of ±1 can miss a row altogether, so f > 0.

    Returns
    -------
    Estimate
        A row that is drawn again costs no product.

    Notes
    -----
    Memory: 16 columns of d numbers. Derived here.

    Examples
    --------
    >>> from companion.hessian.base import Dense
    >>> H = torch.diag(torch.arange(1.0, 101.0))
    >>> value, stderr, *_ = rademacher_rows(Dense(H), 60)
    >>> abs(value - 5050) < 3 * stderr < 400
    tensor(True)
    """
    whole("products", products, 6)
    if not 0 < floor <= 1:
        raise ValueError(f"floor: expected a share above 0 and at most 1, got {floor!r}")
    generator = seeded(seed)
    probes = products // 2
    squares = torch.zeros(op.d, dtype=torch.float64, device=op.device)
    for _, x in pairs(op, probes, signs(op, generator), progress, "probes"):
        squares += x.double().square().sum(1)
    proxy = squares.sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    m, proxy, uniform = products - probes, proxy / proxy.sum(), torch.full_like(proxy, 1 / op.d)
    few = math.ceil(floor * m)
    p = (1 - few / m) * proxy + few / m * uniform
    drawn = Draws(op, p, torch.zeros_like(p), generator, progress)
    drawn.add(m - few, proxy)
    drawn.add(few, uniform)
    return drawn.estimate(probes, seed, partition)


def cauchy_rows(
    op: LinearOperator, products: int = 64, *, seed: int = 0, partition=None, progress: bool = True
) -> Estimate:
    r"""Estimate ‖H‖_{1,1} = Σ|H_ij| by rows drawn in proportion to their geometric means.

    k = half the products are Cauchy probes, which give unbiased estimates :math:`q_i` of the rows'
    1-norms (`geometric_mean`). The others correct these: with :math:`p_i = q_i / \sum_j q_j`,

    .. math:: \sum_i q_i + \frac1m \sum_{t \le m} \frac{\|H_{i_t}\|_1 - q_{i_t}}{p_{i_t}},
        \qquad i_t \sim p

    *Unbiased*: whatever q is, the mean over the draws is Σ‖H_i‖₁, for each block of rows too.

    *Variance*: for **every** symmetric matrix

    .. math:: \frac{\operatorname{Var}}{\|H\|_{1,1}^2}
        \le \frac1m \Big(\frac1{\cos^k(\pi/k)} - 1\Big) \approx \frac{\pi^2}{2 k m}

    since given q it is :math:`\frac1m (\sum_i q_i \sum_i \|H_i\|_1^2/q_i - \|H\|_{1,1}^2)`, so on
    average a weighted mean of :math:`E[r_j/r_i] - 1` with :math:`r_i = q_i/\|H_i\|_1`. All r_i
    have one law, that of a geometric mean of \|Cauchy\|, which is also the law of its inverse up to
    a constant: by Cauchy and Schwarz,
    :math:`E[r_j/r_i] \le E \prod_k |C_k|^{2/k} = \cos^{-k}(\pi/k)`. Where the rows hardly share
    their probes it is half of that: a relative error of π/n at n products, where the probes alone
    have up to 1.57/√n. An error that all q share cancels.

    Parameters
    ----------
    op, seed, partition, progress
        As for `uniform_rows`.
    products : int, default 64
        At least 6; half of them probes, half rows.

    Returns
    -------
    Estimate
        A row that is drawn again costs no product.

    Notes
    -----
    Memory: that of `geometric_mean`. Derived here.

    Examples
    --------
    >>> from companion.hessian.base import Dense
    >>> u = torch.arange(1.0, 101.0)
    >>> value, stderr, *_ = cauchy_rows(Dense(torch.outer(u, u)), 20)
    >>> bool((value / 5050**2 - 1).abs() < 1e-5)  # rank one: all q share their error
    True
    """
    whole("products", products, 6)
    generator = seeded(seed)
    means = LogMeans(op, generator, progress)
    means.add(products // 2)
    drawn = Draws.by_means(means)
    drawn.add(products - products // 2)
    return drawn.estimate(means.n, seed, partition)


class Draws:
    r"""Rows drawn with replacement, and the sums over blocks that they estimate.

    .. math:: \sum_{i \in b} q_i
        + \frac1m \sum_t 1[i_t \in b] \frac{\|H_{i_t}\|_1 - q_{i_t}}{p_{i_t}}

    Parameters
    ----------
    op : LinearOperator
    p : Tensor
        Probabilities of the rows, float64, of shape (d,).
    q : Tensor
        What is thought of the rows' 1-norms, float64, of shape (d,).
    generator : torch.Generator
    progress : bool
    """

    def __init__(self, op, p: Tensor, q: Tensor, generator: torch.Generator, progress: bool):
        self.op, self.p, self.q, self.generator, self.progress = op, p, q, generator, progress
        self.norms = {}  # of the rows seen so far
        self.rows = []

    @classmethod
    def by_means(cls, means: LogMeans) -> "Draws":
        """Draw in proportion to geometric means."""
        q = means.scale()
        return cls(means.op, q / q.sum(), q, means.generator, means.progress)

    def add(self, m: int, p: Tensor | None = None) -> None:
        """Draw m more rows: from p, or from the part of it that is given."""
        cumulative = (self.p if p is None else p).cumsum(0).cpu()
        u = torch.rand(m, dtype=torch.float64, generator=self.generator) * cumulative[-1]
        rows = torch.searchsorted(cumulative, u, right=True).clamp_max(self.op.d - 1).tolist()
        if new := sorted(set(rows) - self.norms.keys()):
            norms = row_norms(self.op, torch.tensor(new), self.progress)
            self.norms.update(zip(new, norms.tolist(), strict=True))
        self.rows += rows

    def estimate(self, probes: int, seed: int, partition=None) -> Estimate:
        """Return the sums over blocks, after ``probes`` products that made p and q."""
        labels = block_labels(partition, self.op.d, self.op.device)
        rows = torch.tensor(self.rows, device=self.op.device)
        norms = torch.tensor([self.norms[i] for i in self.rows], dtype=torch.float64)
        z = (norms.to(self.op.device) - self.q[rows]) / self.p[rows]
        known = block_sum(self.q, labels)
        mean, stderr = _mean(z, labels[rows], len(known))
        # Nothing is unknown about a block of zero rows, drawn or not.
        zero = block_sum(self.p, labels) < ZERO
        value, stderr = (known + mean).masked_fill(zero, 0), stderr.masked_fill(zero, 0)
        return _answer(self.op, value, stderr, probes + len(self.norms), seed, partition)


def _mean(z: Tensor, blocks: Tensor, n_blocks: int) -> tuple[Tensor, Tensor]:
    """Return mean and standard error, for each block, of draws z that count in their block only."""
    m = len(z)
    zeros = torch.zeros(n_blocks, dtype=z.dtype, device=z.device)
    mean = zeros.index_add(0, blocks, z) / m
    count = zeros.index_add(0, blocks, torch.ones_like(z))
    squares = zeros.index_add(0, blocks, (z - mean[blocks]).square()) + (m - count) * mean.square()
    stderr = (squares / (m - 1) / m).sqrt()
    return mean, stderr.masked_fill(count < min(FEWEST, m), math.nan)


def _answer(op, value, stderr, products, seed, partition) -> Estimate:
    if partition is None:
        value, stderr = value[0], stderr[0]
    return estimate(op, value, stderr, products, seed)
