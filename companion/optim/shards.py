"""Parameters of which each process holds a part: steps go on the part, reductions over all."""

import sys

import torch
from torch import Tensor
from torch import distributed as dist

from companion.optim.stack import Labels


def local(z):
    """Return the part of a ``DTensor`` that lies here, in its own memory, and all else as it is."""
    return z.to_local() if hasattr(z, "to_local") else z


def gradient_of(p):
    """Return the gradient of a parameter, or of the part of it that lies here."""
    if local(p) is p:
        return p.grad
    if local(p.grad) is p.grad:
        raise TypeError(
            f"a parameter of shape {tuple(p.shape)} is a DTensor, its gradient is not: "
            "distribute it likewise"
        )
    return local(p.grad.redistribute(p.device_mesh, p.placements))


class Shards:
    """Reductions over one tensor whose parts lie in several processes. Cost: one number sent.

    Parameters
    ----------
    p : DTensor
    """

    def __init__(self, p):
        shards = zip(range(p.device_mesh.ndim), p.placements, strict=True)
        self.groups = [p.device_mesh.get_group(i) for i, place in shards if place.is_shard()]
        self.numel = p.numel() * (2 if p.is_complex() else 1)

    def count(self, z) -> int:
        """Return the number of entries in all processes."""
        return self.numel

    def mean(self, z):
        """Return the mean over all processes."""
        return self.reduced(z.sum(), dist.ReduceOp.SUM) / max(self.numel, 1)

    def max(self, z):
        """Return the largest entry of all processes."""
        here = z.amax() if z.numel() else z.new_full((), -torch.inf)
        return self.reduced(here, dist.ReduceOp.MAX)

    def reduced(self, value, how):
        """Reduce a tensor over the processes, in place."""
        for group in self.groups:
            dist.all_reduce(value, how, group=group)
        return value


class ShardedLabels(Labels):
    """Reductions over the entries of equal label, wherever they lie. Cost: one number a block sent.

    Parameters
    ----------
    labels : Tensor
        Those of the part that lies here.
    shards : Shards
    """

    def __init__(self, labels, shards):
        self.labels, self.flat, self.shards = labels, labels.flatten(), shards
        last = self.flat.amax() if len(self.flat) else self.flat.new_zeros(())
        n = int(shards.reduced(last, dist.ReduceOp.MAX)) + 1
        counts = torch.bincount(self.flat, minlength=n)
        self.counts = shards.reduced(counts, dist.ReduceOp.SUM).clamp(min=1)

    def mean(self, z):
        """Return the mean of each entry's block."""
        flat, total = self._buckets(z)
        total = self.shards.reduced(total.index_add(-1, self.flat, flat), dist.ReduceOp.SUM)
        return self._spread(total / self.counts.to(z.dtype), z)

    def max(self, z):
        """Return the largest entry of each entry's block."""
        flat, total = self._buckets(z)
        total = (total - torch.inf).scatter_reduce(-1, self.flat, flat, "amax")
        return self._spread(self.shards.reduced(total, dist.ReduceOp.MAX), z)


def sharded_blocks(blocks, p):
    """Return the blocks of a parameter as its state keeps them: labels, distributed as p is.

    One block, and the blocks of a parameter that lies here as a whole, stay as they are.
    """
    if local(p) is p or (isinstance(blocks, int) and blocks == 1):
        return blocks
    if isinstance(blocks, int):
        shape = (*p.shape, 2) if p.is_complex() else p.shape
        numel = shape.numel() if isinstance(shape, torch.Size) else 2 * p.numel()
        blocks = (torch.arange(numel, device=local(p).device) // (numel // blocks)).view(shape)
    if local(blocks) is blocks:
        from torch.distributed.tensor import Replicate  # a second to import

        whole = [Replicate()] * p.device_mesh.ndim
        blocks = type(p.data).from_local(blocks, p.device_mesh, whole, run_check=False)
    return blocks.redistribute(p.device_mesh, p.placements)


def shards_over(p, blocks):
    """Return the reductions over the blocks of a parameter whose parts lie in several processes."""
    shards = Shards(p)
    return ShardedLabels(local(blocks), shards) if isinstance(blocks, Tensor) else shards


def sharded(z, x: Tensor, p):
    """Return a new state tensor for a parameter p of which x is the part that lies here.

    A tensor of the shape of x, or a queue of such, is distributed as the parameter is.
    """
    if local(p) is p or z is None or z.shape[z.dim() - x.dim() :] != x.shape or not x.dim():
        return z
    lead = z.dim() - x.dim()
    placements = [
        type(place)(place.dim + lead) if place.is_shard() else place for place in p.placements
    ]
    shape = torch.Size((*z.shape[:lead], *p.shape, *x.shape[p.dim() :]))
    stride = torch.empty(shape, device="meta").stride()
    return type(p.data).from_local(
        z, p.device_mesh, placements, run_check=False, shape=shape, stride=stride
    )


def refuse_flat(p, owner) -> None:
    """Raise ``ValueError`` for a piece of a vector into which FSDP's first version lays a model."""
    if getattr(p, "_fsdp_flattened", False):
        raise ValueError(
            f"{owner} averages over whole parameters, and FullyShardedDataParallel gives it pieces "
            "of a flat vector; shard the model by torch.distributed.fsdp.fully_shard"
        )


def refuse_zero(owner) -> None:
    """Raise ``ValueError`` where ``ZeroRedundancyOptimizer`` builds an optimizer of a part."""
    frame = sys._getframe(1)
    while frame is not None:
        if type(frame.f_locals.get("self")).__name__ == "ZeroRedundancyOptimizer":
            raise ValueError(
                f"{owner} averages over its whole group, of which ZeroRedundancyOptimizer gives it "
                "a part only; shard the model by torch.distributed.fsdp.fully_shard"
            )
        frame = frame.f_back
