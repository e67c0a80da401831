"""Hessian and generalised Gauss–Newton matrix of a network, by their products."""

from collections.abc import Callable, Iterable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vjp
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from companion.hessian.base import LinearOperator
from companion.hessian.linearize import Linearized, size, twice_differentiable

Batch = tuple[Tensor, ...]
# On a CPU columns gain by going together while a tensor of theirs stays in the cache, up to a few.
CACHE, FEW = 2**24, 8  # bytes, columns


class Curvature(LinearOperator):
    r"""A matrix :math:`\sum_b w_b A_b` on parameter space, one term a batch.

    Subclasses write ``product``.

    Parameters
    ----------
    parameters : dict of str to Tensor
        The point, in the order in which it is flattened.
    batches : list of tuple of Tensor
    weights : list of float
    chunk, max_bytes, trace
        As for :class:`Hessian`.
    """

    def __init__(
        self,
        parameters: dict[str, Tensor],
        batches: list[Batch],
        weights: list[float],
        chunk: int | None = None,
        max_bytes: int = 2**31,
        trace: bool = True,
    ):
        _check_parameters(parameters)
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk: expected at least one column, got {chunk}")
        if max_bytes < 1:
            raise ValueError(f"max_bytes: expected a positive number of bytes, got {max_bytes}")
        self.parameters = {name: p.detach().clone() for name, p in parameters.items()}
        self.splits, d = {}, 0
        for name, p in self.parameters.items():
            self.splits[name] = slice(d, d := d + p.numel())
        first = next(iter(self.parameters.values()))
        super().__init__(d, first.dtype, first.device)
        self.batches = [tuple(t.to(self.device) for t in batch) for batch in batches]
        self.weights = weights
        self.chunk, self.max_bytes, self.trace = chunk, max_bytes, trace
        self._traces: dict[tuple, Linearized] = {}
        self._kept: dict[int, list[Tensor]] = {}
        self._check_loss()

    def objective(self, parameters: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return the scalar loss of a batch."""
        raise NotImplementedError

    def product(
        self, parameters: dict[str, Tensor], batch: Batch, v: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the product of the matrix of a batch with v, both by parameter."""
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
        """Return the weighted loss, a scalar. Cost: one forward pass."""
        with torch.no_grad():
            losses = [self.objective(self.parameters, batch) for batch in self.batches]
        return sum(w * loss for w, loss in zip(self.weights, losses, strict=True))

    def gradient(self) -> Tensor:
        """Return the gradient of the loss, of shape (d,). Cost: one gradient."""
        total = torch.zeros(self.d, dtype=self.dtype, device=self.device)
        with twice_differentiable():
            for batch, weight in zip(self.batches, self.weights, strict=True):
                g = grad(self.objective)(self.parameters, batch)
                total += weight * _flat(g.values(), 0)
        return total

    def matmat(self, V: Tensor) -> Tensor:
        rows = V.T.contiguous()
        total = torch.zeros_like(rows)
        with torch.no_grad(), twice_differentiable():
            for number, weight in enumerate(self.weights):
                linear, together = self._linear(number)
                for k in range(0, len(rows), together):
                    chunk = rows[k : k + together]
                    total[k : k + together] += weight * linear(chunk)
        return total.T

    def _linear(self, number: int) -> tuple[Callable[[Tensor], Tensor], int]:
        """Return the product with rows (k, d) for one batch, and how many rows go together."""
        batch = self.batches[number]
        if not self.trace:
            return self._untraced(batch), 1
        trace = self._traced(batch)
        primals = [*self.parameters.values(), *batch]
        residuals = self._kept.get(number)
        if residuals is None:
            (value,), residuals = trace.primal(primals)
            self._check_trace(trace, value, residuals, batch)
            if (
                size(r for kept in (*self._kept.values(), residuals) for r in kept)
                <= self.max_bytes
            ):
                self._kept[number] = residuals

        def linear(rows: Tensor) -> Tensor:
            if len(rows) == 1:
                tangents = self._rows(rows[0])
                return _flat(trace.linear(residuals, tangents), 0).unsqueeze(0)
            return _flat(trace.columns(residuals, self._rows(rows)), 1)

        return linear, self.chunk or self._together(trace)

    def _rows(self, rows: Tensor) -> list[Tensor]:
        """Return rows of shape (..., d) by parameter, each of shape (..., *parameter's)."""
        parts = rows.split([p.numel() for p in self.parameters.values()], -1)
        shapes = [p.shape for p in self.parameters.values()]
        return [t.reshape((*rows.shape[:-1], *s)) for t, s in zip(parts, shapes, strict=True)]

    def _together(self, trace: Linearized) -> int:
        """Return how many columns share a pass: what memory, and a CPU's cache, allow."""
        room = self.max_bytes // max(trace.column_bytes, 1)
        if self.device.type == "cpu":
            room = min(room, CACHE // max(trace.largest_bytes, 1), FEW)
        return max(1, room)

    def _untraced(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        def one(row):
            v = dict(zip(self.parameters, self._rows(row), strict=True))
            return _flat(self.product(self.parameters, batch, v).values(), 0)

        # Row by row: torch's vmap of second derivatives is wrong for layer and batch norm (2.13).
        return lambda rows: torch.stack([one(row) for row in rows])

    def _traced(self, batch: Batch) -> Linearized:
        key = tuple((t.shape, t.dtype) for t in batch)
        if key not in self._traces:
            n = len(self.parameters)

            def flat(primals, tangents):
                parameters = dict(zip(self.parameters, primals[:n], strict=True))
                v = dict(zip(self.parameters, tangents, strict=True))
                batch = tuple(primals[n:])
                products = self.product(parameters, batch, v)
                return [self.objective(parameters, batch)], list(products.values())

            points = list(self.parameters.values())
            tangents = [torch.zeros_like(p) for p in points]
            self._traces[key] = Linearized(flat, [*points, *batch], tangents)
        return self._traces[key]

    def _check_loss(self) -> None:
        """Refuse a loss that is not a finite real scalar, or that two evaluations give two of."""
        for number, batch in enumerate(self.batches):
            with torch.no_grad():
                loss = self.objective(self.parameters, batch)
                again = self.objective(self.parameters, batch) if number == 0 else loss
            if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
                got = (
                    f"{loss.dtype} of shape {tuple(loss.shape)}"
                    if isinstance(loss, Tensor)
                    else loss
                )
                raise ValueError(f"loss: expected a real scalar tensor (take the mean), got {got}")
            if not loss.isfinite():
                raise ValueError(f"loss: batch {number} gives {loss.item()}, which has no Hessian")
            self._same(loss, again)

    def _check_trace(self, trace: Linearized, value: Tensor, residuals, batch: Batch) -> None:
        """Refuse a trace with another loss, or, once a trace, with another product."""
        self._same(value, self.objective(self.parameters, batch))
        if trace.checked:
            return
        v = torch.randn(self.d, generator=torch.Generator().manual_seed(0)).to(
            self.device, self.dtype
        )
        expected = self._untraced(batch)(v.unsqueeze(0))[0]
        error = torch.linalg.vector_norm(
            _flat(trace.linear(residuals, self._rows(v)), 0) - expected
        )
        if error > torch.finfo(self.dtype).eps ** 0.5 * torch.linalg.vector_norm(expected):
            raise RuntimeError("the traced product is not the derivative; pass trace=False")
        trace.checked = True

    @staticmethod
    def _same(one: Tensor, other: Tensor) -> None:
        if not torch.allclose(one, other, rtol=1e4 * torch.finfo(one.dtype).eps, atol=0):
            raise ValueError(
                f"loss: two evaluations at one point gave {one.item()!r} and {other.item()!r}; a "
                "Hessian needs a deterministic loss: call model.eval() or set dropout to 0, and "
                "draw nothing at random in it"
            )


class OfNetwork(Curvature):
    """A curvature of the mean loss of a model over data; arguments as for :class:`Hessian`."""

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        data: tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]],
        chunk: int | None = None,
        max_bytes: int = 2**31,
        trace: bool = True,
    ):
        _check_modules(model)
        self.model, self.criterion = model, loss
        batches, weights = _batches(data)
        super().__init__(_trainable(model), batches, weights, chunk, max_bytes, trace)

    def objective(self, parameters, batch):
        x, y = batch
        return self.criterion(functional_call(self.model, parameters, (x,)), y)


class Hessian(OfNetwork):
    r"""The Hessian :math:`\nabla^2 L(\theta)` of the mean loss over data.

    .. math::
        L(\theta) = \sum_b \frac{n_b}{n}\, \ell(f_\theta(x_b), y_b), \qquad
        \nabla^2 L(\theta)\, v = \frac{d}{dt} \nabla L(\theta + t v) \Big|_{t=0}

    The derivative along v goes forward through the gradient, which goes backward (forward over
    reverse). Its parts that do not know v are computed once and kept, see Notes.

    Parameters
    ----------
    model : torch.nn.Module
        Its parameters that require a gradient are the point θ, flattened in the order of
        ``named_parameters``; dtype and device are theirs. They are copied: later training does not
        move the operator.
    loss : callable
        Maps (model(x), y) to a scalar, the **mean** over the batch.
    data : (Tensor, Tensor) or iterable of such pairs
        One batch (x, y) or several, kept by the operator. Ragged ones weigh by their length n_b, so
        that any split of the data gives the same matrix.
    chunk : int, optional
        Columns of ``op @ V`` that share one pass. Unless told, as many as ``max_bytes`` allows and,
        on a CPU, its cache likes.
    max_bytes : int, default 2 GiB
        Memory for what is kept between products, and again for what one pass needs at once.
    trace : bool, default True
        False for models that cannot be traced: slower products, no preparation.

    Raises
    ------
    ValueError
        No parameters, or complex ones, or of several dtypes or devices; no data; a loss that is no
        finite real scalar, or that changes between two evaluations; active dropout; batch
        normalisation that updates running statistics.
    RuntimeError
        An operation has no second derivative, or cannot be traced.

    Notes
    -----
    **Cost.** The first product traces, which takes seconds for a deep network. From then on a
    product takes about two gradients' arithmetic, and less time a column when columns go together:
    the forward and backward passes at θ are not repeated while their intermediate results fit into
    ``max_bytes`` (about three times what training at this batch size keeps).

    **Kinks.** ReLU has second derivative zero where autograd looks, and none at 0: the matrix is
    that of the linear piece on which θ lies, which misses the jumps of the gradient between pieces.

    **Attention** runs as plain matrix products: fused kernels have no second derivative.

    **Batch normalisation** needs batch statistics that depend on nothing else: build it with
    ``track_running_stats=False``, or call ``model.eval()`` for fixed ones. The mean over batches is
    then a property of the batches too.

    References
    ----------
    Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994.

    Examples
    --------
    >>> model = torch.nn.Linear(3, 1).double()
    >>> x, y = torch.randn(8, 3).double(), torch.randn(8, 1).double()
    >>> op = Hessian(model, torch.nn.functional.mse_loss, (x, y))
    >>> op.shape
    (4, 4)
    >>> torch.allclose(op.dense()[:3, :3], 2 * x.T @ x / 8)
    True
    >>> f = lambda x: (x**4).sum()
    >>> Hessian.of(f, torch.tensor([1.0, 2.0])) @ torch.ones(2)
    tensor([12., 48.])
    """

    @classmethod
    def of(
        cls,
        f: Callable[[Tensor], Tensor],
        x: Tensor,
        chunk: int | None = None,
        max_bytes: int = 2**31,
        trace: bool = True,
    ) -> Self:
        """Return the Hessian at x, a tensor of any shape, of a function f to a scalar."""
        self = cls.__new__(cls)
        self.objective = lambda parameters, batch: f(parameters["x"])
        Curvature.__init__(self, {"x": x}, [()], [1.0], chunk, max_bytes, trace)
        return self

    def product(self, parameters, batch, v):
        return jvp(lambda p: grad(self.objective)(p, batch), (parameters,), (v,))[1]


class GaussNewton(OfNetwork):
    r"""The generalised Gauss–Newton matrix of the mean loss over data.

    .. math::
        G(\theta) = \sum_b \frac{n_b}{n}\, J_b^\top\, \nabla_z^2 \ell(z_b, y_b)\, J_b, \qquad
        z_b = f_\theta(x_b), \quad J_b = \partial z_b / \partial \theta

    It is the Hessian of the loss of the linearised network: positive semi-definite where ℓ is
    convex in the network's output, and the Fisher matrix of cross-entropy. One pass forward
    through the network (J v), one through the loss, one back (Jᵀ).

    Parameters, errors and notes are those of :class:`Hessian`.

    References
    ----------
    Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", Neural
    Computation 14, 2002.

    Examples
    --------
    >>> model = torch.nn.Linear(3, 2).double()
    >>> x, y = torch.randn(8, 3).double(), torch.randint(2, (8,))
    >>> data, loss = (x, y), torch.nn.functional.cross_entropy
    >>> G, H = GaussNewton(model, loss, data), Hessian(model, loss, data)
    >>> torch.allclose(G.dense(), H.dense())  # of a linear model
    True
    """

    def product(self, parameters, batch, v):
        x, y = batch

        def network(p):
            return functional_call(self.model, p, (x,))

        z, jv = jvp(network, (parameters,), (v,))
        hjv = jvp(grad(lambda z: self.criterion(z, y)), (z,), (jv,))[1]
        return vjp(network, parameters)[1](hjv)[0]


def _flat(tensors: Iterable[Tensor], lead: int) -> Tensor:
    return torch.cat(
        [t.flatten(lead) if t.ndim > lead else t.unsqueeze(lead) for t in tensors], lead
    )


def _trainable(model: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _batches(data) -> tuple[list[Batch], list[float]]:
    """Return batches and their weights n_b / n."""
    if isinstance(data, Sequence) and len(data) == 2 and all(isinstance(t, Tensor) for t in data):
        data = [data]
    batches = [tuple(batch) for batch in data]
    for number, batch in enumerate(batches):
        if len(batch) != 2 or not all(isinstance(t, Tensor) and t.ndim for t in batch):
            raise ValueError(f"data: batch {number} is no pair of tensors (x, y)")
        if len(batch[0]) != len(batch[1]):
            lengths = f"{len(batch[0])} and {len(batch[1])}"
            raise ValueError(f"data: x and y of batch {number} have lengths {lengths}")
    sizes = [len(x) for x, _ in batches]
    if not all(sizes) or not sizes:
        raise ValueError("data: expected at least one sample a batch, got none")
    return batches, [n / sum(sizes) for n in sizes]


def _check_parameters(parameters: dict[str, Tensor]) -> None:
    if not sum(p.numel() for p in parameters.values()):
        raise ValueError("model: it has no parameters that require a gradient")
    for name, p in parameters.items():
        if not p.is_floating_point() or p.layout != torch.strided:
            raise ValueError(f"{name}: expected a dense real tensor, got {p.dtype}, {p.layout}")
    kinds = {(p.dtype, p.device) for p in parameters.values()}
    if len(kinds) > 1:
        got = sorted(f"{dtype} on {device}" for dtype, device in kinds)
        raise ValueError(f"model: expected parameters of one dtype and device, got {got}")


def _check_modules(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model: expected a torch.nn.Module, got {type(model).__name__}; "
            "for a function of a tensor, use Hessian.of"
        )
    for name, module in model.named_modules():
        if not module.training:
            continue
        if isinstance(module, _NormBase) and module.running_mean is not None:
            raise ValueError(
                f"model: {name or type(module).__name__} updates running statistics at every "
                "evaluation; build it with track_running_stats=False (batch statistics), "
                "or call model.eval() (fixed ones)"
            )
        if isinstance(module, _DropoutNd) and module.p > 0:
            raise ValueError(
                f"model: {name or type(module).__name__} drops activations at random, so the loss "
                "has no one Hessian; call model.eval(), or set its p to 0"
            )
