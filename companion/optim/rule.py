"""The words that rules are written in.

A *rule* is a pure function of tensors, written the way the paper prints it::

    rule(x, g, s, t, h) -> (x, s)

``x`` is the parameter, ``g`` its gradient, ``s`` the state (a ``NamedTuple``), ``t = 1, 2, …`` the
number of this step, and ``h`` the hyper-parameters by name (``h.lr``, ``h.beta1``, …). Numbers may
be floats or tensors that broadcast. A rule never branches on data, so the same text steps a
parameter, compiles to one kernel, batches over a grid and differentiates.
"""

from types import SimpleNamespace

import torch
from torch import Tensor


def ema(old, new, beta):
    """Return ``beta * old + (1 - beta) * new``: one step of an exponential moving average.

    Examples
    --------
    >>> ema(torch.tensor(1.0), torch.tensor(3.0), 0.75)
    tensor(1.5000)
    """
    if isinstance(new, Tensor):  # a weight decay of a wider dtype widens a gradient
        new = new.to(old.dtype)
    rest = 1 - beta
    return torch.lerp(old, new, rest.to(old.dtype) if isinstance(rest, Tensor) else rest)


def ema_square(old, g, beta):
    """Return ``beta * old + (1 - beta) * g**2``: one step of an average of squares.

    An average that has reached infinity stays there, as in ``torch.optim``: its coordinate rests.

    Examples
    --------
    >>> ema_square(torch.tensor([1.0, float("inf")]), torch.tensor([3.0, 0.0]), 0.5)
    tensor([5., inf])
    """
    if isinstance(beta, float):
        return (old * beta).addcmul_(g, g, value=1 - beta)
    rest = 1 - beta  # before both get the dtype of the average
    if isinstance(beta, Tensor):
        beta, rest = beta.to(old.dtype), rest.to(old.dtype)
    return beta * old + rest * g * g


def fading_max(old, new, beta):
    """Return ``max(beta * old, new)``: one step of a maximum that forgets.

    Examples
    --------
    >>> fading_max(torch.tensor([8.0, 8.0]), torch.tensor([1.0, 5.0]), 0.5)
    tensor([4., 5.])
    """
    if isinstance(new, Tensor):  # as in `ema`
        new = new.to(old.dtype)
    if isinstance(beta, Tensor):
        beta = beta.to(old.dtype)
    return torch.maximum(beta * old, new)


def clamp(x, low=None, high=None):
    """Return x within bounds that are numbers or tensors of any dtype."""
    low, high = (z.to(x.dtype) if isinstance(z, Tensor) else z for z in (low, high))
    return x.clamp(low, high)


def descend(x, step, direction, scale=None):
    """Return ``x - step * direction / scale``, as one operation where ``step`` is a number."""
    if not isinstance(step, float):
        return x - step * (direction if scale is None else direction / scale)
    if scale is None:
        return torch.sub(x, direction, alpha=step)
    return torch.addcdiv(x, direction, scale, value=-step)


def where(condition, a, b):
    """Return ``a`` where the condition holds, else ``b``; a plain ``bool`` chooses at once."""
    if isinstance(condition, bool):
        return a if condition else b
    return torch.where(condition, a, b)


def push(queue, new):
    """Return a queue without its oldest entry, the first, and with a new one at its end.

    Examples
    --------
    >>> push(torch.tensor([[1.0], [2.0]]), torch.tensor([3.0]))
    tensor([[2.],
            [3.]])
    """
    if isinstance(queue, Tensor):
        return torch.cat((queue[1:], new.unsqueeze(0)))
    return (*queue[1:], new)


def is_zero(value) -> bool:
    """Say whether a number is zero for good: a tensor may hold any, so it never is."""
    return isinstance(value, float) and value == 0


class Whole:
    """Reductions over all entries of one tensor, to a tensor without dimensions."""

    @staticmethod
    def count(z) -> int:
        """Return the number of entries."""
        return z.numel()

    @staticmethod
    def mean(z):
        """Return the mean; that of no entries is zero."""
        return z.mean() if z.numel() else z.sum()

    @staticmethod
    def max(z):
        """Return the largest entry; that of no entries is zero."""
        return z.amax() if z.numel() else z.sum()


class Hyper(SimpleNamespace):
    """``h``: the hyper-parameters of a rule by name, and what it may ask about its whole block.

    A block is one tensor unless the engine says otherwise, by ``over``: see
    `companion.optim.stack`.
    """

    __slots__ = ("over",)

    def __init__(self, over=Whole, **values):
        super().__init__(**values)
        self.over = over

    def mean(self, z):
        """Return the mean of z over its block."""
        return self.over.mean(z)

    def max(self, z):
        """Return the largest entry of z in its block."""
        return self.over.max(z)

    def mean_square(self, g):
        """Return ‖g‖²/d over the block of d entries that g belongs to."""
        square = getattr(self.over, "mean_square", None)
        return self.over.mean(g.square()) if square is None else square(g)
