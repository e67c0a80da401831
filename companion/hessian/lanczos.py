"""Extreme eigenvalues by the Lanczos method, with a bound on their error."""

import torch
from torch import Tensor

from companion.hessian.base import LinearOperator
from companion.hessian.estimate import Estimate
from companion.progress import bar


def tridiagonal(op: LinearOperator, start: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the tridiagonal matrix of the Krylov space of a vector, and a basis of it.

    .. math:: A Q = Q T + \beta_m q_{m+1} e_m^\top, \qquad Q^\top Q = I

    Every new direction is orthogonalised twice against all before it, so that rounding makes no
    copies of eigenvalues.

    Parameters
    ----------
    op : LinearOperator
        Symmetric A.
    start : Tensor
        Of shape (d,), not zero; q₁ is its direction.
    steps : int
        Upper bound of m. It ends early where the space is invariant.

    Returns
    -------
    alpha : Tensor
        Diagonal of T, of shape (m,), on the operator's device, in float64.
    beta : Tensor
        Below the diagonal β₁ … β_m, of shape (m,), in float64; the last one belongs to no row of T.
    basis : Tensor
        Q, of shape (d, m).

    Notes
    -----
    m products, m · d numbers, O(m² d) operations besides.
    """
    run = _Lanczos(op, start, min(steps, op.d))
    while run.step():
        pass
    return run.alpha, run.beta, run.basis


class _Lanczos:
    def __init__(self, op: LinearOperator, start: Tensor, steps: int):
        norm = torch.linalg.vector_norm(start)
        if not norm > 0 or not norm.isfinite():
            raise ValueError(f"start: expected a finite vector that is not zero, got norm {norm}")
        self.op, self.steps, self.m = op, steps, 0
        self.Q = torch.empty(steps + 1, op.d, dtype=op.dtype, device=op.device)
        self.Q[0] = start / norm
        self.a, self.b = torch.zeros(2, steps, dtype=torch.float64, device=op.device)

    @property
    def alpha(self) -> Tensor:
        return self.a[: self.m]

    @property
    def beta(self) -> Tensor:
        return self.b[: self.m]

    @property
    def basis(self) -> Tensor:
        return self.Q[: self.m].T

    def step(self) -> bool:
        """Take one product; return whether there is another direction."""
        m, Q = self.m, self.Q[: self.m + 1]
        w = self.op @ Q[m]
        if not w.isfinite().all():
            raise ValueError("op: a product is not finite")
        self.a[m] = Q[m] @ w
        scale = torch.linalg.vector_norm(w)
        for _ in range(2):
            w = w - Q.T @ (Q @ w)
        beta = torch.linalg.vector_norm(w)
        self.m += 1
        # What orthogonalisation leaves of w is rounding alone: the space is invariant.
        if beta <= 10 * torch.finfo(w.dtype).eps * max(scale, self.a[: self.m].abs().max()):
            return False
        self.b[m] = beta
        self.Q[m + 1] = w / beta
        return self.m < self.steps

    def ritz(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return Ritz values, ascending, their residual norms, and eigenvectors of T."""
        off = self.beta[:-1]
        T = torch.diag(self.alpha) + torch.diag(off, 1) + torch.diag(off, -1)
        values, vectors = torch.linalg.eigh(T)
        # Rounding of the products limits what the recurrence can know.
        floor = torch.finfo(self.op.dtype).eps * values.abs().max()
        return values, self.b[self.m - 1] * vectors[-1].abs() + floor, vectors


def extreme_eigenvalues(
    op: LinearOperator,
    k: int = 1,
    tolerance: float = 1e-3,
    max_products: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> tuple[Estimate, Estimate, Tensor]:
    r"""Return the k smallest and the k largest eigenvalues of a symmetric operator.

    Lanczos from a random start. A Ritz pair (θ, Qs), :math:`Ts = \theta s`, has the residual
    :math:`\|A Q s - \theta Q s\| = \beta_m |s_m|`, and **some** eigenvalue of A lies within that
    distance of θ. It stops once all 2k residuals are at most ``tolerance`` times the largest |θ|.

    Parameters
    ----------
    op : LinearOperator
        Symmetric.
    k : int, default 1
        Eigenvalues wanted at each end.
    tolerance : float, default 1e-3
        Relative to the spectral norm.
    max_products : int, default 200
        It ends there in any case; the residuals then say how far it came.
    seed : int, default 0
        Of the start.
    progress : bool, default True
        Show a bar after five seconds.

    Returns
    -------
    smallest, largest : Estimate
        Of shape (k,) each, ascending. ``stderr`` is the residual bound: not a standard deviation
        but a distance within which an eigenvalue lies. (Fewer than k where the start sees fewer.)
    vectors : Tensor
        Of shape (d, 2k), the Ritz vectors of both, in this order.

    Notes
    -----
    One product a step; memory for ``max_products`` vectors. Ritz values never lie outside the
    spectrum. Multiple eigenvalues show once. A start orthogonal to an eigenvector would miss it,
    which has probability zero.

    References
    ----------
    Golub and Van Loan, Matrix Computations, chapter 10.

    Examples
    --------
    >>> from companion.hessian import Dense
    >>> A = Dense(torch.diag(torch.tensor([-3.0, 1.0, 5.0])))
    >>> smallest, largest, _ = extreme_eigenvalues(A)
    >>> round(smallest.value.item(), 4), round(largest.value.item(), 4)
    (-3.0, 5.0)
    """
    if k < 1:
        raise ValueError(f"k: expected at least one eigenvalue, got {k}")
    _check_stop(tolerance, max_products)
    run = _search(op, k, tolerance, max_products, seed, progress)
    values, bounds, vectors = run.ritz()
    smallest, largest = (
        Estimate(values[i].to(op.dtype), bounds[i].to(op.dtype), run.m, seed)
        for i in (slice(k), slice(-k, None))
    )
    wanted = torch.cat([vectors[:, :k], vectors[:, -k:]], 1).to(op.dtype)
    return smallest, largest, run.basis @ wanted


def spectral_norm(
    op: LinearOperator,
    tolerance: float = 1e-3,
    max_products: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> Estimate:
    r"""Return the spectral norm :math:`\|A\|_2 = \max_i |\lambda_i|` of a symmetric operator.

    The larger end of :func:`extreme_eigenvalues`, which has the parameters. The value never exceeds
    the norm; ``stderr`` is a distance within which an eigenvalue lies.

    Examples
    --------
    >>> from companion.hessian import Dense
    >>> round(spectral_norm(Dense(torch.diag(torch.tensor([-7.0, 1.0, 5.0])))).value.item(), 4)
    7.0
    """
    _check_stop(tolerance, max_products)
    run = _search(op, None, tolerance, max_products, seed, progress)
    values, bounds, _ = run.ritz()
    i = values.abs().argmax()
    return Estimate(values[i].abs().to(op.dtype), bounds[i].to(op.dtype), run.m, seed)


def _search(op, k, tolerance, max_products, seed, progress):
    """Run until the k eigenvalues at each end, or the one largest by size (None), are found."""
    start = gaussian(op, 1, torch.Generator().manual_seed(seed))[:, 0]
    run = _Lanczos(op, start, min(max_products, op.d))
    with bar(run.steps, progress, "product", desc="Lanczos") as shown:
        while run.step():
            shown.update()
            values, bounds, _ = run.ritz()
            size = values.abs()
            wanted = bounds[size.argmax()] if k is None else torch.cat([bounds[:k], bounds[-k:]])
            if run.m > 2 * (k or 1) and wanted.max() <= tolerance * size.max():
                break
    return run


def gaussian(op: LinearOperator, n: int, generator: torch.Generator) -> Tensor:
    """Return n normal probes as columns (d, n), drawn on the CPU: the same on any device."""
    return torch.randn(n, op.d, generator=generator, dtype=torch.float64).T.to(op.device, op.dtype)


def _check_stop(tolerance: float, max_products: int) -> None:
    if not tolerance >= 0:
        raise ValueError(f"tolerance: expected a number of at least 0, got {tolerance}")
    if max_products < 1:
        raise ValueError(f"max_products: expected at least one, got {max_products}")
