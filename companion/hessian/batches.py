"""Batches of a data set in any form, and how much each of them weighs."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from companion.hessian.plain import twice_differentiable


def read_batches(data, device: torch.device | None) -> list:
    """Return a list of batches, each a tuple (*inputs, y) or a dictionary, copied to a device.

    A dictionary, or a sequence that ends in a tensor, is one batch; all else is iterated.
    """
    if isinstance(data, Mapping) or (
        isinstance(data, Sequence) and len(data) > 1 and isinstance(data[-1], Tensor)
    ):
        data = [data]

    def moved(t):
        return t.detach().to(device, copy=True) if isinstance(t, Tensor) else t

    with torch.inference_mode(False):
        batches = [tree_map(moved, b if isinstance(b, Mapping) else _tuple(b)) for b in data]
    for number, batch in enumerate(batches):
        if not isinstance(batch, Mapping) and len(batch) < 2:
            raise ValueError(f"data: batch {number} is no pair (x, y), nor (x1, x2, ..., y)")
        tensors = [t for t in tree_leaves(batch) if isinstance(t, Tensor) and t.ndim]
        if not isinstance(batch, Mapping) and all(isinstance(t, Tensor) for t in batch[:2]):
            if len(tensors) < len(batch):
                raise ValueError(f"data: batch {number} is no pair (x, y) of samples")
            x, y = batch[0], batch[-1]
            if isinstance(y, Tensor) and len(x) != len(y):
                lengths = f"{len(x)} and {len(y)}"
                raise ValueError(f"data: x and y of batch {number} have lengths {lengths}")
        if not tensors or not length(batch):
            raise ValueError(f"data: expected at least one sample a batch, got none in {number}")
    if not batches:
        raise ValueError("data: expected at least one sample, got no batch")
    return batches


def batch_weights(
    batches: list, weights: Sequence[float] | None, objective: Callable, check: bool
) -> tuple[list, list[float]]:
    """Return the batches that count and their weights, such that no split of the data matters.

    A loss of ``torch.nn.functional`` says what it divides by; any other is taken for the mean over
    a batch's samples, which is checked on the halves of each batch.
    """
    if weights is not None:
        weights = [float(w) for w in weights]
        if len(weights) != len(batches) or not all(map(math.isfinite, weights)):
            raise ValueError(
                f"weights: expected {len(batches)} finite numbers, one a batch, got {weights}"
            )
        return batches, weights
    if len(batches) == 1:
        return batches, [1.0]
    with twice_differentiable() as plain, torch.no_grad():
        measured = [_measured(batch, objective, plain) for batch in batches]
        for number, (batch, whole) in enumerate(zip(batches, measured, strict=True)):
            if check and (halves := _halves(batch)):
                _check_split(number, whole, [_measured(h, objective, plain) for h in halves])
    sums = {size is None for _, size in measured}
    if len(sums) > 1:
        raise ValueError("loss: a sum over some batches, a mean over others; pass weights")
    if sums == {True}:
        return batches, [1.0] * len(batches)
    sizes = [size for _, size in measured]
    if sum(sizes) <= 0:
        raise ValueError("data: no sample counts: all are ignored or have the weight 0")
    kept = [(b, n / sum(sizes)) for b, n in zip(batches, sizes, strict=True) if n]
    return [b for b, _ in kept], [w for _, w in kept]


def length(batch) -> int:
    """Return the number of samples: the first dimension of the target, or of the first tensor."""
    tensors = [t for t in tree_leaves(batch) if isinstance(t, Tensor) and t.ndim]
    if not isinstance(batch, Mapping) and isinstance(batch[-1], Tensor) and batch[-1].ndim:
        return len(batch[-1])
    return len(tensors[0])


def _tuple(batch) -> tuple:
    if isinstance(batch, Tensor) or not isinstance(batch, Sequence):
        raise ValueError(f"data: a batch is no pair (x, y) but a {type(batch).__name__}")
    return tuple(batch)


def _measured(batch, objective: Callable, plain) -> tuple[Tensor, float | None]:
    """Return the loss of a batch and what it was divided by; None for a sum."""
    plain.losses.clear()
    loss = objective(batch)
    sizes = [size for result, size in plain.losses if result is loss]
    return loss, sizes[0] if sizes else length(batch)


def _halves(batch) -> list | None:
    """Return the two halves of a batch, or None where its samples are not plain to see."""
    n = length(batch)
    tensors = [t for t in tree_leaves(batch) if isinstance(t, Tensor)]
    if n < 2 or any(not t.ndim or len(t) != n for t in tensors):
        return None

    def part(where):
        return tree_map(lambda t: t[where] if isinstance(t, Tensor) else t, batch)

    return [part(slice(n // 2)), part(slice(n // 2, n))]


def _check_split(number: int, whole, halves) -> None:
    """Refuse a loss that is not the mean over its halves, weighed by their sizes."""
    loss, size = whole
    if not isinstance(loss, Tensor) or loss.ndim:
        return  # refused later, in words of its own
    pieces = [(part, n) for part, n in halves if n != 0]
    scaled = loss if size is None else loss * size
    total = sum(part if n is None else part * n for part, n in pieces)
    scale = sum((part if n is None else part * n).abs() for part, n in pieces)
    if size != 0 and (scaled - total).abs() > 1e4 * torch.finfo(loss.dtype).eps * scale:
        raise ValueError(
            f"loss: of batch {number}, of {size:g} samples, it is not the mean of its halves, "
            "so that the length of a batch is not its weight (classes with weights, entries that "
            "are left out, a sum, samples that depend on each other); pass weights, one a batch"
        )
