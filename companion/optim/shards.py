"""Parameters of which each process holds a part: steps go on the part, reductions over all."""

import torch
from torch import Tensor
from torch import distributed as dist

from companion.optim.rule import Whole


def local(z):
    """Return the part of a ``DTensor`` that lies here, in its own memory, and all else as it is."""
    return z.to_local() if hasattr(z, "to_local") else z


class Shards:
    """Reductions over one tensor whose parts lie in several processes.

    Parameters
    ----------
    p : DTensor
    within : type
        The reductions over the tensor in one process; only those over all of it are at hand.
    """

    def __init__(self, p, within=Whole):
        if within is not Whole:
            raise ValueError(
                f"a parameter of shape {tuple(p.shape)} that is sharded cannot be divided into "
                "blocks here: use partition='tensor', or do not shard it"
            )
        shards = zip(range(p.device_mesh.ndim), p.placements, strict=True)
        self.groups = [p.device_mesh.get_group(i) for i, place in shards if place.is_shard()]
        self.numel = p.numel() * (2 if p.is_complex() else 1)

    def count(self, z) -> int:
        """Return the number of entries in all processes."""
        return self.numel

    def mean(self, z):
        """Return the mean over all processes. Cost: one number sent."""
        return self._reduced(z.sum(), dist.ReduceOp.SUM) / max(self.numel, 1)

    def max(self, z):
        """Return the largest entry of all processes. Cost: one number sent."""
        here = z.amax() if z.numel() else z.new_full((), -torch.inf)
        return self._reduced(here, dist.ReduceOp.MAX)

    def _reduced(self, value, how):
        for group in self.groups:
            dist.all_reduce(value, how, group=group)
        return value


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
