"""The engine of products: batches, the graphs that are kept, and the checks of what comes out."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from companion.hessian.base import LinearOperator
from companion.hessian.checks import check_leaves, check_parameters, check_slope
from companion.hessian.graphs import Storages, flat, vjp
from companion.hessian.plain import twice_differentiable

# Columns go together where that saves more than it costs: few, and small enough for a CPU's cache.
CACHE, FEW = 2**22, 64  # bytes, columns
Product = Callable[[Sequence[Tensor], bool], list[Tensor]]


class Curvature(LinearOperator):
    r"""A symmetric matrix :math:`\sum_b w_b A_b` on parameter space, one term a batch.

    Subclasses write ``objective`` and ``linear``.

    Parameters
    ----------
    parameters : dict of str to Tensor
        The point, in the order in which it is flattened: leaves that require a gradient and that
        belong to the operator.
    batches : list
        What ``objective`` takes.
    weights : list of float
    max_bytes : int
        As for :class:`Hessian`.
    """

    def __init__(
        self,
        parameters: dict[str, Tensor],
        batches: list,
        weights: Sequence[float],
        max_bytes: int = 2**31,
    ):
        if max_bytes < 1:
            raise ValueError(f"max_bytes: expected a positive number of bytes, got {max_bytes}")
        check_parameters(parameters)
        self.leaves = list(parameters.values())
        self.parameters = {name: p.detach() for name, p in parameters.items()}
        self.splits, d = {}, 0
        for name, p in parameters.items():
            self.splits[name] = slice(d, d := d + p.numel())
        super().__init__(d, self.leaves[0].dtype, self.leaves[0].device)
        self.batches, self.weights, self.max_bytes = batches, list(weights), max_bytes
        self._kept: dict[int, tuple[Product, int]] = {}
        self._batched: bool | None = None  # whether columns may go together, once it is known
        self._probe: tuple[Tensor, Tensor] | None = None  # u and A u, for the check of symmetry
        with twice_differentiable():
            self._losses = [self._checked_loss(n, batch) for n, batch in enumerate(batches)]
            again = self.objective(batches[0])
            self._same(0, again)
            check_slope(again, self.objective, batches[0], self.leaves)

    def objective(self, batch) -> Tensor:
        """Return the scalar loss of a batch, with its graph."""
        raise NotImplementedError

    def linear(self, batch) -> tuple[Tensor, Product]:
        """Return the loss of a batch, and the product of its matrix with a vector.

        The product maps a vector by parameter to the product by parameter; with its second argument
        True, k vectors, in one dimension more in front, to k products.
        """
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """Names of the parameters, in the order of ``splits``."""
        return list(self.splits)

    def unflatten(self, v: Tensor) -> dict[str, Tensor]:
        """Return v, of shape (d, ...), by parameter, each of shape (*parameter's, ...)."""
        return {
            name: v[self.splits[name]].reshape((*p.shape, *v.shape[1:]))
            for name, p in self.parameters.items()
        }

    def loss(self) -> Tensor:
        """Return the weighted loss, a scalar. Cost: nothing, it was evaluated at the start."""
        return sum(w * loss for w, loss in zip(self.weights, self._losses, strict=True))

    def gradient(self) -> Tensor:
        """Return the gradient of the loss, of shape (d,). Cost: one gradient."""
        total = torch.zeros(self.d, dtype=self.dtype, device=self.device)
        with twice_differentiable():
            for number, weight in enumerate(self.weights):
                loss = self.objective(self.batches[number])
                self._same(number, loss)
                total += weight * flat(vjp([loss], self.leaves, [torch.ones_like(loss)]))
        return total

    def matmat(self, V: Tensor) -> Tensor:
        with twice_differentiable():
            rows = V.detach().T.clone(memory_format=torch.contiguous_format)
            if self._probe is None:
                u = torch.randn(self.d, generator=torch.Generator().manual_seed(0))
                rows = torch.cat([u.to(rows).unsqueeze(0), rows])
            total = torch.zeros_like(rows)
            for number, weight in enumerate(self.weights):
                product, size = self._product(number)
                together = self._together(size)
                for k in range(0, len(rows), together):
                    total[k : k + together] += weight * self._columns(
                        product, rows[k : k + together]
                    )
        if self._probe is None:
            self._probe, rows, total = (rows[0], total[0]), rows[1:], total[1:]
        self._check_symmetry(rows, total)
        return total.T

    def _product(self, number: int) -> tuple[Product, int]:
        """Return the product of a batch, and the bytes that it keeps."""
        if number in self._kept:
            return self._kept[number]
        with Storages() as storages:
            loss, product = self.linear(self.batches[number])
        self._same(number, loss)
        size = storages.alive()
        if size + sum(kept for _, kept in self._kept.values()) <= self.max_bytes:
            self._kept[number] = product, size
        return product, size

    def _together(self, size: int) -> int:
        """Return how many columns share a pass over a graph that keeps so many bytes."""
        room = CACHE if self.device.type == "cpu" else self.max_bytes
        return 1 if self._batched is False else max(1, min(FEW, room // max(size, 1)))

    def _columns(self, product: Product, rows: Tensor) -> Tensor:
        """Return the products with rows (k, d), together where torch does that right."""
        if len(rows) > 1 and self._batched is not False:
            if self._batched:
                return flat(product(self._rows(rows), True), 1)
            # Torch's batched second derivatives fail for some layers and are wrong for others,
            # such as layer and batch norm (2.13): the first ones are compared.
            try:
                with warnings.catch_warnings(action="error"):
                    together = flat(product(self._rows(rows), True), 1)
                alone = flat(product(self._rows(rows[0]), False))
                gap = torch.linalg.vector_norm(together[0] - alone)
                rounding = torch.finfo(self.dtype).eps ** 0.75
                self._batched = bool(gap <= rounding * torch.linalg.vector_norm(alone))
            except (RuntimeError, NotImplementedError, Warning):
                self._batched = False
            if self._batched:
                return together
        return torch.stack([flat(product(self._rows(row), False)) for row in rows])

    def _rows(self, rows: Tensor) -> list[Tensor]:
        """Return rows of shape (..., d) by parameter, each of shape (..., *parameter's)."""
        parts = rows.split([p.numel() for p in self.leaves], -1)
        lead = rows.shape[:-1]
        return [t.reshape((*lead, *p.shape)) for t, p in zip(parts, self.leaves, strict=True)]

    def _checked_loss(self, number: int, batch) -> Tensor:
        """Return the loss of a batch; refuse what has no Hessian here."""
        loss = self.objective(batch)
        if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
            got = loss
            if isinstance(loss, Tensor):
                got = f"{loss.dtype} of shape {tuple(loss.shape)}"
            raise ValueError(f"loss: expected a real scalar tensor (take the mean), got {got}")
        if not loss.isfinite():
            raise ValueError(f"loss: batch {number} gives {loss.item()}, which has no Hessian")
        if number == 0:
            check_leaves(loss, self.leaves)
        return loss.detach()

    def _same(self, number: int, again: Tensor) -> None:
        """Refuse a loss that is no longer what it was: noise, or a state that moves."""
        loss = self._losses[number]
        if not torch.allclose(loss, again.detach(), rtol=1e4 * torch.finfo(loss.dtype).eps, atol=0):
            raise ValueError(
                f"loss: two evaluations at one point gave {loss.item()!r} and {again.item()!r}; a "
                "Hessian needs a deterministic loss: call model.eval() or set dropout to 0, draw "
                "nothing at random in it, and let it use nothing that changes later"
            )

    def _check_symmetry(self, rows: Tensor, products: Tensor) -> None:
        """Compare uᵀ(A v) with vᵀ(A u) for one random u and every v that is asked for."""
        u, Au = self._probe
        eps = torch.finfo(self.dtype).eps
        gap = (products @ u - rows @ Au).abs()
        norm = torch.linalg.vector_norm
        bound = eps ** (1 / 3) * norm(products, dim=1) + 1e3 * eps * norm(Au) * norm(rows, dim=1)
        if (gap > bound).any():
            raise RuntimeError(
                "the product is not symmetric, so that it is no second derivative: some operation "
                "in the model or the loss has a wrong one (such as a custom autograd.Function)"
            )

    def __getstate__(self):
        return self.__dict__ | {"_kept": {}}  # graphs can be neither copied nor pickled
