r"""Orthogonal operators: what they do to a vector, and how they are made of each other.

An operator acts on the last axis of a tensor: ``R(x)`` is R x and ``R.T(x)`` is Rᵀx, for x of
shape (..., d); ``R @ S`` applies S first. All are linear operations of torch: they differentiate
any number of times and map over batches. They never run in half precision, autocast or not.
"""

import copy
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from companion.arguments import whole
from companion.rotation.vectors import describe

LARGEST = 20_000  # rows of a matrix that is stored: 3.2 GB in float64


class Rotation:
    """An orthogonal operator on vectors of d numbers; subclasses write ``apply`` and ``parts``.

    Parameters
    ----------
    d : int
        Length of the vectors.
    parts : sequence of Tensor or Rotation
        What the operator is made of.

    Attributes
    ----------
    dtype, device : torch.dtype, torch.device, or None
        Of the stored matrices; None where there is none, and any vector will do.
    """

    def __init__(self, d: int, parts: Sequence = ()):
        self.d, self.parts = d, tuple(parts)
        kinds = {(p.dtype, p.device) for p in self.parts if p.dtype is not None}
        kinds = {kind for kind in kinds if kind[0].is_floating_point}
        if len(kinds) > 1:
            raise ValueError(f"expected one dtype and device, got {sorted(map(str, kinds))}")
        for dtype, _ in kinds:
            if dtype not in (torch.float32, torch.float64):
                raise ValueError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
        self.dtype, self.device = kinds.pop() if kinds else (None, None)

    def apply(self, x: Tensor, transposed: bool) -> Tensor:
        """Return R x, or Rᵀx, for a checked x of shape (..., d)."""
        raise NotImplementedError

    def rebuilt(self, parts: Sequence) -> "Rotation":
        """Return the operator of the same structure with other parts."""
        other = copy.copy(self)
        Rotation.__init__(other, self.d, parts)
        return other

    def __call__(self, x: Tensor) -> Tensor:
        """Return R x for x of shape (..., d)."""
        with torch.autocast(self._checked(x).device.type, enabled=False):
            return self.apply(x, False)

    @property
    def T(self) -> "Rotation":
        """The transpose, which is the inverse."""
        return Transposed(self)

    def __deepcopy__(self, memo):
        return self  # nothing changes it

    def __matmul__(self, other: "Rotation") -> "Rotation":
        if not isinstance(other, Rotation):
            return NotImplemented
        return Composed([self, other])

    def to(self, dtype=None, device=None) -> "Rotation":
        """Return the operator in another dtype or on another device; itself if nothing changes."""

        def moved(part):
            if isinstance(part, Tensor) and not part.is_floating_point():
                return part.to(device=device)  # a permutation
            return part.to(dtype=dtype, device=device)

        parts = [moved(p) for p in self.parts]
        same = all(a is b for a, b in zip(parts, self.parts, strict=True))
        return self if same else self.rebuilt(parts)

    def dense(self, dtype=None) -> Tensor:
        """Return the matrix, of shape (d, d), for small d. Cost: d products and d² numbers."""
        check_matrix("dense", self.d)
        dtype = dtype or self.dtype or torch.get_default_dtype()
        return self(torch.eye(self.d, dtype=dtype, device=self.device)).T.contiguous()

    def error(self, seed: int = 0) -> float:
        """Return ‖RᵀRv - v‖/‖v‖ or ‖RRᵀv - v‖/‖v‖, whichever is larger, for one normal vector v.

        Without rounding it is 0. Cost: four products.
        """
        v = torch.randn(self.d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        v = v.to(self.device or "cpu", self.dtype or torch.float64)
        back = (self.T(self(v)), self(self.T(v)))
        return max(((z - v).norm() / v.norm()).item() for z in back)

    def _checked(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.dim() == 0 or x.shape[-1] != self.d:
            got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else repr(type(x).__name__)
            raise ValueError(f"x: expected a tensor of shape (..., {self.d}), got {got}")
        if self.dtype is not None and (x.dtype, x.device) != (self.dtype, self.device):
            raise ValueError(
                f"x: expected {self.dtype} on {self.device}, as the rotation is, got {x.dtype} on "
                f"{x.device}; use rotation.to(x.dtype, x.device)"
            )
        return x

    def __repr__(self):
        return f"{type(self).__name__}(d={self.d})"


class Identity(Rotation):
    """The operator that changes nothing."""

    def __init__(self, d: int):
        super().__init__(whole("d", d, 1))

    def apply(self, x, transposed):
        return x


class Transposed(Rotation):
    """The transpose of another operator, which is its inverse."""

    def __init__(self, rotation: Rotation):
        super().__init__(rotation.d, [rotation])

    @property
    def T(self):
        return self.parts[0]

    def apply(self, x, transposed):
        return self.parts[0].apply(x, not transposed)


class Composed(Rotation):
    """The product of several operators; the last one acts first."""

    def __init__(self, rotations: Iterable[Rotation]):
        rotations = list(rotations)
        sizes = {rotation.d for rotation in rotations}
        if len(sizes) != 1:
            raise ValueError(f"rotations: expected one or more of one size, got d = {sizes or '∅'}")
        super().__init__(sizes.pop(), rotations)

    def apply(self, x, transposed):
        for rotation in self.parts if transposed else reversed(self.parts):
            x = rotation.apply(x, transposed)
        return x


class Permutation(Rotation):
    """The operator (R x)_i = x_{order[i]}, for an order that holds 0, …, d - 1 once each."""

    def __init__(self, order: Tensor):
        order = torch.as_tensor(order)
        inverse = torch.argsort(order)
        if order.dim() != 1 or not torch.equal(order[inverse].cpu(), torch.arange(len(order))):
            raise ValueError(f"order: expected each of 0, …, d - 1 once, got {order}")
        super().__init__(len(order), [order, inverse])

    def apply(self, x, transposed):
        return x.index_select(-1, self.parts[transposed])


class Kronecker(Rotation):
    r"""A Kronecker product of small orthogonal matrices, :math:`Q_1 \otimes \dots \otimes Q_k`.

    The first :math:`n = d_1 \cdots d_k` entries of x are seen as an array of shape (d₁, …, d_k),
    whose axis i is multiplied by Q_i; the other d - n entries stay as they are. For two factors
    this is the matrix product :math:`W \mapsto Q_1 W Q_2^\top`.

    Parameters
    ----------
    factors : sequence of Tensor or int
        Orthogonal matrices; a number k stands for the identity of size k.
    d : int, optional
        Length of the vectors, at least n; n if left out.

    Notes
    -----
    Cost: d Σ dᵢ multiplications, over the axes that have a matrix.

    Examples
    --------
    >>> quarter_turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> Kronecker([2, quarter_turn])(torch.tensor([1.0, 0.0, 0.0, 1.0]))  # each pair is turned
    tensor([ 0.,  1., -1.,  0.])
    """

    def __init__(self, factors: Sequence[Tensor | int], d: int | None = None):
        for number, Q in enumerate(factors):
            if isinstance(Q, Tensor):
                _check_orthogonal(f"factors[{number}]", Q)
            else:
                whole(f"factors[{number}]", Q, 1)
        self.sizes = tuple(len(Q) if isinstance(Q, Tensor) else Q for Q in factors)
        self.axes = tuple(i for i, Q in enumerate(factors) if isinstance(Q, Tensor))
        self.n = math.prod(self.sizes)
        d = self.n if d is None else whole("d", d, 1)
        if d < self.n:
            raise ValueError(f"d: expected at least {self.n}, the product of the factors, got {d}")
        super().__init__(d, [factors[i] for i in self.axes])

    def apply(self, x, transposed):
        y = x if self.n == self.d else x[..., : self.n]
        batch = x.shape[:-1]
        for axis, Q in zip(self.axes, self.parts, strict=True):
            Q, after = Q.T if transposed else Q, math.prod(self.sizes[axis + 1 :])
            if after == 1:
                y = y.reshape(*batch, -1, len(Q)) @ Q.T  # (..., before, dᵢ)
            else:
                y = Q @ y.reshape(*batch, -1, len(Q), after)  # (..., before, dᵢ, after)
        y = y.reshape(*batch, self.n)
        return y if self.n == self.d else torch.cat([y, x[..., self.n :]], -1)


class Blocks(Rotation):
    """Operators side by side: each acts on its own piece of the vector, in order."""

    def __init__(self, rotations: Iterable[Rotation]):
        rotations = list(rotations)
        if not rotations:
            raise ValueError("rotations: expected at least one, got none")
        self.sizes = [rotation.d for rotation in rotations]
        super().__init__(sum(self.sizes), rotations)

    def apply(self, x, transposed):
        pieces = zip(self.parts, x.split(self.sizes, -1), strict=True)
        return torch.cat([rotation.apply(piece, transposed) for rotation, piece in pieces], -1)


def check_matrix(name: str, d) -> None:
    """Refuse a number of rows whose square does not fit into memory."""
    if whole(name, d, 1) > LARGEST:
        raise ValueError(
            f"{name}: a matrix of {d:,} rows takes {8 * d * d / 2**30:,.0f} GiB; the limit is "
            f"{LARGEST:,}. Use chain(d), which stores small matrices only"
        )


def _check_orthogonal(name: str, Q: Tensor) -> None:
    if Q.dim() != 2 or Q.shape[0] != Q.shape[1] or not Q.is_floating_point() or not len(Q):
        raise ValueError(f"{name}: expected a real square matrix, got {describe(Q)}")
    wide = Q.double()
    error = (wide.T @ wide - torch.eye(len(Q), dtype=torch.float64, device=Q.device)).abs().max()
    if not error <= max(100, len(Q)) * torch.finfo(Q.dtype).eps:
        raise ValueError(f"{name}: expected an orthogonal matrix; QᵀQ is off by {error.item():.1e}")
