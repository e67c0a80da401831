"""The processes that train one task together, each on its part of every batch.

`Alone` is one process. `Together` is one of those that ``torchrun`` starts: parameters are copied
(`DistributedDataParallel`) or, where the task names modules to shard, divided (`fully_shard`).
"""

import contextlib
import os
import socket
import subprocess
import tempfile
import time

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel


class Applied(nn.Module):
    """A model through which any function of it goes: what wraps it sees all that is computed.

    A wrapper acts where its ``forward`` is called. A loss may call other methods of the model, or
    several of its parts; here they all lie within one call.

    Parameters
    ----------
    model : Module
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, function, *arguments):
        """Return ``function(model, *arguments)``."""
        return function(self.model, *arguments)


class Alone:
    """One process that has everything.

    Attributes
    ----------
    rank, size : int
        Number of this process, and how many there are.
    sharded : bool
        Whether a process holds only a part of the parameters.
    """

    rank, size, sharded = 0, 1, False

    def spread(self, task, device):
        """Put the model in place; return what a function of it goes through."""
        return Applied(task.model.to(device))

    def part(self, batch):
        """Return this process's part of a batch, and what its mean weighs in the mean of all."""
        return batch, 1.0

    def gathering(self, forward, *, last: bool):
        """Return the context of a backward pass; before the last gradients need not be shared."""
        return contextlib.nullcontext()

    def settle(self, forward) -> None:
        """Bring the parameters back to how the optimizer holds them."""

    def mean(self, value: float) -> float:
        """Return the mean over the processes."""
        return value

    def any(self, *flags: bool) -> list:
        """Return for each flag whether some process has raised it."""
        return list(flags)

    def collect(self, thing) -> list:
        """Return what each process has, by rank."""
        return [thing]

    def wait(self) -> None:
        """Wait until all processes are here."""


class Together(Alone):
    """One of several processes that train together.

    Parameters
    ----------
    device : device
        On which this process trains and its numbers are reduced.

    Notes
    -----
    Each process draws every batch, the same in all, and takes its slice: the batches of a run, and
    so its path, do not depend on the number of processes. The gradient is the mean over the slices,
    weighted by their sizes, which is that of the batch wherever the loss is a mean over samples.
    Not where samples meet: batch normalisation, or a mean over a number of tokens that varies.

    What a process draws beyond batches, such as dropout, comes from a stream of its own.
    """

    def __init__(self, device):
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.device = torch.device(device)

    def spread(self, task, device):
        """Copy or divide the model; return what a function of it goes through."""
        torch.manual_seed(torch.initial_seed() + self.rank)
        self.sharded = bool(task.shard)
        if not self.sharded:
            forward = Applied(task.model.to(device))
            return DistributedDataParallel(forward)
        return divided(task, device)

    def part(self, batch):
        """Return every n-th sample from the rank on, and the weight of its mean."""
        single = isinstance(batch, Tensor)
        tensors = (batch,) if single else batch
        n = len(tensors[0])
        if n < self.size:
            raise ValueError(
                f"batches: one of {n} samples cannot be divided over {self.size} processes; "
                "take larger batches, or drop_last=True"
            )
        mine = tuple(z[self.rank :: self.size] for z in tensors)
        return (mine[0] if single else mine), len(mine[0]) * self.size / n

    def gathering(self, forward, *, last):
        """Return the context of a backward pass; copies are reduced in the last only."""
        if last or self.sharded:
            return contextlib.nullcontext()
        return forward.no_sync()

    def settle(self, forward) -> None:
        """Divide the parameters again that an evaluation has put together."""
        if self.sharded:
            for module in forward.modules():
                if hasattr(module, "reshard"):
                    module.reshard()

    def mean(self, value):
        """Return the mean over the processes."""
        value = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(value)
        return value.item() / self.size

    def any(self, *flags):
        """Return for each flag whether some process has raised it."""
        raised = torch.tensor(flags, dtype=torch.int32, device=self.device)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return [bool(flag) for flag in raised.tolist()]

    def collect(self, thing):
        """Return what each process has, by rank."""
        things = [None] * self.size
        dist.all_gather_object(things, thing)
        return things

    def wait(self) -> None:
        """Wait until all processes are here."""
        dist.barrier()


def divided(task, device):
    """Divide a task's parameters over the processes; return what a function of it goes through.

    Each module of the classes in ``task.shard`` is gathered as it is needed, what lies outside them
    with the whole. Parameters and gradients are float32; under bfloat16 they are gathered in that.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(cast_forward_inputs=False)
    if task.precision != "float32":
        policy = MixedPrecisionPolicy(
            param_dtype=getattr(torch, task.precision),
            reduce_dtype=torch.float32,
            cast_forward_inputs=False,
        )
    mesh = init_device_mesh(torch.device(device).type, (dist.get_world_size(),))
    forward = Applied(task.model)
    for module in reversed(list(task.model.modules())):  # the inner ones first
        if isinstance(module, tuple(task.shard)):
            fully_shard(module, mesh=mesh, mp_policy=policy)
    return fully_shard(forward, mesh=mesh, mp_policy=policy)


@contextlib.contextmanager
def started(device=None):
    """Give the processes that train together, and this one's device.

    Parameters
    ----------
    device : str, optional
        None, the default, is a GPU where there is one: that of this process's number.
    """
    cuda = torch.cuda.is_available() if device is None else torch.device(device).type == "cuda"
    if "WORLD_SIZE" not in os.environ:
        yield Alone(), torch.device(device or ("cuda" if cuda else "cpu"))
        return
    if cuda:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    device = torch.device(device or "cpu")
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Together(device), device
    finally:
        dist.destroy_process_group()


def together(command: list, size: int) -> str:
    """Run a command in several processes on this machine, as ``torchrun`` does.

    Each is told its number, how many there are, and where they meet. ``torchrun`` also watches
    them, and spans machines.

    Parameters
    ----------
    command : list of str
    size : int
        Number of processes, of one thread each.

    Returns
    -------
    str
        What the first one has printed.

    Raises
    ------
    RuntimeError
        Where one has failed, with what it said; the others are ended.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    with contextlib.ExitStack() as stack:
        heard = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2 * size)]
        running = []
        try:
            for rank in range(size):
                number = {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
                out, error = heard[2 * rank : 2 * rank + 2]
                environment = os.environ | meet | number
                process = subprocess.Popen(command, env=environment, stdout=out, stderr=error)
                running.append(process)
            while None in (states := [process.poll() for process in running]) and not any(states):
                time.sleep(0.05)  # the others would wait for one that has failed
        finally:
            for process in running:
                process.kill()
                process.wait()
        for file in heard:
            file.seek(0)
        if any(states):
            rank = next(rank for rank, state in enumerate(states) if state)
            raise RuntimeError(f"process {rank} of {size} failed: {heard[2 * rank + 1].read()}")
        return heard[0].read()
