r"""Adam's smoothness constant at one point: ‖H‖_{∞→1} and the bracket of Λ_Φ(H).

For a partition Φ into blocks b of :math:`d_b` coordinates,

.. math:: \Lambda_\Phi(H) = \min \Big\{ \sum_b d_b h_b : -D \preceq H \preceq D,\;
    D = h_b \text{ on block } b, \text{ diagonal} \Big\}

is the constant H(L, Φ) of Definition 3.9 of Xie, Mohamadi and Li (2024) at one Hessian. One block
is AdaSGD's, d‖H‖₂; one block a coordinate is Adam's. By duality of semidefinite programs

.. math:: \Lambda_\Phi(H) = \max \big\{ \langle U, H V \rangle :
    \|U_{(b)}\|_F, \|V_{(b)}\|_F \le \sqrt{d_b} \big\}, \qquad U, V \in \mathbb{R}^{d \times r}

for r large enough, and any r gives a lower bound. With singletons, r = 1 is ‖H‖_{∞→1} =
max uᵀHv over signs, and by Grothendieck's inequality Λ ≤ 1.783 ‖H‖_{∞→1}. Derived here.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from companion.hessian.base import LinearOperator
from companion.hessian.blocks import block_labels, block_sum
from companion.hessian.estimate import Estimate
from companion.hessian.lanczos import spectral_norm
from companion.progress import bar


class Bracket(NamedTuple):
    """Two numbers with the constant between them.

    Attributes
    ----------
    lower, upper : Tensor
        Scalars, of the operator's dtype and device.
    products : int
        Products with the operator that it took, counted in columns.
    seed : int
        Of the start.
    """

    lower: Tensor
    upper: Tensor
    products: int
    seed: int


class Scaled(LinearOperator):
    r"""The operator :math:`\mathrm{diag}(s) A\, \mathrm{diag}(s)`, for s of shape (d,)."""

    def __init__(self, op: LinearOperator, scale: Tensor):
        super().__init__(op.d, op.dtype, op.device)
        self.op, self.scale = op, scale.unsqueeze(1)

    def matmat(self, V: Tensor) -> Tensor:
        return self.scale * (self.op @ (self.scale * V))


class Blocks:
    """Norms over the blocks of a partition."""

    def __init__(self, op: LinearOperator, partition):
        self.labels = block_labels(partition, op.d, op.device)
        self.roots = self.labels.bincount().to(op.dtype).sqrt().unsqueeze(1)  # (blocks, 1), √d_b

    def norms(self, W: Tensor) -> Tensor:
        """Return the 2-norms of the blocks, for each column apart: (d, r) to (blocks, r)."""
        return block_sum(W.square(), self.labels).sqrt()

    def normalise(self, W: Tensor, norms: Tensor, otherwise: Tensor) -> Tensor:
        """Return W with its blocks scaled to the norms √d_b; where they are 0, ``otherwise``."""
        factor = torch.where(norms > 0, self.roots / norms, 0.0)[self.labels]
        return torch.where(factor > 0, W * factor, otherwise)


def norm_inf_1(
    op: LinearOperator, partition=None, *, restarts: int = 16, steps: int = 100, seed: int = 0
) -> Estimate:
    r"""Bound ‖H‖_{∞→1} = max uᵀHv over |u_i|, |v_i| ≤ 1 from below, by alternating maximisation.

    .. math:: u \leftarrow \operatorname{sign}(H v), \qquad v \leftarrow \operatorname{sign}(H u),
        \qquad \|H\|_{\infty \to 1} \ge \|H v\|_1

    Each product raises the bound, until it stays at a local maximum; several starts run together,
    and the best counts. With a partition, blocks are scaled to the norm √d_b instead of to signs:
    the norm from Φ to its dual, of which one block is d‖H‖₂, by power iteration.

    Parameters
    ----------
    op : LinearOperator
        H, symmetric, of shape (d, d).
    partition : None, int or Tensor
        None for one block a coordinate; else as `block_labels` reads it.
    restarts : int, default 16
        Random starts, columns of one product.
    steps : int, default 100
        Most products for each start.
    seed : int, default 0
        Of the starts.

    Returns
    -------
    Estimate
        A lower bound; its standard error is NaN, since nobody knows how far below it is.

    Notes
    -----
    Cost: at most restarts × steps products. Memory: some 4 × restarts columns. Exact maximisation
    is NP-hard. Derived here.

    Examples
    --------
    >>> from companion.hessian.base import Dense
    >>> norm_inf_1(Dense(torch.ones(5, 5))).value
    tensor(25.)
    """
    _check(restarts=restarts, steps=steps)
    blocks = Blocks(op, op.d if partition is None else partition)
    x = torch.randn(restarts, op.d, generator=torch.Generator().manual_seed(seed)).T
    x = x.to(op.device, op.dtype)
    x, best, products = blocks.normalise(x, blocks.norms(x), x), -torch.inf, 0
    with bar(steps, unit="product") as progress:
        for _ in range(steps):
            y = op @ x
            norms, products = blocks.norms(y), products + restarts
            last, best = best, (blocks.roots * norms).sum(0)
            if bool((best <= last).all()):
                break
            x = blocks.normalise(y, norms, x)
            progress.update()
    value = _finite(best.max())
    return Estimate(value, torch.full_like(value, torch.nan), products, seed)


def smoothness_bracket(
    op: LinearOperator,
    partition=None,
    *,
    rank: int = 16,
    steps: int = 200,
    rtol: float = 1e-4,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> Bracket:
    r"""Bracket Λ_Φ(H), the smoothness constant of blockwise Adam at one Hessian.

    *Lower.* Start from a random V of rank r, blocks of Frobenius norm √d_b, and repeat

    .. math:: V \leftarrow \text{blocks of } HV \text{ scaled to } \sqrt{d_b}, \qquad
        \Lambda_\Phi(H) \ge \sum_b \sqrt{d_b} \|(HV)_{(b)}\|_F

    Each product raises this bound. *Upper.* Where it is stationary, :math:`h_b =
    \|(HV)_{(b)}\|_F / \sqrt{d_b}` is the D of the minimum. Any D will do once it is scaled:

    .. math:: \Lambda_\Phi(H) \le \|D^{-1/2} H D^{-1/2}\|_2 \sum_b d_b h_b

    That norm is the `spectral_norm` by Lanczos plus its residual, within which an eigenvalue lies:
    the bound holds unless the random start is blind to the largest one.

    Parameters
    ----------
    op : LinearOperator
        H, symmetric, of shape (d, d).
    partition : None, int or Tensor
        None for one block a coordinate, Adam's constant; else as `block_labels` reads it: 1 for
        AdaSGD's.
    rank : int, default 16
        r, columns of V: a few suffice on all matrices that we tried.
    steps : int, default 200
        Most products with V, and most of Lanczos.
    rtol : float, default 1e-4
        Stop when ten products raised the lower bound by less than this.
    tolerance : float, default 1e-3
        Residual of Lanczos, relative; the upper bound is too large by up to this.
    seed : int, default 0
        Of the start.

    Returns
    -------
    Bracket

    Notes
    -----
    Cost: at most (rank + 1) × steps products. Memory: some 4 × rank columns, and one for each
    product of Lanczos.
    Derived here.

    Examples
    --------
    >>> from companion.hessian.base import Dense
    >>> H = torch.diag(torch.tensor([3.0, -1.0]))
    >>> lower, upper, products, seed = smoothness_bracket(Dense(H))
    >>> bool((lower - 4).abs() < 1e-4), bool((upper - 4).abs() < 1e-4)
    (True, True)
    """
    _check(rank=rank, steps=steps)
    blocks = Blocks(op, op.d if partition is None else partition)
    V = torch.randn(rank, op.d, generator=torch.Generator().manual_seed(seed)).T
    V = V.to(op.device, op.dtype)
    norms = blocks.norms(V).norm(dim=1, keepdim=True)
    bounds = []
    with bar(steps, unit="product") as progress:
        for _ in range(steps):
            V = blocks.normalise(V, norms, V)
            W = op @ V
            norms = blocks.norms(W).norm(dim=1, keepdim=True)  # (blocks, 1)
            bounds.append((blocks.roots * norms).sum())
            if len(bounds) > 10 and bounds[-1] <= bounds[-11] * (1 + rtol):
                break
            V = torch.where((norms > 0)[blocks.labels], W, V)
            progress.update()
    lower, products = _finite(bounds[-1]), rank * len(bounds)
    # A floor under D costs little and spares the scaling rows that are zero up to rounding.
    floor = lower / op.d * torch.finfo(op.dtype).eps ** 0.5
    h = (norms / blocks.roots).clamp_min(floor)
    scale = torch.where(h > 0, h.rsqrt(), 0.0)[blocks.labels, 0]
    top = spectral_norm(Scaled(op, scale), tolerance, steps, seed + 1)
    upper = (top.value + top.stderr) * (blocks.roots.square() * h).sum()
    return Bracket(lower, torch.maximum(lower, upper), products + top.products, seed)


def _finite(bound: Tensor) -> Tensor:
    if not bool(bound.isfinite()):
        raise FloatingPointError("the operator returned NaN or infinity")
    return bound


def _check(**counts: int) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
