"""Three processes that train together: distributed_worker.py FOLDER.

Every scenario compares what two processes make of a model with what one alone makes of it, and
saves the largest difference, or the text of the error that stopped it. Then all three, and one
alone, go on from the checkpoints that two have written.
"""

import multiprocessing
import sys
import traceback
import warnings
from datetime import timedelta
from pathlib import Path

import torch
import torch._dynamo  # else the first optimizer of each process imports it
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    FullyShardedDataParallel,
    MixedPrecisionPolicy,
    fully_shard,
)
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from companion import optim
from companion.recipes import saving
from companion.recipes.loop import Run
from companion.recipes.processes import Alone, Together
from tests.cases import CASES, EVERY, odd_and_even
from tests.naming import label
from tests.recipes import toy

X = torch.linspace(-1, 1, 64, dtype=torch.float64).view(16, 4)
Y = X[:, :1].sin()


def network(rows=7):
    """Return a model whose rows do not divide evenly: 7, and 1, which leaves one rank nothing."""
    torch.manual_seed(0)
    last = 1 if rows % 2 else 2
    return nn.Sequential(nn.Linear(4, rows), nn.Tanh(), nn.Linear(rows, last)).double()


def train(model, optimizer, rank=None, steps=4, set_to_none=True):
    """Step on the whole batch, or on a rank's half of it."""
    part = slice(None) if rank is None else slice(rank * 8, rank * 8 + 8)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=set_to_none)
        (model(X[part]) - Y[part]).square().mean().backward()
        optimizer.step()


def values(model):
    return [p.full_tensor() if isinstance(p, DTensor) else p for p in model.parameters()]


def difference(model, alone):
    pairs = zip(values(model), values(alone), strict=True)
    return max((p - q).abs().max().item() for p, q in pairs)


def alone(cls, options, steps=4, rows=7):
    model = network(rows)
    train(model, cls(model.parameters(), lr=0.05, **options), steps=steps)
    return model


# -- scenarios: each takes (rank, mesh, folder, cls, options) --------------------------------------


def data_parallel(rank, mesh, folder, cls, options):
    """Gradients are views of buckets, which the next step fills anew."""
    model = network()
    replica = DistributedDataParallel(model, gradient_as_bucket_view=True)
    train(replica, cls(model.parameters(), lr=0.05, **options), rank, set_to_none=False)
    return difference(model, alone(cls, options))


def fully_sharded(rank, mesh, folder, cls, options, rows=7):
    model = network(rows)
    fully_shard(model, mesh=mesh)
    train(model, cls(model.parameters(), lr=0.05, **options), rank)
    return difference(model, alone(cls, options, rows=rows))


def evenly_sharded(*arguments):
    return fully_sharded(*arguments, rows=8)


def mixed_precision(rank, mesh, folder, cls, options):
    """Gather and differentiate in bfloat16, average and step in float32."""
    model, twin = network().float(), network().float()
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    optimizers = [cls(net.parameters(), lr=0.05, **options) for net in (model, twin)]
    x, y = X.float(), Y.float()

    def loss(output, part):
        return (output.float() - y[part]).square().mean()

    halves = slice(0, 8), slice(8, 16)
    for _ in range(4):
        optimizers[0].zero_grad()
        loss(model(x[halves[rank]]), halves[rank]).backward()
        low = {k: p.detach().bfloat16().requires_grad_() for k, p in twin.named_parameters()}
        parts = [
            torch.autograd.grad(
                loss(functional_call(twin, low, x[half].bfloat16()), half), list(low.values())
            )
            for half in halves
        ]
        for p, *gradients in zip(twin.parameters(), *parts, strict=True):
            p.grad = sum(g.float() for g in gradients) / 2
        for optimizer in optimizers:
            optimizer.step()
    assert all(p.dtype is torch.float32 for p in model.parameters())
    return difference(model, twin)


def sharded_tensors(rank, mesh, folder, cls, options):
    """Parameters over a mesh in every way, their gradients in another."""
    worst = 0.0
    for placement in (Shard(0), Shard(1), Replicate()):
        torch.manual_seed(1)
        whole = [nn.Parameter(torch.randn(s, dtype=torch.float64)) for s in ((5, 3), (2, 1))]
        parts = [nn.Parameter(distribute_tensor(p.detach(), mesh, [placement])) for p in whole]
        twins = [cls(ps, lr=0.05, **options) for ps in (whole, parts)]
        for call in range(5):
            for p, q in zip(whole, parts, strict=True):
                p.grad = torch.randn(p.shape, dtype=p.dtype)
                g = distribute_tensor(p.grad, mesh, [Shard(0) if call == 3 else placement])
                q.grad = g if g.placements == q.placements else g.redistribute(mesh, q.placements)
            for optimizer in twins:
                optimizer.step()
        gaps = [(q.full_tensor() - p).abs().max() for p, q in zip(whole, parts, strict=True)]
        worst = max(worst, *(gap.item() for gap in gaps))
    return worst


def large(rank, mesh, folder, cls, options):
    """Return the difference on a tensor whose shards are larger than a piece."""
    model, twin = (nn.Linear(1100, 1000, bias=False) for _ in range(2))
    twin.load_state_dict(model.state_dict())
    for p in (*model.parameters(), *twin.parameters()):
        dist.broadcast(p.data, 0)
    fully_shard(model, mesh=mesh)
    x = torch.linspace(-1, 1, 1100).view(1, -1)
    for net in (model, twin):
        optimizer = cls(net.parameters(), lr=0.05, **options)
        for _ in range(3):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    return difference(model, twin)


def zero_redundancy(rank, mesh, folder, cls, options):
    model = network()
    replica = DistributedDataParallel(model)
    optimizer = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=cls, lr=0.05, **options)
    train(replica, optimizer, rank)
    return difference(model, alone(cls, options))


def flat(rank, mesh, folder, cls, options, use_orig_params=False):
    """FSDP's first version: parameters are pieces of one flat vector."""
    model = network()
    wrapped = FullyShardedDataParallel(
        model, device_id=torch.device("cpu"), use_orig_params=use_orig_params
    )
    train(wrapped, cls(wrapped.parameters(), lr=0.05, **options), rank)
    with FullyShardedDataParallel.summon_full_params(wrapped):
        return difference(wrapped.module, alone(cls, options))


def flat_views(*arguments):
    return flat(*arguments, use_orig_params=True)


def checkpoint(rank, mesh, folder, cls, options, flatten=False):
    """Save both ranks' state, load it into a new optimizer, go on as if nothing had happened."""
    settings = StateDictOptions(flatten_optimizer_state_dict=flatten)

    def make():
        model = network()
        fully_shard(model, mesh=mesh)
        return model, cls(model.named_parameters(), lr=0.05, **options)

    model, optimizer = make()
    train(model, optimizer, rank, steps=3)
    state = {
        "model": model.state_dict(),
        "optimizer": get_optimizer_state_dict(model, optimizer, options=settings),
    }
    where = folder / f"{label(cls)}-{label(options)}-{flatten}"
    dcp.save(state, checkpoint_id=where)
    model, optimizer = make()
    state = {
        "model": model.state_dict(),
        "optimizer": get_optimizer_state_dict(model, optimizer, options=settings),
    }
    dcp.load(state, checkpoint_id=where)
    model.load_state_dict(state["model"])
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=settings)
    train(model, optimizer, rank, steps=3)
    return difference(model, alone(cls, options, steps=6))


def flattened_checkpoint(*arguments):
    return checkpoint(*arguments, flatten=True)


# -- runs that other numbers of processes go on with -----------------------------------------------


def recipe(cls, options, shard, processes):
    """Return a run of the toy recipe in float64, two blocks and a head of uneven rows."""
    settings = toy.Settings(shard=shard)
    task = toy.Experiment("toy", settings).task(
        {"optimizer": cls.__name__, "lr": 0.02, "seed": 0, "options": options}
    )
    task.model.double()
    task.batches.tensors = tuple(z.double() for z in task.batches.tensors)
    task.evaluate = None
    return Run(task, "cpu", processes)


def steps(run, n):
    for _ in range(n):
        run.advance()


def write(rank, folder, name, cls, options):
    """Take three steps by two processes, in copies and in parts, and keep them."""
    for shard in (False, True):
        run = recipe(cls, options, shard, Together("cpu"))
        steps(run, 3)
        saving.save(run, folder / f"{name}-{shard}", {"case": name})


def go_on(folder, name, cls, options, processes):
    """Take three more steps, from copies and parts, in copies and parts; return the difference.

    Copies that go on as copies read one file, by one process or many: one alone tries it.
    """
    whole = recipe(cls, options, False, Alone())
    steps(whole, 6)
    worst = 0.0
    ways = [(False, True), (True, False), (True, True)]  # of which parts before, parts now
    for before, shard in ways if processes.size > 1 else [(False, False), (True, False)]:
        run = recipe(cls, options, shard, processes)
        saving.load(run, saving.latest(folder / f"{name}-{before}"), {"case": name})
        assert run.step == 3
        steps(run, 3)
        worst = max(worst, difference(run.task.model, whole.task.model))
    return worst


PLAIN = [(cls, {"n": 1} if cls is optim.AdaShift else {}) for cls in EVERY]
MOMENTUM, ADAM = (optim.SGD, {"momentum": 0.9}), (optim.Adam, {})
FUSED = [(cls, {**options, "fused": True}) for cls, options in (MOMENTUM, *PLAIN)]
# One for each kind of state: none, a tensor, two, a queue, a scalar, blocks by number and by label.
STATES = [
    (optim.SGD, {}),
    MOMENTUM,
    ADAM,
    (optim.AdaShift, {"n": 2}),
    (optim.AdaSGD, {}),
    (optim.BlockwiseAdam, {"partition": "rows"}),
    (optim.BlockwiseAdam, {"partition": odd_and_even}),
]
SCENARIOS = {
    data_parallel: [MOMENTUM, *PLAIN, *FUSED],
    zero_redundancy: [*PLAIN, *FUSED],
    fully_sharded: [*(case for case in STATES if case not in PLAIN), *PLAIN, *FUSED],
    evenly_sharded: [*PLAIN, *FUSED],
    mixed_precision: [*PLAIN, *FUSED],
    sharded_tensors: CASES,
    large: [MOMENTUM, ADAM],
    flat: STATES,
    flat_views: STATES,
    checkpoint: STATES,
    flattened_checkpoint: STATES,
}


def meet(folder, rank, size):
    """Join a group of processes."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet-{size}",
        rank=rank,
        world_size=size,
        timeout=timedelta(minutes=30),  # the third waits for what two do
    )


def attempt(results, name, function, *arguments):
    """Keep what a scenario returns, or the error that stops it."""
    try:
        results[name] = function(*arguments)
    except Exception:
        results[name] = traceback.format_exc()
    print(name, results[name], flush=True)  # the last words of a process that hangs
    if dist.is_initialized():
        dist.barrier()


def main(folder, rank):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", message=".*steps eagerly")
    results = {}
    names = {f"{label(cls)}-{label(options)}": (cls, options) for cls, options in STATES}
    if rank < 2:
        meet(folder, rank, 2)
        mesh = init_device_mesh("cpu", (2,))
        for scenario, cases in SCENARIOS.items():
            for cls, options in cases:
                name = f"{scenario.__name__}-{label(cls)}-{label(options)}"
                attempt(results, name, scenario, rank, mesh, folder, cls, options)
        for name, case in names.items():
            attempt(results, f"write-{name}", write, rank, folder, name, *case)
        dist.destroy_process_group()
    meet(folder, rank, 3)
    for name, case in names.items():
        attempt(results, f"three-{name}", go_on, folder, name, *case, Together("cpu"))
    dist.destroy_process_group()
    if rank == 0:
        for name, case in names.items():
            attempt(results, f"one-{name}", go_on, folder, name, *case, Alone())
    torch.save(results, folder / f"{rank}.pt")


if __name__ == "__main__":
    # Forks have the imports done; other systems cannot fork once there are threads.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    folder = Path(sys.argv[1])
    processes = [context.Process(target=main, args=(folder, rank)) for rank in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))
