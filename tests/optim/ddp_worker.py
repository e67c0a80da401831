"""One process of a data-parallel run: ddp_worker.py OPTIMIZER FOLDER RANK WORLD."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from companion import optim


def main(name, folder, rank, world):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet-{world}", rank=rank, world_size=world
    )
    torch.manual_seed(0)
    x, y = torch.randn(16, 4, dtype=torch.float64), torch.randn(16, 2, dtype=torch.float64)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
    ).double()
    replica = DistributedDataParallel(model)
    optimizer = getattr(optim, name)(model.parameters(), lr=0.05)
    mine = slice(rank * 16 // world, (rank + 1) * 16 // world)
    for _ in range(10):
        optimizer.zero_grad()
        (replica(x[mine]) - y[mine]).square().mean().backward()
        optimizer.step()
    torch.save([p.detach() for p in model.parameters()], folder / f"{rank}-{world}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
