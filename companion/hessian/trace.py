"""Trace, diagonal and Frobenius norm from random products."""

from collections.abc import Sequence

import torch
from torch import Tensor

from companion.arguments import whole
from companion.hessian.base import LinearOperator
from companion.hessian.estimate import Estimate, estimate
from companion.hessian.probes import chunks, pairs, seeded, signs


def trace(
    op: LinearOperator,
    products: int = 100,
    splits: Sequence[slice] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Estimate:
    r"""Return the trace of an operator, by Hutchinson's estimator.

    .. math:: \frac1n \sum_k v_k^\top A v_k, \qquad v_k \text{ of independent signs}

    Unbiased: :math:`E\, v_i v_j = [i = j]`, so that :math:`E \sum_{ij} A_{ij} v_i v_j` is the
    trace. The variance of one term is :math:`2 \sum_{i \ne j} A_{ij}^2`: diagonal matrices are
    exact.

    Parameters
    ----------
    op : LinearOperator
        Symmetric.
    products : int, default 100
        n, at least two.
    splits : sequence of slice, optional
        Blocks of coordinates: one trace a diagonal block, from the same products.
    seed : int, default 0
        Of the probes.
    progress : bool, default True
        Show a bar after five seconds.

    Returns
    -------
    Estimate
        A scalar, or one entry a block.

    Notes
    -----
    n products; memory for a few times 16 vectors.

    References
    ----------
    Hutchinson, "A stochastic estimator of the trace of the influence matrix", Comm. Statist.
    Simulation 18, 1989.

    Examples
    --------
    >>> from companion.hessian import Dense
    >>> trace(Dense(torch.diag(torch.tensor([1.0, 2.0, 3.0])))).value
    tensor(6.)
    """

    def sample(V, AV):
        terms = V.double() * AV
        if splits is None:
            return terms.sum(0)
        return torch.stack([terms[s].sum(0) for s in splits])

    mean = _mean(op, products, signs(op, seeded(seed)), progress, sample, "trace")
    return estimate(op, *mean, products, seed)


def diagonal(
    op: LinearOperator, products: int = 100, seed: int = 0, progress: bool = True
) -> Estimate:
    r"""Return the diagonal of an operator, of shape (d,).

    .. math:: \frac1n \sum_k v_k \odot A v_k, \qquad v_k \text{ of independent signs}

    Unbiased: entry i is :math:`A_{ii} + \sum_{j \ne i} A_{ij} v_i v_j`, and the mean of
    :math:`v_i v_j` is zero. The variance of one term is :math:`\sum_{j \ne i} A_{ij}^2`. n
    products; memory for a few times 16 vectors. Parameters are those of :func:`trace`.

    References
    ----------
    Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a matrix", Appl. Numer. Math.
    57, 2007.

    Examples
    --------
    >>> from companion.hessian import Dense
    >>> diagonal(Dense(torch.diag(torch.tensor([1.0, 2.0])))).value
    tensor([1., 2.])
    """
    draw = signs(op, seeded(seed))
    mean = _mean(op, products, draw, progress, lambda V, AV: V.double() * AV, "diagonal")
    return estimate(op, *mean, products, seed)


def frobenius_norm(
    op: LinearOperator, products: int = 100, seed: int = 0, progress: bool = True
) -> Estimate:
    r"""Return the Frobenius norm of an operator.

    .. math:: \Big( \frac1n \sum_k \|A v_k\|^2 \Big)^{1/2}, \qquad v_k \text{ of independent signs}

    The mean under the root is unbiased for :math:`\|A\|_F^2 = \operatorname{tr} A^\top A`; the root
    bends it down by a relative 1/n of half the squared relative error of one term at most. The
    standard error is that of the square over twice the root. n products; memory for a few times 16
    vectors. Parameters are those of :func:`trace`.

    Examples
    --------
    >>> from companion.hessian import Dense
    >>> frobenius_norm(Dense(torch.diag(torch.tensor([3.0, 4.0])))).value
    tensor(5.)
    """

    def sample(V, AV):
        return AV.double().square().sum(0)

    draw = signs(op, seeded(seed))
    square, stderr = _mean(op, products, draw, progress, sample, "Frobenius norm")
    root = square.sqrt()
    return estimate(op, root, torch.where(root > 0, stderr / (2 * root), 0), products, seed)


def hutchpp(
    op: LinearOperator, products: int = 99, seed: int = 0, progress: bool = True
) -> Estimate:
    r"""Return the trace of an operator, by Hutch++: far better where few eigenvalues dominate.

    .. math::
        \operatorname{tr} Q^\top A Q + \frac1m \sum_k v_k^\top P A P v_k, \qquad
        P = I - Q Q^\top, \quad m = n/3

    Q is an orthonormal basis of AΩ for m random signs Ω and holds most of the dominant
    eigenvectors; fresh signs v see to the rest. Unbiased, given any Q: the second term has the mean
    tr PAP, just what the first one misses. Given Q its terms are independent, so that the standard
    error is honest. (XTrace makes more of as many products, but its terms depend on each other, and
    their spread understates its error.)

    Parameters
    ----------
    op : LinearOperator
        Symmetric.
    products : int, default 99
        n, a multiple of three, at least six. From 3d on, the trace is computed exactly, with
        d products.
    seed : int, default 0
        Of the probes.
    progress : bool, default True
        Show a bar after five seconds.

    Notes
    -----
    n products; memory for about n/3 vectors and a few times 16; O(d n²) operations besides.

    References
    ----------
    Meyer, Musco, Musco and Woodruff, "Hutch++: optimal stochastic trace estimation", SOSA 2021;
    Epperly, Tropp and Webber, "XTrace", SIAM J. Matrix Anal. Appl. 45, 2024.

    Examples
    --------
    >>> from companion.hessian import Dense
    >>> u = torch.arange(50.0)
    >>> estimate = hutchpp(Dense(torch.outer(u, u) / (u @ u)), products=6)
    >>> round(estimate.value.item(), 4)
    1.0
    """
    whole("products", products, 6)
    if products % 3:
        raise ValueError(f"products: expected a multiple of three, got {products}")
    m, generator = products // 3, seeded(seed)
    if m >= op.d:
        Q = torch.eye(op.d, dtype=op.dtype, device=op.device)
        exact = _quadratic(op, Q, progress)
        return estimate(op, exact, torch.zeros_like(exact), op.d, kind="exact")
    draw = signs(op, generator)
    sketch = torch.cat([AV for _, AV in pairs(op, m, draw, progress, "sketch")], 1)
    Q = torch.linalg.qr(sketch).Q  # (d, m)

    def projected(k):
        V = draw(k)
        return V - Q @ (Q.T @ V)

    def sample(V, AV):
        return (V.double() * AV).sum(0)

    rest, stderr = _mean(op, m, projected, progress, sample, "trace")
    return estimate(op, _quadratic(op, Q, progress) + rest, stderr, products, seed)


def _quadratic(op: LinearOperator, Q: Tensor, progress: bool) -> Tensor:
    """Return tr QᵀAQ, in float64."""
    columns = iter(Q.split(list(chunks(Q.shape[1], op.d)), 1))
    both = pairs(op, Q.shape[1], lambda k: next(columns), progress, "trace")
    return sum((q.double() * Aq).sum() for q, Aq in both)


def _mean(op, n, draw, progress, sample, desc) -> tuple[Tensor, Tensor]:
    """Return mean and standard error, float64, of sample(V, A V) → (..., k) over n probes.

    In float64 no square of what fits into float32 over- or underflows.
    """
    whole("products", n, 2)
    mean, square, done = 0.0, 0.0, 0  # square: the sum of squared deviations (Chan et al.)
    for V, AV in pairs(op, n, draw, progress, desc):
        x, k = sample(V, AV), V.shape[1]
        new = x.mean(-1)
        square = square + (x - new.unsqueeze(-1)).square().sum(-1)
        square = square + (new - mean) ** 2 * (done * k / (done + k))
        mean, done = mean + (new - mean) * (k / (done + k)), done + k
    return mean, (square / (n - 1) / n).sqrt()
