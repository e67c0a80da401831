"""How a rule meets tensors: blocks and means, groups, and problems side by side.

Each engine steps rules through this module: the drop-in optimizers, whose tensors have any shape,
and the engines of many problems at once, whose tensors have the shape ``(..., d)``: problems in
front, their coordinates last.
"""

import copy

import torch
from torch import Tensor

from companion.optim.rule import Hyper, Whole


class Last:
    """Reductions over the last dimension, which stays, of length 1."""

    @staticmethod
    def count(z) -> int:
        """Return the number of entries of a block."""
        return z.shape[-1]

    @staticmethod
    def mean(z):
        """Return the mean of each problem, or of each row; that of no entries is zero."""
        return z.mean(-1, keepdim=True) if z.shape[-1] else z.sum(-1, keepdim=True)

    @staticmethod
    def max(z):
        """Return the largest entry of each problem, or of each row; that of none is zero."""
        return z.amax(-1, keepdim=True) if z.shape[-1] else z.sum(-1, keepdim=True)


class Labels:
    """Reductions over the entries of equal label, to the shape of what is reduced.

    Parameters
    ----------
    labels : Tensor
        Whole numbers 0, 1, …, of the shape of the last dimensions of what is reduced.
    """

    def __init__(self, labels: Tensor):
        self.labels, self.flat = labels, labels.flatten()
        self.counts = torch.bincount(self.flat).clamp(min=1)

    def mean(self, z):
        """Return the mean of each entry's block."""
        flat, total = self._buckets(z)
        return self._spread(total.index_add(-1, self.flat, flat) / self.counts.to(z.dtype), z)

    def max(self, z):
        """Return the largest entry of each entry's block."""
        flat, total = self._buckets(z)
        index = self.flat.expand(flat.shape)
        return self._spread(total.scatter_reduce(-1, index, flat, "amax", include_self=False), z)

    def _buckets(self, z):
        flat = z.reshape(*z.shape[: z.dim() - self.labels.dim()], -1)
        return flat, flat.new_zeros(*flat.shape[:-1], len(self.counts))

    def _spread(self, values, z):
        return values[..., self.flat].view(z.shape)


class Group:
    """The mean square of the gradients of a whole group of tensors.

    Parameters
    ----------
    gradients : iterable of (Tensor, reductions)
        As the rule sees them, and the reductions over each tensor alone.
    """

    def __init__(self, gradients):
        total, count = 0, 0
        for g, over in gradients:
            n = over.count(g)
            total, count = total + over.mean(g.square()) * n, count + n
        self.value, self.gradient = total / max(count, 1), None

    def mean_square(self, g):
        """Return ‖g‖²/d of the group; its entries are known only for the gradient itself."""
        if g is not self.gradient:
            self.mean(g)
        return self.value.to(g)

    def mean(self, z):
        """Refuse: one tensor does not know the others' z."""
        raise ValueError("a rule whose block is a group can take h.mean_square of its g only")

    max = mean


def grouped(rule, problems, h: Hyper):
    """Return problems (x, g, s, t, over) with the reductions of their group, if the rule has one.

    The problems are those of one group; see `updates`.
    """
    if rule.block != "group":
        return problems
    problems = list(problems)
    group = Group((rule.gradient(x, g, h), over) for x, g, _, _, over in problems)
    return [(*problem, group) for *problem, _ in problems]


def blocks_over(blocks, *, stacked: bool):
    """Return the reductions over the blocks of one tensor.

    Parameters
    ----------
    blocks : int, Tensor or None
        A number of equal contiguous blocks, labels in the shape of the tensor, or ``None`` for one
        block.
    stacked : bool
        Whether the tensor is of shape (..., d), problems in front.
    """
    if isinstance(blocks, Tensor):
        return Labels(blocks)
    return Whole if blocks is None and not stacked else Last


def split(x: Tensor, blocks) -> Tensor:
    """View a tensor as one row a block where its partition is a number of blocks."""
    return x.reshape(blocks, -1) if isinstance(blocks, int) else x


def updates(rule, problems, h: Hyper):
    """Yield the next x and state of each tensor.

    Parameters
    ----------
    rule : type
        A class of `companion.optim`.
    problems : list of (x, g, s, t, over)
        What the rule takes, and the reductions over the tensor's block; see `grouped`.
    h : Hyper

    Notes
    -----
    The new state shares no memory with x and g, which are the caller's to write to. It keeps its
    dtype, and x its own, also where hyper-parameters are tensors of a wider one.
    """
    for x, g, s, t, over in problems:
        h.over = over
        after, new = rule.update(x, g, s, t, h)
        taken, dtype = (None, _memory(x), _memory(g)), x.dtype
        after = after if after.dtype is dtype else after.to(dtype)
        yield after, rule.State(*[_apart(z, dtype, taken) for z in new])


def _memory(z):
    """Return where a tensor lies; ``None`` for a wrapper around other tensors, which may be x."""
    try:
        return z.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return None


def _apart(z, dtype, taken):
    """Return z in a dtype, and as a copy if it lies in memory that is taken."""
    if z is None:
        return None
    z = z if z.dtype is dtype else z.to(dtype)
    return z.clone() if _memory(z) in taken else z


class Stack:
    """Many problems side by side, stepped by one rule: tensors of shape (..., d).

    Parameters
    ----------
    optimizer : type
        A class of `companion.optim`.
    **options
        Its options, ``beta1`` and ``beta2`` for ``betas`` where one likes. Numbers may be tensors
        that broadcast against x, so with a last dimension of 1, such as (cells, 1, 1).

    Attributes
    ----------
    rule : type
        The class.
    h : Hyper
        The hyper-parameters; engines may set ``h.lr`` from step to step.

    Examples
    --------
    >>> from companion.optim import AdaSGD
    >>> stack = Stack(AdaSGD, lr=1.0)
    >>> x, g = torch.zeros(2, 2), torch.tensor([[1.0, 7.0], [0.0, 0.0]])  # two problems
    >>> x, s = stack.step(x, g, stack.init(x), 1.0)
    >>> (x * 10).round().tolist()
    [[-2.0, -14.0], [0.0, 0.0]]
    """

    def __init__(self, optimizer, **options):
        self.rule, self.bare = optimizer, optimizer.bare(**options)
        self.h = self.bare.hyper_of(self.bare.defaults)
        self._overs = {}

    def shape(self, x: Tensor) -> torch.Size:
        """Return the shape that x and all hyper-parameters broadcast to."""
        shape = x.shape
        for name, value in vars(self.h).items():
            if not isinstance(value, Tensor) or value.dim() == 0:
                continue
            if value.shape[-1] != 1:
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)}, but its last dimension belongs to the "
                    f"coordinates of x and must be 1; pass {name}.unsqueeze(-1)"
                )
            try:
                shape = torch.broadcast_shapes(shape, value.shape)
            except RuntimeError as error:
                raise ValueError(
                    f"{name} of shape {tuple(value.shape)} does not broadcast against "
                    f"x of shape {tuple(shape)}"
                ) from error
        return shape

    def mapped(self, function) -> "Stack":
        """Return a stack whose hyper-parameters that are tensors have gone through a function."""
        other = copy.copy(self)
        other.h = type(self.h)(**vars(self.h))
        for name, value in vars(self.h).items():
            if isinstance(value, Tensor):
                setattr(other.h, name, function(value))
        return other

    def set_lr(self, lr) -> None:
        """Let the next steps use this step size, after a check."""
        self.rule.options["lr"].check(f"{self.rule.__name__}: lr", lr)
        self.h.lr = lr if isinstance(lr, Tensor) else float(lr)

    def divide(self, name, x: Tensor) -> None:
        """Choose the blocks of the tensor of this name once, where the rule divides tensors.

        Parameters
        ----------
        name : str or None
        x : Tensor
            Of the shape of one problem's parameter.
        """
        blocks = self.bare.blocks(x, name) if self.rule.block == "partition" else 1
        if isinstance(blocks, int) and blocks > 1:
            blocks = torch.arange(x.numel(), device=x.device) // (x.numel() // blocks)
        labels = blocks.flatten() if isinstance(blocks, Tensor) else None
        self._overs[name] = blocks_over(labels, stacked=True)

    def over(self, name=None, x: Tensor | None = None):
        """Return the reductions over the blocks of a tensor."""
        if name not in self._overs:
            self.divide(name, x.new_zeros(x.shape[-1]))
        return self._overs[name]

    def init(self, x: Tensor, name=None):
        """Return the state before the first step, for x of shape (..., d)."""
        self.h.over = self.over(name, x)
        return self.rule.init(x, self.h)

    def step(self, x: Tensor, g: Tensor, s, t: float):
        """Return the next x and state of problems of one tensor each; t counts the steps."""
        return self.steps({None: (x, g, s, t)})[None]

    def steps(self, problems: dict) -> dict:
        """Return the next (x, s) by name, for problems of several tensors.

        Parameters
        ----------
        problems : dict
            Name → (x, g, s, t), each x of shape (..., d) with a d of its own.
        """
        entries = [(x, g, s, t, self.over(name, x)) for name, (x, g, s, t) in problems.items()]
        after = updates(self.rule, grouped(self.rule, entries, self.h), self.h)
        return dict(zip(problems, after, strict=True))
