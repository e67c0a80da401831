"""Blocks of coordinates as labels: what a sum or a norm over a partition runs on."""

import torch
from torch import Tensor


def block_labels(partition: int | str | Tensor | None, d: int, device=None) -> Tensor:
    """Return the block of each coordinate, int64 of shape (d,), numbered from 0.

    Parameters
    ----------
    partition : None, "elements", int or Tensor
        None for one block; "elements" for one a coordinate; a number of equal contiguous blocks; or
        int64 labels of shape (d,).
    d : int
        Number of coordinates.
    device : torch.device, optional
        Where the labels live.

    Raises
    ------
    ValueError
        Blocks that do not divide d; labels of another shape or dtype, negative, or with a gap.

    Examples
    --------
    >>> block_labels(2, 6).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    if partition is None:
        partition = 1
    if isinstance(partition, str) and partition == "elements":
        partition = d
    if isinstance(partition, int) and not isinstance(partition, bool):
        if partition < 1 or d % partition:
            raise ValueError(f"partition: {partition} equal blocks do not divide d = {d}")
        return torch.arange(d, device=device) // (d // partition)
    if not isinstance(partition, Tensor) or partition.dtype != torch.int64:
        got = partition.dtype if isinstance(partition, Tensor) else repr(partition)
        raise ValueError(f"partition: expected None, 'elements', an int or int64 labels, got {got}")
    if partition.shape != (d,):
        raise ValueError(
            f"partition: expected labels of shape ({d},), got {tuple(partition.shape)}"
        )
    if int(partition.min()) < 0 or bool((partition.bincount() == 0).any()):
        raise ValueError("partition: labels must be 0, 1, ..., with no number left out")
    return partition.to(device)


def block_sum(x: Tensor, labels: Tensor) -> Tensor:
    """Sum x of shape (d, ...) over each block, to (blocks, ...)."""
    blocks = int(labels.max()) + 1
    return torch.zeros(blocks, *x.shape[1:], dtype=x.dtype, device=x.device).index_add(0, labels, x)
