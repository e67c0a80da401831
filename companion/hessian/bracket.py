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

from companion.arguments import whole
from companion.hessian.base import LinearOperator
from companion.hessian.blocks import block_labels, block_sum
from companion.hessian.eigenvalues import spectral_norm
from companion.hessian.estimate import Estimate, estimate
from companion.hessian.probes import gaussian, multiply, seeded
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
    """Norms over the blocks of a partition, in float64: squares of float32 stay in range."""

    def __init__(self, op: LinearOperator, partition):
        self.labels = block_labels(partition, op.d, op.device)
        self.roots = self.labels.bincount().double().sqrt().unsqueeze(1)  # (blocks, 1), √d_b

    def norms(self, W: Tensor) -> Tensor:
        """Return the 2-norms of the blocks, for each column apart: (d, r) to (blocks, r)."""
        return block_sum(W.double().square(), self.labels).sqrt()

    def normalise(self, W: Tensor, norms: Tensor, otherwise: Tensor) -> Tensor:
        """Return W with its blocks scaled to the norms √d_b; where they are 0, ``otherwise``."""
        factor = torch.where(norms > 0, self.roots / norms, 0.0)[self.labels]
        return torch.where(factor > 0, W * factor, otherwise).to(W.dtype)


def norm_inf_1(
    op: LinearOperator,
    partition="elements",
    *,
    restarts: int = 16,
    products: int = 1600,
    seed: int = 0,
    progress: bool = True,
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
    partition : "elements", None, int or Tensor
        As `block_labels` reads it: "elements" for one block a coordinate, None for one block.
    restarts : int, default 16
        Random starts, columns of one product.
    products : int, default 1600
        Most products of all starts together, at least one each.
    seed : int, default 0
        Of the starts.
    progress : bool, default True
        Show a bar after five seconds.

    Returns
    -------
    Estimate
        A lower bound; its error is NaN, since nobody knows how far below it is.

    Notes
    -----
    Memory: some 4 × restarts columns, half of them in float64. Exact maximisation is NP-hard.
    Derived here.

    Examples
    --------
    >>> from companion.hessian.base import Dense
    >>> norm_inf_1(Dense(torch.ones(5, 5))).value
    tensor(25.)
    """
    whole("restarts", restarts, 1)
    whole("products", products, restarts)
    blocks = Blocks(op, partition)
    x = gaussian(op, restarts, seeded(seed))
    x, best, spent = blocks.normalise(x, blocks.norms(x), x), -torch.inf, 0
    with bar(products, progress, "product", desc="‖H‖∞→1") as shown:
        while spent + restarts <= products:
            y, spent = multiply(op, x), spent + restarts
            shown.update(restarts)
            norms = blocks.norms(y)
            last, best = best, (blocks.roots * norms).sum(0)
            if bool((best <= last).all()):
                break
            x = blocks.normalise(y, norms, x)
    value = best.max()
    return estimate(op, value, value * torch.nan, spent, seed, kind="lower bound")


def smoothness_bracket(
    op: LinearOperator,
    partition="elements",
    *,
    rank: int = 16,
    products: int = 3400,
    rtol: float = 1e-4,
    tolerance: float = 1e-3,
    seed: int = 0,
    progress: bool = True,
) -> Bracket:
    r"""Bracket Λ_Φ(H), the smoothness constant of blockwise Adam at one Hessian.

    *Lower.* Start from a random V of rank r, blocks of Frobenius norm √d_b, and repeat

    .. math:: V \leftarrow \text{blocks of } HV \text{ scaled to } \sqrt{d_b}, \qquad
        \Lambda_\Phi(H) \ge \sum_b \sqrt{d_b} \|(HV)_{(b)}\|_F

    Each product raises this bound. *Upper.* Where it is stationary, :math:`h_b =
    \|(HV)_{(b)}\|_F / \sqrt{d_b}` is the D of the minimum. Any D will do once it is scaled:

    .. math:: \Lambda_\Phi(H) \le \|D^{-1/2} H D^{-1/2}\|_2 \sum_b d_b h_b

    That norm is the `spectral_norm` by Lanczos plus its error: the bound holds with a probability
    of at least 0.999 over the random start.

    Parameters
    ----------
    op : LinearOperator
        H, symmetric, of shape (d, d).
    partition : "elements", None, int or Tensor
        As `block_labels` reads it: "elements" for one block a coordinate, Adam's constant; None for
        one block, AdaSGD's.
    rank : int, default 16
        r, columns of V: a few suffice on all matrices that we tried.
    products : int, default 3400
        Most products, at least r + 1; of r + 1 one is kept for Lanczos.
    rtol : float, default 1e-4
        Stop when ten products raised the lower bound by less than this.
    tolerance : float, default 1e-3
        Error of Lanczos, relative; the upper bound is too large by up to this, or by more where
        the products end.
    seed : int, default 0
        Of the start.
    progress : bool, default True
        Show a bar after five seconds.

    Returns
    -------
    Bracket

    Notes
    -----
    Memory: some 4 × rank columns, half of them in float64, and one for each product of Lanczos.
    Derived here.

    Examples
    --------
    >>> from companion.hessian.base import Dense
    >>> H = torch.diag(torch.tensor([3.0, -1.0]))
    >>> lower, upper, products, seed = smoothness_bracket(Dense(H))
    >>> bool((lower - 4).abs() < 1e-4), bool((upper - 4).abs() < 1e-4)
    (True, True)
    """
    whole("rank", rank, 1)
    whole("products", products, rank + 1)
    blocks = Blocks(op, partition)
    V = gaussian(op, rank, seeded(seed))
    norms, steps, bounds = blocks.norms(V).norm(dim=1, keepdim=True), products // (rank + 1), []
    with bar(rank * steps, progress, "product", desc="Λ") as shown:
        for _ in range(steps):
            V = blocks.normalise(V, norms, V)
            W = multiply(op, V)
            shown.update(rank)
            norms = blocks.norms(W).norm(dim=1, keepdim=True)  # (blocks, 1)
            bounds.append((blocks.roots * norms).sum())
            if len(bounds) > 10 and bounds[-1] <= bounds[-11] * (1 + rtol):
                break
            V = torch.where((norms > 0)[blocks.labels], W, V)
    lower, spent = bounds[-1], rank * len(bounds)
    # A floor under D costs little and spares the scaling rows that are zero up to rounding.
    floor = lower / op.d * torch.finfo(op.dtype).eps ** 0.5
    h = (norms / blocks.roots).clamp_min(floor)
    scale = torch.where(h > 0, h.rsqrt(), 0.0)[blocks.labels, 0].to(op.dtype)
    top = spectral_norm(Scaled(op, scale), tolerance, products - spent, seed + 1, progress)
    upper = (top.value + top.error).double() * (blocks.roots.square() * h).sum()
    lower, upper = (estimate(op, x, x, 0).value for x in (lower, torch.maximum(lower, upper)))
    return Bracket(lower, upper, spent + top.products, seed)
