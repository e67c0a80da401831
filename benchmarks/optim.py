"""Time one optimizer step against torch.optim and other packages; print a table, save a CSV.

Every contender steps the same GPT-like parameters. Contenders take turns, round after round, and
each ratio is the median over rounds of time(anchor) / time(contender): above 1 is faster than the
anchor. An Adam-like step has to move 28 bytes a parameter (x, g, m, v read; x, m, v written); its
rate is given as a share of that of a plain copy, measured beside it. Peak memory is that of a
process of its own which builds parameters, gradients and state and takes three steps, above what
the same process had before; on a GPU, that of the tensors that it holds at once.

    python -m benchmarks.optim --device cuda --csv benchmarks/results/optim-cuda.csv
"""

import argparse
import importlib
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import time
import types
from functools import cache, partial
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.provenance import provenance
from companion import optim

ANCHOR = "torch Adam fused"
LOOP = "torch Adam loop"
COPY = "copy"


def gpt_shapes(d, layers, vocabulary, context):
    """Return the parameter shapes of a GPT-2-like decoder of width d, embeddings tied."""
    block = [(d,), (d,), (3 * d, d), (3 * d,), (d, d), (d,)]
    block += [(d,), (d,), (4 * d, d), (4 * d,), (d, 4 * d), (d,)]
    return [(vocabulary, d), (context, d), *block * layers, (d,), (d,)]


SIZES = {
    "1M": gpt_shapes(128, 4, 1_500, 256),
    "10M": gpt_shapes(320, 6, 8_000, 256),
    "100M": gpt_shapes(768, 10, 38_000, 1024),
}


@cache
def peers():
    """Return ADOPT of other packages, by name, as far as they are installed."""
    found = {}
    if importlib.util.find_spec("pytorch_optimizer"):
        module = importlib.import_module("pytorch_optimizer")
        found["pytorch_optimizer ADOPT"] = module.ADOPT
    timm = importlib.util.find_spec("timm")
    if timm:
        # timm as a whole wants torchvision; its optimizers do not.
        root = Path(timm.origin).parent
        for name, folder in (("timm", root), ("timm.optim", root / "optim")):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = [str(folder)]
        found["timm ADOPT"] = importlib.import_module("timm.optim.adopt").Adopt
    return found


def contenders():
    """Return every contender: name → function from parameters to an optimizer."""
    return {
        ANCHOR: partial(torch.optim.Adam, fused=True),
        LOOP: partial(torch.optim.Adam, foreach=False),
        "torch Adam foreach": partial(torch.optim.Adam, foreach=True),
        "Adam fused": partial(optim.Adam, fused=True),
        "ADOPT fused": partial(optim.ADOPT, fused=True),
        "Adam eager": optim.Adam,
        "ADOPT eager": optim.ADOPT,
        **peers(),
    }


def parameters(size, device):
    """Return parameters of a size, each with a gradient."""
    torch.manual_seed(0)
    params = [torch.nn.Parameter(0.02 * torch.randn(shape, device=device)) for shape in SIZES[size]]
    for p in params:
        p.grad = 0.01 * torch.randn_like(p)
    return params


def timings(size, rounds, device):
    """Return one row per contender: median milliseconds and ratios."""
    params = parameters(size, device)
    total = sum(p.numel() for p in params)
    source, target = torch.zeros(total, device=device), torch.ones(total, device=device)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    copy = partial(target.copy_, source)  # 8 bytes a parameter
    seconds = {}
    progress = tqdm(contenders().items(), desc=size, file=sys.stdout, disable=None)
    for name, make in progress:
        # The anchors are timed again beside every contender, so that each ratio is of one moment.
        group = {n: contenders()[n](params) for n in (ANCHOR, LOOP)} | {name: make(params)}
        for optimizer in group.values():
            for _ in range(3):
                optimizer.step()
        rows = []
        for _ in range(rounds):
            row = {}
            for label, step in [*((n, o.step) for n, o in group.items()), (COPY, copy)]:
                wait()
                start = time.perf_counter()
                step()
                wait()
                row[label] = time.perf_counter() - start
            rows.append(row)
        seconds[name] = rows
    return [
        {
            "parameters": size,
            "contender": name,
            "ms": 1e3 * statistics.median(row[name] for row in rows),
            "speed / torch fused": statistics.median(row[ANCHOR] / row[name] for row in rows),
            "rate / copy": statistics.median(28 / 8 * row[COPY] / row[name] for row in rows),
            "speed / torch loop": statistics.median(row[LOOP] / row[name] for row in rows),
        }
        for name, rows in seconds.items()
    ]


def peak_memory(size, name, device):
    """Return the peak memory of one contender in MiB, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.optim", "--device", device, "--memory", size, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _measure_memory(size, name, device):
    # A first small step loads what the contender needs; it is not memory of the step itself.
    small = [torch.nn.Parameter(torch.zeros(64, device=device)) for _ in range(2)]
    for p in small:
        p.grad = torch.zeros_like(p)
    contenders()[name](small).step()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before, peak = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated
    else:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
        before, peak = 1024 * _status("VmRSS"), lambda: 1024 * _status("VmHWM")
    optimizer = contenders()[name](parameters(size, device))
    for _ in range(3):
        optimizer.step()
    print(json.dumps((peak() - before) / 2**20))


def _status(key):
    """Return a number of kB that Linux keeps of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, help="timed rounds (default: by size)")
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results/optim.csv")
    parser.add_argument("--memory", nargs=2, metavar=("SIZE", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory:
        return _measure_memory(*arguments.memory, arguments.device)

    rows = []
    for size in arguments.sizes:
        millions = sum(map(math.prod, SIZES[size])) / 1e6
        rounds = arguments.rounds or max(5, min(200, int(400 / millions)))
        part = timings(size, rounds, arguments.device)
        if sys.platform == "linux":
            anchor = peak_memory(size, ANCHOR, arguments.device)
            for row in part:
                peak = peak_memory(size, row["contender"], arguments.device)
                row["peak memory / torch fused"] = peak / anchor
        rows += part
    frame = pd.DataFrame(rows)
    print(frame.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    frame["threads"] = arguments.threads
    frame["cores"] = os.cpu_count()
    frame = frame.assign(**provenance(arguments.device))
    arguments.csv.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(arguments.csv, index=False, float_format="%.4f")
    print(f"saved to {arguments.csv}")


if __name__ == "__main__":
    main()
