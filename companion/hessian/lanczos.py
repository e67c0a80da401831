r"""The Lanczos recurrence: an orthonormal basis in which a symmetric operator is tridiagonal."""

import torch
from torch import Tensor

from companion.hessian.base import LinearOperator
from companion.hessian.probes import multiply


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
    if start.shape != (op.d,) or not bool(start.isfinite().all()) or not bool(start.any()):
        raise ValueError(
            f"start: expected a finite vector of shape ({op.d},) that is not zero, got shape "
            f"{tuple(start.shape)} and norm {torch.linalg.vector_norm(start)}"
        )
    run = Lanczos(op, start.unsqueeze(1), steps)
    while run.more:
        run.step()
    return run.alpha[0], run.beta[0], run.Q[0].T


class Lanczos:
    """Lanczos from p starts at once: a step is one product of p columns.

    Parameters
    ----------
    op : LinearOperator
    starts : Tensor
        Of shape (d, p), none of them zero.
    steps : int
        Most steps; d at most.

    Attributes
    ----------
    alpha, beta : Tensor
        Of T, float64, of shape (p, m).
    Q : Tensor
        The bases as rows, of shape (p, m, d). A start whose space is invariant goes on with zeros.
    more : bool
        Whether another step can be taken.
    rounding : Tensor
        Of shape (p,): how large rounding may have made the last β, or may have hidden of it.
    """

    def __init__(self, op: LinearOperator, starts: Tensor, steps: int):
        self.op, self.m, self.steps, self.more = op, 0, min(steps, op.d), True
        self.next = _unit(starts.to(op.device, op.dtype).T)[0]
        p = len(self.next)
        self._Q = torch.zeros(p, self.steps, op.d, dtype=op.dtype, device=op.device)
        self._T = torch.zeros(2, p, self.steps, dtype=torch.float64, device=op.device)

    @property
    def alpha(self) -> Tensor:
        return self._T[0, :, : self.m]

    @property
    def beta(self) -> Tensor:
        return self._T[1, :, : self.m]

    @property
    def Q(self) -> Tensor:
        return self._Q[:, : self.m]

    def step(self) -> None:
        """Take one step; ``more`` says whether there is another direction."""
        m, q = self.m, self.next
        self.m, self._Q[:, m] = m + 1, q
        w, norm = _unit(multiply(self.op, q.T).T)
        self._T[0, :, m] = norm * (q * w).sum(1, dtype=torch.float64)
        for _ in range(2):
            w = w - (self.Q.mT @ (self.Q @ w.unsqueeze(2))).squeeze(2)
        # What orthogonalisation leaves of an invariant space is rounding alone.
        self.rounding = torch.maximum(norm, self.alpha.abs().amax(1))
        self.rounding = 10 * torch.finfo(w.dtype).eps * self.rounding
        self.next, left = _unit(w)
        on = norm * left > self.rounding
        self._T[1, :, m] = torch.where(on, norm * left, 0)
        self.next = torch.where(on.unsqueeze(1), self.next, 0)
        self.more = bool(on.any()) and self.m < self.steps

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Return Ritz values (p, m), ascending, and the eigenvectors of T (p, m, m), float64."""
        off = self.beta[:, :-1]
        T = torch.diag_embed(self.alpha)
        return torch.linalg.eigh(T + torch.diag_embed(off, 1) + torch.diag_embed(off, -1))


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows of length one, or zero, and their norms in float64; squares stay in range."""
    size = x.abs().amax(1, keepdim=True)
    x = x / torch.where(size > 0, size, 1)
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(norm > 0, norm, 1), (size.double() * norm).squeeze(1)
