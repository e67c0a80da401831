"""Trace, diagonal and Frobenius norm from random products."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from companion.hessian.base import LinearOperator
from companion.hessian.estimate import Estimate
from companion.progress import bar

TOGETHER = 16  # probes of one call


def trace(
    op: LinearOperator,
    n: int = 100,
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
    n : int, default 100
        Products, at least two.
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
        terms = V * AV
        if splits is None:
            return terms.sum(0)
        return torch.stack([terms[s].sum(0) for s in splits])

    return _mean(op, n, seed, progress, sample, "trace")


def diagonal(op: LinearOperator, n: int = 100, seed: int = 0, progress: bool = True) -> Estimate:
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
    return _mean(op, n, seed, progress, lambda V, AV: V * AV, "diagonal")


def frobenius_norm(
    op: LinearOperator, n: int = 100, seed: int = 0, progress: bool = True
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
    square = _mean(op, n, seed, progress, lambda V, AV: AV.square().sum(0), "Frobenius norm")
    root = square.value.sqrt()
    stderr = torch.where(root > 0, square.stderr / (2 * root), 0)
    return Estimate(root, stderr, n, seed)


def hutchpp(op: LinearOperator, n: int = 99, seed: int = 0, progress: bool = True) -> Estimate:
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
    n : int, default 99
        Products, a multiple of three, at least six. From 3d on, the trace is computed exactly, with
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
    >>> estimate = hutchpp(Dense(torch.outer(u, u) / (u @ u)), n=6)
    >>> round(estimate.value.item(), 4)
    1.0
    """
    if n < 6 or n % 3:
        raise ValueError(f"n: expected a multiple of three products, at least 6, got {n}")
    m = n // 3
    generator = torch.Generator().manual_seed(seed)
    if m >= op.d:
        Q = torch.eye(op.d, dtype=op.dtype, device=op.device)
        exact = _quadratic(op, Q, progress)
        return Estimate(exact, torch.zeros_like(exact), op.d, None)
    sketch = [op @ V for V in signs(op, m, generator).split(TOGETHER, 1)]
    Q = torch.linalg.qr(torch.cat(sketch, 1)).Q  # (d, m)

    def project(V):
        return V - Q @ (Q.T @ V)

    def sample(V, APV):
        return (project(V) * APV).sum(0)

    rest = _mean(op, m, generator, progress, sample, "trace", project)
    return Estimate(_quadratic(op, Q, progress) + rest.value, rest.stderr, n, seed)


def _quadratic(op: LinearOperator, Q: Tensor, progress: bool) -> Tensor:
    """Return tr QᵀAQ."""
    total = 0.0
    with bar(Q.shape[1], progress, "product", desc="trace") as shown:
        for part in Q.split(TOGETHER, 1):
            total = total + (part * (op @ part)).sum()
            shown.update(part.shape[1])
    return total


def signs(op: LinearOperator, n: int, generator: torch.Generator) -> Tensor:
    """Return n probes of independent signs as columns (d, n), drawn on the CPU."""
    bits = torch.randint(2, (n, op.d), generator=generator, dtype=torch.int8)
    return (2 * bits - 1).T.to(op.device, op.dtype)


def _mean(
    op: LinearOperator,
    n: int,
    seed: int | torch.Generator,
    progress: bool,
    sample: Callable[[Tensor, Tensor], Tensor],
    what: str,
    change: Callable[[Tensor], Tensor] = lambda V: V,
) -> Estimate:
    """Return mean and standard error of sample(V, A change(V)) → (..., k) over n sign probes."""
    if n < 2:
        raise ValueError(f"n: expected at least two products, got {n}")
    generator = torch.Generator().manual_seed(seed) if isinstance(seed, int) else seed
    mean = square = 0.0  # of what came so far, and its summed squared deviations (Chan et al.)
    with bar(n, progress, "product", desc=what) as shown:
        for done in range(0, n, TOGETHER):
            k = min(TOGETHER, n - done)
            V = signs(op, k, generator)
            x = sample(V, op @ change(V))
            new = x.mean(-1)
            square = square + (x - new.unsqueeze(-1)).square().sum(-1)
            square = square + (new - mean) ** 2 * (done * k / (done + k))
            mean = mean + (new - mean) * (k / (done + k))
            shown.update(k)
    if not mean.isfinite().all():
        raise ValueError("op: a product is not finite")
    return Estimate(mean, (square / (n - 1) / n).sqrt(), n, seed)
