r"""Orthogonal operators on parameter space, and training in rotated coordinates.

For an orthogonal R the rotated loss is L∘R: where the native one is at x = R x', it has the same
value at x'. Training it from x'₀ = Rᵀx₀ starts at the same loss. The gradient there is Rᵀ∇L(R x').

An operator acts on the last axis of a tensor: ``R(x)`` is R x and ``R.T(x)`` is Rᵀx, for x of
shape (..., d); ``R @ S`` applies S first. All are linear operations of torch: they differentiate
any number of times and map over batches. They never run in half precision, autocast or not. Random
ones are drawn in float64 on the CPU: a seed means the same operator everywhere, up to rounding.
"""

import copy
import functools
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

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
        _check_matrix("dense", self.d)
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
        super().__init__(_count("d", d))

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
                _count(f"factors[{number}]", Q)
        self.sizes = tuple(len(Q) if isinstance(Q, Tensor) else Q for Q in factors)
        self.axes = tuple(i for i, Q in enumerate(factors) if isinstance(Q, Tensor))
        self.n = math.prod(self.sizes)
        d = self.n if d is None else _count("d", d)
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


# -- operators to choose from ----------------------------------------------------------------------


def matrix(Q: Tensor) -> Rotation:
    """Return the operator of an orthogonal matrix, of shape (d, d)."""
    return Kronecker([Q])


def haar(d: int, seed: int = 0, *, dtype=None, device=None) -> Rotation:
    """Return a uniformly random orthogonal operator, for small d.

    The factor Q of a normal matrix M = QR, its columns multiplied by the signs of R's diagonal:
    without them the factorisation's own convention, not the uniform law, would decide.

    Parameters
    ----------
    d : int
        Length of the vectors, at most 20,000.
    seed : int, default 0
        Of the matrix. Half of them are rotations proper, half have a determinant of -1.
    dtype, device : optional
        Of the stored matrix; torch's default.

    Notes
    -----
    Cost: about 2 d³ operations once, d² multiplications a product, d² numbers. Source: Mezzadri,
    "How to generate random matrices from the classical compact groups", 2007.

    Examples
    --------
    >>> R = haar(3, seed=1, dtype=torch.float64)
    >>> x = torch.tensor([2.0, 3.0, 6.0], dtype=torch.float64)
    >>> round(R(x).norm().item(), 12)
    7.0
    """
    return matrix(_haar(d, _generator(seed)).to(device, dtype or torch.get_default_dtype()))


def skew(d: int, seed: int = 0) -> Tensor:
    """Return A = M - Mᵀ for a standard normal M: skew-symmetric, of shape (d, d), float64."""
    _check_matrix("d", d)
    M = torch.randn(d, d, dtype=torch.float64, generator=_generator(seed))
    return M - M.T


def exponential(A: Tensor, t: float = 1.0, *, dtype=None) -> Rotation:
    """Return exp(tA): from the identity at t = 0 further and further away from it.

    Parameters
    ----------
    A : Tensor
        Skew-symmetric, of shape (d, d), such as ``skew(d)``: a direction in which to rotate.
    t : float
        How far: planes turn by angles of up to about 2t√(2d) if A is ``skew(d)``.
    dtype : optional
        Of the stored matrix; that of A. The exponential itself is taken in float64.

    Notes
    -----
    Cost: some 20 products of matrices, once; then as `haar`.

    Examples
    --------
    >>> A = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> exponential(A, torch.pi / 2)(torch.tensor([1.0, 0.0])).round(decimals=6).tolist()
    [0.0, 1.0]
    """
    if not isinstance(A, Tensor) or A.dim() != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(f"A: expected a square matrix, got {_describe(A)}")
    if not A.is_floating_point() or not torch.equal(A, -A.T):
        raise ValueError("A: expected a real skew-symmetric matrix, A = -Aᵀ, free of NaN")
    if not math.isfinite(t):
        raise ValueError(f"t: expected a finite number, got {t!r}")
    Q = torch.linalg.matrix_exp(float(t) * A.double())
    Q = Q @ (1.5 * torch.eye(len(Q)).to(Q) - 0.5 * (Q.T @ Q))  # squares its rounding error away
    return matrix(Q.to(dtype or A.dtype))


def chain(d: int, seed: int = 0, *, rounds: int = 2, dtype=None, device=None) -> Rotation:
    """Return a random orthogonal operator for vectors of millions of numbers.

    Each round shuffles the vector, writes it as an array of shape (d₁, d₂, d₃), multiplies every
    axis by a small uniformly random orthogonal matrix, and flattens it. The sizes are the most
    equal ones whose product n ≤ d leaves out fewest entries; these wait for the next round.

    Parameters
    ----------
    d : int
        Length of the vectors.
    seed : int, default 0
    rounds : int, default 2
        In one round an entry meets all others already; a second one mixes better. The result is
        not uniform among all rotations: it has some d^{2/3} free angles instead of d²/2.
    dtype, device : optional
        Of the stored matrices; torch's default.

    Notes
    -----
    Cost of a product: d (d₁ + d₂ + d₃) multiplications a round, about 3 d^{4/3}. Memory: two
    permutations of d integers a round (16 d bytes), matrices of 3 d^{2/3} numbers, and one copy of
    the vector. Source: the released code of Xie, Mohamadi and Li (2024) composes two rounds too.

    Examples
    --------
    >>> R = chain(1_000_003, seed=0)  # a prime number
    >>> R.error() < 1e-5
    True
    """
    return _chain(d, _generator(seed), rounds, dtype or torch.get_default_dtype(), device)


def layer_wise(params, seed: int = 0) -> Rotation:
    """Return a `chain` for each parameter on its own: tensors are rotated apart.

    Parameters
    ----------
    params : iterable of Tensor
        As ``model.parameters()``; their shapes, dtype and device are used.
    seed : int, default 0
    """
    generator = _generator(seed)
    return Blocks(_chain(p.numel(), generator, 2, p.dtype, p.device) for p in _listed(params))


def output_wise(params, seed: int = 0) -> Rotation:
    r"""Return W ↦ W Qᵀ for each weight: the weights that lead to one output are mixed.

    Parameters
    ----------
    params : iterable of Tensor
        Weights of shape (outputs, ...), seen as matrices (outputs, n), each with its own uniformly
        random Q of n rows; vectors and scalars are left alone.
    seed : int, default 0

    Notes
    -----
    Cost: n multiplications an entry; memory n² a weight. Source: Maes et al. (2024).

    Examples
    --------
    >>> R = output_wise([torch.zeros(4, 3), torch.zeros(4)])
    >>> R.d, R.parts
    (16, (Kronecker(d=12), Identity(d=4)))
    """
    generator = _generator(seed)
    return _matrices(params, lambda p, m, n: [m, _haar(n, generator).to(p)])


def input_wise(params, seed: int = 0) -> Rotation:
    """Return W ↦ Q W for each weight: the weights that lead from one input are mixed.

    As `output_wise`, on the other side; for convolutions an input is a channel at one offset.
    """
    generator = _generator(seed)
    return _matrices(params, lambda p, m, n: [_haar(m, generator).to(p), n])


def svd(matrices) -> Rotation:
    r"""Return the operator of the singular bases: x' is a weight W' with W = U W' Vᵀ.

    Parameters
    ----------
    matrices : iterable of Tensor
        One a parameter, in order, such as its gradient G = U Σ Vᵀ or itself: (outputs, ...), seen
        as (outputs, n). In the new coordinates it is diagonal. Vectors are left alone.

    Notes
    -----
    Cost: a full singular value decomposition each, in float64; memory outputs² + n² numbers.
    Source: Maes et al. (2024).

    Examples
    --------
    >>> G = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    >>> svd([G]).T(G.flatten()).view(2, 2).abs().tolist()
    [[2.0, 0.0], [0.0, 1.0]]
    """

    def factors(p, m, n):
        _check_matrix("matrices", max(m, n))
        if not torch.isfinite(p).all():
            raise ValueError("matrices: expected finite numbers, got NaN or infinity")
        U, _, Vt = torch.linalg.svd(p.detach().reshape(m, n).double(), full_matrices=True)
        return [U.to(p), Vt.T.to(p)]

    return _matrices(matrices, factors)


# -- training in rotated coordinates ---------------------------------------------------------------


def rotate(target, rotation: Rotation):
    """Return a loss or a model in rotated coordinates: L∘R, to be trained from Rᵀx₀.

    Parameters
    ----------
    target : callable or Module
        A function of a tensor (..., d), such as a loss; or a model of d trained parameters.
    rotation : Rotation
        R, of the parameters' dtype and device.

    Returns
    -------
    callable or RotatedModel
        For a function f: x' ↦ f(R x'); start at ``rotation.T(x0)``, and read an iterate by
        ``rotation(x)``. For a model: a copy of it, whose parameters hold x' = Rᵀx₀ in the same
        names and shapes; what it computes is at first the same.

    Examples
    --------
    >>> R = haar(2, seed=0)
    >>> loss, x0 = (lambda x: (x * x * torch.tensor([1.0, 9.0])).sum(-1)), torch.tensor([1.0, 1.0])
    >>> rotated = rotate(loss, R)
    >>> round(rotated(R.T(x0)).item(), 5)
    10.0
    """
    if not isinstance(rotation, Rotation):
        raise TypeError(f"rotation: expected a Rotation, got {_describe(rotation)}")
    if isinstance(target, nn.Module):
        return RotatedModel(target, rotation)
    if not callable(target):
        raise TypeError(f"target: expected a function or a Module, got {_describe(target)}")
    return lambda x: target(rotation(x))


def rotate_gradient(grad: Callable, rotation: Rotation) -> Callable:
    """Return the gradient of the rotated loss, x' ↦ Rᵀ grad(R x'), for `companion.simulate`.

    ``grad`` takes (..., d), and perhaps a generator; so does what is returned.
    """

    @functools.wraps(grad)  # so that it shows the arguments that grad takes
    def pulled_back(x, *generator):
        return rotation.T(grad(rotation(x), *generator))

    if hasattr(grad, "reset"):
        pulled_back.reset = grad.reset
    return pulled_back


class RotatedModel(nn.Module):
    """A model whose trained parameters are the rotated coordinates x'; it computes at R x'.

    Parameters
    ----------
    model : Module
        Copied. Its trained parameters, in the order of ``named_parameters()``, are the vector that
        is rotated; frozen ones and buffers stay as they are.
    rotation : Rotation
        R, of d = the number of trained parameters, of their dtype and device.

    Raises
    ------
    ValueError
        Another d, dtype or device.

    Notes
    -----
    A forward and a backward pass each add one product with R. Any optimizer will do. Weight decay
    is the same in both coordinates, being linear; a penalty that is not, such as ‖x‖₁, is not.
    ``to()`` takes the rotation along.

    Examples
    --------
    >>> from companion.models import MLP
    >>> model = MLP([4, 3, 2])
    >>> rotated = rotate(model, chain(23))
    >>> x = torch.randn(5, 4)
    >>> torch.allclose(rotated(x), model(x), atol=1e-5)
    True
    """

    def __init__(self, model: nn.Module, rotation: Rotation):
        super().__init__()
        self.model, self.rotation = copy.deepcopy(model), rotation
        self.names = [k for k, p in self.model.named_parameters() if p.requires_grad]
        params = _listed(self.coordinates())
        d = sum(p.numel() for p in params)
        if d != rotation.d:
            raise ValueError(f"rotation: the model has {d} trained parameters, got d={rotation.d}")
        self.write(rotation.T(flatten(params).detach()))

    def coordinates(self) -> list[Tensor]:
        """Return x' as the model's trained parameters, in order."""
        params = dict(self.model.named_parameters())
        return [params[name] for name in self.names]

    def native(self) -> dict[str, Tensor]:
        """Return R x', what the model computes with, as parameters by name."""
        params = self.coordinates()
        x = self.rotation(flatten(params))
        return dict(zip(self.names, unflatten(x, params), strict=True))

    @torch.no_grad()
    def write(self, x: Tensor) -> None:
        """Set the rotated coordinates x', of shape (d,)."""
        params = self.coordinates()
        for p, value in zip(params, unflatten(x, params), strict=True):
            p.copy_(value)

    def forward(self, *inputs, **options):
        return functional_call(self.model, self.native(), inputs, options)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        p = self.coordinates()[0]
        self.rotation = self.rotation.to(p.dtype, p.device)
        return self


class RotatedOptimizer(torch.optim.Optimizer):
    r"""An optimizer that works in rotated coordinates inside, on a model that knows nothing of it.

    .. math:: x' = R^\top x, \qquad g' = R^\top g, \qquad x \leftarrow x + R \, \Delta x'

    where Δx' is the step that the inner optimizer takes from x' with gradient g'. The trajectory is
    that of `rotate` applied to the loss.

    Parameters
    ----------
    params : iterable of Tensor
        The trained parameters, as one vector in this order; one dtype and device.
    optimizer : callable
        Makes the inner optimizer of a list of one vector: ``lambda params: Adam(params, lr=0.1)``.
        Its options are the outer one's too, so that schedulers may change them.
    rotation : Rotation
        R, of d numbers.

    Notes
    -----
    A step costs three products with R; memory: two vectors of d numbers and the inner state, which
    is what ``state_dict`` holds. A parameter without a gradient has one of zero.

    Examples
    --------
    >>> x = nn.Parameter(torch.tensor([1.0, 1.0]))
    >>> make = lambda params: torch.optim.SGD(params, lr=0.5)
    >>> optimizer = RotatedOptimizer([x], make, haar(2))
    >>> x.grad = torch.tensor([1.0, 2.0])
    >>> optimizer.step()  # the rotation cancels: SGD is equivariant
    >>> x.detach().round(decimals=5).tolist()
    [0.5, 0.0]
    """

    def __init__(self, params, optimizer: Callable, rotation: Rotation):
        params = _listed(params)
        d = sum(p.numel() for p in params)
        if d != rotation.d:
            raise ValueError(f"rotation: the parameters have {d} numbers, got d={rotation.d}")
        self.rotation = rotation
        self.x = nn.Parameter(rotation.T(flatten(params).detach()))
        self.inner = optimizer([self.x])
        if not isinstance(self.inner, torch.optim.Optimizer) or len(self.inner.param_groups) != 1:
            raise TypeError(
                f"optimizer: expected a function params -> optimizer, got {self.inner!r} from it"
            )
        options = self.inner.param_groups[0]
        super().__init__(params, {k: v for k, v in options.items() if k != "params"})

    @torch.no_grad()
    def step(self, closure=None):
        """Take one step; a closure evaluates the model anew and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        options = {k: v for k, v in self.param_groups[0].items() if k != "params"}
        self.inner.param_groups[0].update(options)
        params = self.param_groups[0]["params"]
        before = self.rotation.T(flatten(params))
        self.x.copy_(before)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
        self.x.grad = self.rotation.T(flatten(grads))
        self.inner.step()
        for p, step in zip(params, unflatten(self.rotation(self.x - before), params), strict=True):
            p.add_(step)
        return loss

    def add_param_group(self, param_group):
        if self.param_groups:
            raise ValueError("a RotatedOptimizer has one group: all of its parameters are mixed")
        super().add_param_group(param_group)

    def __getstate__(self):
        apart = {name: getattr(self, name) for name in ("rotation", "x", "inner")}
        return super().__getstate__() | apart

    def state_dict(self):
        return self.inner.state_dict()

    def load_state_dict(self, state_dict):
        self.inner.load_state_dict(state_dict)
        options = self.inner.param_groups[0]
        self.param_groups[0].update({k: v for k, v in options.items() if k != "params"})


def flatten(tensors: Iterable[Tensor]) -> Tensor:
    """Return tensors as one vector, in order."""
    return torch.cat([z.reshape(-1) for z in tensors])


def unflatten(x: Tensor, like: Iterable[Tensor]) -> list[Tensor]:
    """Return a vector as tensors of given shapes: the inverse of `flatten`."""
    like = list(like)
    pieces = x.split([z.numel() for z in like])
    return [piece.view(z.shape) for piece, z in zip(pieces, like, strict=True)]


# -- helpers ---------------------------------------------------------------------------------------


def _haar(d: int, generator) -> Tensor:
    _check_matrix("d", d)
    Q, R = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=generator))
    return Q * R.diagonal().sign()


def _chain(d, generator, rounds, dtype, device) -> Rotation:
    sizes = _three_factors(_count("d", d))
    steps = []
    for _ in range(_count("rounds", rounds)):
        order = torch.randperm(d, generator=generator).to(device)
        factors = [_haar(k, generator).to(device, dtype) for k in sizes]
        steps = [Kronecker(factors, d), Permutation(order), *steps]
    return Composed(steps)


def _three_factors(d: int) -> tuple[int, int, int]:
    """Return three near-equal sizes whose product is at most d and nearly d."""
    root = d ** (1 / 3)
    near = torch.arange(max(1, int(0.7 * root)), int(1.3 * root) + 2)
    third = d // (near[:, None] * near)  # what is left for the third axis
    used = near[:, None] * near * third
    uneven = (near[:, None] - root) ** 2 + (near - root) ** 2 + (third - root) ** 2
    best = (used - 0.1 * uneven.double() / root**2).flatten().argmax()
    i, j = divmod(int(best), len(near))
    return int(near[i]), int(near[j]), int(third[i, j])


def _matrices(params, factors) -> Rotation:
    """Return Blocks of one Kronecker product a parameter, seen as a matrix (m, n)."""
    blocks = []
    for p in _listed(params):
        if p.dim() < 2:
            blocks.append(Identity(p.numel()))
        else:
            blocks.append(Kronecker(factors(p, len(p), p.numel() // len(p))))
    return Blocks(blocks)


def _listed(params) -> list[Tensor]:
    params = [params] if isinstance(params, Tensor) else list(params)
    if not params:
        raise ValueError("params: expected at least one trained parameter, got none")
    for i, p in enumerate(params):
        if not isinstance(p, Tensor) or not p.is_floating_point() or not p.numel():
            raise TypeError(f"params[{i}]: expected a real tensor with entries, got {_describe(p)}")
    kinds = {f"{p.dtype} on {p.device}" for p in params}
    if len(kinds) != 1:
        raise ValueError(f"params: expected tensors of one dtype and device, got {sorted(kinds)}")
    return params


def _generator(seed: int) -> torch.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed: expected an integer, got {seed!r}")
    return torch.Generator().manual_seed(seed)


def _count(name: str, value) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
    return value


def _check_matrix(name: str, d) -> None:
    if _count(name, d) > LARGEST:
        raise ValueError(
            f"{name}: a matrix of {d:,} rows takes {8 * d * d / 2**30:,.0f} GiB; the limit is "
            f"{LARGEST:,}. Use chain(d), which stores small matrices only"
        )


def _check_orthogonal(name: str, Q: Tensor) -> None:
    if Q.dim() != 2 or Q.shape[0] != Q.shape[1] or not Q.is_floating_point() or not len(Q):
        raise ValueError(f"{name}: expected a real square matrix, got {_describe(Q)}")
    wide = Q.double()
    error = (wide.T @ wide - torch.eye(len(Q), dtype=torch.float64, device=Q.device)).abs().max()
    if not error <= max(100, len(Q)) * torch.finfo(Q.dtype).eps:
        raise ValueError(f"{name}: expected an orthogonal matrix; QᵀQ is off by {error.item():.1e}")


def _describe(value) -> str:
    return (
        f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
    )
