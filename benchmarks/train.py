"""Time `fit` and `sweep` against bare torch loops over the same batches; print a table, save a CSV.

A bare loop is what one would write by hand: draw a batch, zero the gradients, forward, backward,
step. Contenders take turns, round after round, on one thread, and a ratio is the median over rounds
of time(loop) / time(contender): above 1 is faster than the loop. Time is that of the processor, so
that other work on the machine weighs little. Of the many models of a sweep the loop trains some,
and their time is multiplied. ``--against`` also times the sweep of another checkout, in processes
that take turns with those of this one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks.provenance import provenance
from companion.data import digits
from companion.models import MLP
from companion.optim import Adam

BATCH = 64
SIZES = {"MLP 64-32-10": [64, 32, 10], "MLP 64-128-128-10": [64, 128, 128, 10]}
MODELS, STEPS, LOOPED = 256, 200, 8
LRS = torch.logspace(-4, -1, MODELS).tolist()


def loop(data, sizes, make, steps, seed=0):
    """Train one model by hand."""
    torch.manual_seed(seed)
    model = MLP(sizes)
    optimizer = make(model.parameters())
    generator, place = torch.Generator().manual_seed(seed), len(data.x)
    for _ in range(steps):
        if place >= len(data.x):
            order, place = torch.randperm(len(data.x), generator=generator), 0
        index = order[place : place + BATCH]
        place += BATCH
        x, y = data.x[index], data.y[index]
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def fitted(data, sizes, make, steps, seed=0):
    """Train one model by `fit`."""
    from companion.train import fit

    torch.manual_seed(seed)
    options = {"batch_size": BATCH, "seed": seed, "device": "cpu", "progress": False}
    fit(MLP(sizes), data, make, steps=steps, **options)


def swept(data, sizes, steps=STEPS):
    """Train many models by `sweep`."""
    try:
        from companion.train import sweep
    except ImportError:  # an older checkout
        from companion.ensemble import sweep

    options = {"batch_size": BATCH, "every": steps, "device": "cpu", "progress": False}
    sweep(lambda: MLP(sizes), data, Adam, {"lr": LRS}, steps=steps, **options)


def seconds(function, *arguments):
    """Return the time of a call."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def fits(rounds):
    """Return one row a size and optimizer: a step of `fit` and of a loop, in microseconds."""
    data, rows = digits(), []
    makes = {"torch Adam": partial(torch.optim.Adam, lr=0.01), "Adam": partial(Adam, lr=0.01)}
    for size, sizes in SIZES.items():
        for name, make in makes.items():
            pairs = []
            for _ in tqdm(range(rounds), desc=f"fit {size} {name}", file=sys.stdout, disable=None):
                pairs.append([seconds(f, data, sizes, make, STEPS) for f in (loop, fitted)])
            bare, ours = (
                1e6 / STEPS * statistics.median(column) for column in zip(*pairs, strict=True)
            )
            ratio = statistics.median(a / b for a, b in pairs)
            rows.append(_row("fit", size, name, bare, ours, ratio))
    return rows


def sweeps(rounds, against):
    """Return one row a size: a step of a model of `sweep` and of a loop, in microseconds."""
    data, rows = digits(), []
    make, share = partial(torch.optim.Adam, lr=0.01), MODELS / LOOPED
    for size, sizes in list(SIZES.items())[:1]:
        times = []
        for _ in tqdm(range(rounds), desc=f"sweep {size}", file=sys.stdout, disable=None):
            bare = sum(seconds(loop, data, sizes, make, STEPS, seed) for seed in range(LOOPED))
            here = [_elsewhere(place, size) for place in (Path.cwd(), against) if place]
            times.append([share * bare, *here])
        bare, ours, *other = (
            1e6 / STEPS / MODELS * statistics.median(column) for column in zip(*times, strict=True)
        )
        row = _row("sweep", size, "Adam", bare, ours, statistics.median(t[0] / t[1] for t in times))
        if other:
            row["speed / against"] = statistics.median(t[2] / t[1] for t in times)
        rows.append(row)
    return rows


def _row(what, size, optimizer, bare, ours, ratio):
    models = MODELS if what == "sweep" else 1
    return {
        "function": what, "model": size, "optimizer": optimizer, "models": models, "steps": STEPS,
        "loop us": bare, "us": ours, "speed / loop": ratio,
    }  # fmt: skip


def _elsewhere(place, size):
    """Return the seconds of a sweep in a process of its own, with the package of a checkout."""
    command = [sys.executable, str(Path(__file__).resolve()), "--time", size]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(Path.cwd())])}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, cwd=place
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="of fit; a third of it of sweep")
    parser.add_argument("--against", type=Path, help="another checkout, to time its sweep")
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results/train.csv")
    parser.add_argument("--time", choices=SIZES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.time:
        data, sizes = digits(), SIZES[arguments.time]
        swept(data, sizes, 3)  # builds the kernel
        return print(json.dumps(seconds(swept, data, sizes)))

    rows = fits(arguments.rounds) + sweeps(max(3, arguments.rounds // 3), arguments.against)
    frame = pd.DataFrame(rows)
    print(frame.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    frame = frame.assign(threads=1, cores=os.cpu_count(), **provenance())
    arguments.csv.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(arguments.csv, index=False, float_format="%.4f")
    print(f"saved to {arguments.csv}")


if __name__ == "__main__":
    main()
