"""Rotated coordinates inside the optimizer."""

from collections.abc import Callable

import torch
from torch import nn

from companion.rotation.operators import Rotation
from companion.rotation.vectors import flatten, listed, unflatten


class RotatedOptimizer(torch.optim.Optimizer):
    r"""An optimizer that works in rotated coordinates inside, on a model that knows nothing of it.

    .. math:: x' = R^\top x, \qquad g' = R^\top g, \qquad x \leftarrow x + R \, \Delta x'

    where Δx' is the step that the inner optimizer takes from x' with gradient g'. The trajectory is
    that of `rotate` applied to the loss.

    Parameters
    ----------
    params : iterable of Tensor
        The trained parameters, as one vector in this order; one dtype and device. Those that
        require no gradient are left alone and do not count.
    optimizer : callable
        Makes the inner optimizer of a list of one vector: ``lambda params: Adam(params, lr=0.1)``.
        Its options are the outer one's too, so that schedulers may change them.
    rotation : Rotation
        R, of d numbers.

    Notes
    -----
    A step costs three products with R; memory: two vectors of d numbers and the inner state, which
    is what ``state_dict`` holds. A parameter without a gradient has one of zero, since a rotation
    mixes it with the others; where none has one, the step does nothing.

    Raises
    ------
    ValueError
        Another d; a parameter twice; at a step, a parameter frozen since or a sparse gradient.

    Examples
    --------
    >>> from companion.rotation import haar
    >>> x = nn.Parameter(torch.tensor([1.0, 1.0]))
    >>> make = lambda params: torch.optim.SGD(params, lr=0.5)
    >>> optimizer = RotatedOptimizer([x], make, haar(2))
    >>> x.grad = torch.tensor([1.0, 2.0])
    >>> optimizer.step()  # the rotation cancels: SGD is equivariant
    >>> x.detach().round(decimals=5).tolist()
    [0.5, 0.0]
    """

    def __init__(self, params, optimizer: Callable, rotation: Rotation):
        params = [params] if isinstance(params, torch.Tensor) else list(params)
        params = listed([p for p in params if getattr(p, "requires_grad", True)])
        if len({id(p) for p in params}) < len(params):
            raise ValueError("params: expected each parameter once, got one twice")
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
        if all(p.grad is None for p in params):
            return loss
        for i, p in enumerate(params):
            if not p.requires_grad or (p.grad is not None and p.grad.layout != torch.strided):
                what = "its gradient is sparse" if p.requires_grad else "it was frozen meanwhile"
                raise ValueError(f"params[{i}]: {what}; a rotation mixes all of them")
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
