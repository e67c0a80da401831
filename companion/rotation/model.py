r"""Losses and models in rotated coordinates: L∘R, to be trained from Rᵀx₀."""

import copy
import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from companion.rotation.operators import Rotation
from companion.rotation.vectors import describe, flatten, listed, unflatten


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
    >>> from companion.rotation import haar
    >>> R = haar(2, seed=0)
    >>> loss, x0 = (lambda x: (x * x * torch.tensor([1.0, 9.0])).sum(-1)), torch.tensor([1.0, 1.0])
    >>> rotated = rotate(loss, R)
    >>> round(rotated(R.T(x0)).item(), 5)
    10.0
    """
    if not isinstance(rotation, Rotation):
        raise TypeError(f"rotation: expected a Rotation, got {describe(rotation)}")
    if isinstance(target, nn.Module):
        return RotatedModel(target, rotation)
    if not callable(target):
        raise TypeError(f"target: expected a function or a Module, got {describe(target)}")
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
        Copied, so that it stays as it is. Its trained parameters, in the order of
        ``named_parameters()``, are the vector that is rotated; a weight or module that has several
        names counts once. Frozen parameters and buffers stay as they are.
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
    >>> from companion.rotation import chain
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
        # Where a parameter is read: once a module, however many names it has. (torch, told of two
        # names of one place, would not put the parameter back.)
        canonical = {p: k for k, p in self.model.named_parameters()}
        self.places = [
            (f"{module}.{k}" if module else k, canonical[p])
            for module, own in self.model.named_modules()
            for k, p in own.named_parameters(recurse=False, remove_duplicate=False)
            if p.requires_grad
        ]
        params = listed(self.coordinates())
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
        native = self.native()
        placed = {place: native[name] for place, name in self.places}
        return functional_call(self.model, placed, inputs, options, tie_weights=False)

    def _apply(self, fn, recurse=True):
        p = fn(self.coordinates()[0].detach())
        self.rotation = self.rotation.to(p.dtype, p.device)  # first: it may refuse
        return super()._apply(fn, recurse)
