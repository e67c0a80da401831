"""Parameters as one vector, and back."""

from collections.abc import Iterable

import torch
from torch import Tensor


def flatten(tensors: Iterable[Tensor]) -> Tensor:
    """Return tensors as one vector, in order."""
    return torch.cat([z.reshape(-1) for z in tensors])


def unflatten(x: Tensor, like: Iterable[Tensor]) -> list[Tensor]:
    """Return a vector as tensors of given shapes: the inverse of `flatten`."""
    like = list(like)
    if x.shape != (d := sum(z.numel() for z in like),):
        raise ValueError(f"x: expected shape ({d},), got {tuple(x.shape)}")
    pieces = x.split([z.numel() for z in like])
    return [piece.reshape(z.shape) for piece, z in zip(pieces, like, strict=True)]


def listed(params) -> list[Tensor]:
    """Return parameters as a list that is one vector: real, with entries, of one dtype, device."""
    params = [params] if isinstance(params, Tensor) else list(params)
    if not params:
        raise ValueError("params: expected at least one trained parameter, got none")
    for i, p in enumerate(params):
        if not isinstance(p, Tensor) or not p.is_floating_point() or not p.numel():
            raise TypeError(f"params[{i}]: expected a real tensor with entries, got {describe(p)}")
    kinds = {f"{p.dtype} on {p.device}" for p in params}
    if len(kinds) != 1:
        raise ValueError(f"params: expected tensors of one dtype and device, got {sorted(kinds)}")
    return params


def describe(value) -> str:
    """Return what a value is, for an error."""
    return (
        f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
    )
