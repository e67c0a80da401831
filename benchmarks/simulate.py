"""Time a step of `companion.simulate.run` on function (2); print a table, save a CSV.

The grid is 64 values of β1 times 64 of β2, with 20 seeds in each cell. The anchor is a Python loop
that steps one instance of ``torch.optim.Adam`` for each cell and seed on the same samples. It is
timed on a few instances and scaled to the grid, since instances do not know of each other: all of
them would take about an hour. Contenders take turns; each number is the median over rounds.
"""

import argparse
import resource
import statistics
import time
from pathlib import Path

import pandas as pd
import torch

from benchmarks.provenance import provenance
from companion import optim
from companion.problems import Function2, Samples
from companion.simulate import run


def problem(n, dtype):
    """Return function (2) as one product: the sampled slope times a function of x."""
    slopes = torch.full((n,), -1.0, dtype=dtype)
    slopes[0] = n
    return Samples(lambda x, i: slopes[i] * (x + 2).clamp_(max=1), n, "reshuffled")


def grid(cells):
    beta1 = torch.linspace(0, 0.99, cells, dtype=torch.float64).view(-1, 1, 1, 1)
    beta2 = 1 - torch.logspace(-0.01, -4, cells, dtype=torch.float64).view(-1, 1, 1)
    return {"lr": lambda t: 1e-2 / t**0.5, "beta1": beta1, "beta2": beta2}


def engine(optimizer, dtype, kernel, oracle, args):
    """Return milliseconds a step, from two runs of different length: the start drops out."""

    def seconds(steps):
        begun = time.perf_counter()
        run(
            optimizer,
            oracle,
            torch.ones(1),
            steps,
            seeds=args.seeds,
            times=[steps],
            dtype=dtype,
            kernel=kernel,
            minimiser=-2.0,
            progress=False,
            **grid(args.cells),
        )
        return time.perf_counter() - begun

    few = max(1, args.steps // 10)
    seconds(1)  # builds the kernel, once a machine
    short, long = seconds(few), seconds(args.steps)
    return 1e3 * (long - short) / (args.steps - few)


def loop(args):
    """Return milliseconds a step of the whole grid, by instances of ``torch.optim.Adam``."""
    hyper = grid(args.cells)
    beta1, beta2 = (
        hyper[k].expand(args.cells, args.cells, 1, 1).flatten() for k in ("beta1", "beta2")
    )
    instances = []
    for i in torch.linspace(0, len(beta1) - 1, args.instances).long().tolist():
        x = torch.nn.Parameter(torch.ones(1))
        instances.append(
            (x, torch.optim.Adam([x], lr=1.0, betas=(beta1[i].item(), beta2[i].item())))
        )
    samples = torch.randint(args.n, (args.loop_steps,)).tolist()
    slopes = [float(args.n)] + [-1.0] * (args.n - 1)
    begun = time.perf_counter()
    for t, sample in enumerate(samples, start=1):
        for x, optimizer in instances:
            optimizer.param_groups[0]["lr"] = 1e-2 / t**0.5
            x.grad = slopes[sample] * (x.detach() + 2).clamp_(max=1)
            optimizer.step()
    each = (time.perf_counter() - begun) / (args.loop_steps * len(instances))
    return 1e3 * each * args.cells**2 * args.seeds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=64, help="values of each beta (64)")
    parser.add_argument("--seeds", type=int, default=20, help="seeds in a cell (20)")
    parser.add_argument("--n", type=int, default=10, help="components of function (2) (10)")
    parser.add_argument("--steps", type=int, default=1000, help="steps of a timed run (1000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (2)")
    parser.add_argument("--instances", type=int, default=100, help="instances in the loop (100)")
    parser.add_argument("--loop-steps", type=int, default=50, help="steps of the loop (50)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/simulate.csv"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    single, double = torch.float32, torch.float64
    own = Function2(args.n, order="reshuffled")
    contenders = {
        "torch.optim.Adam, a loop": None,
        "Adam float32": (optim.Adam, single, True, problem(args.n, single)),
        "Adam float32, problem's own oracle": (optim.Adam, single, True, own),
        "Adam float32, no kernel": (optim.Adam, single, False, problem(args.n, single)),
        "Adam float64": (optim.Adam, double, True, problem(args.n, double)),
        "Adam float64, no kernel": (optim.Adam, double, False, problem(args.n, double)),
        "ADOPT float32": (optim.ADOPT, single, True, problem(args.n, single)),
        "AMSGrad float32": (optim.AMSGrad, single, True, problem(args.n, single)),
    }
    times = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, what in contenders.items():
            times[name].append(loop(args) if what is None else engine(*what, args))
    anchor = times["torch.optim.Adam, a loop"]
    rows = [
        {
            "contender": name,
            "ms_a_step": statistics.median(values),
            "fastest": min(values),
            "slowest": max(values),
            "times_the_loop": statistics.median(a / b for a, b in zip(anchor, values, strict=True)),
        }
        for name, values in times.items()
    ]
    frame = pd.DataFrame(rows)
    print(
        frame.to_string(index=False, float_format=lambda v: f"{v:.3g}" if v < 100 else f"{v:.0f}")
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{args.threads} threads; peak memory of the process {peak:.0f} MiB")
    frame = frame.assign(
        cells=args.cells**2,
        seeds=args.seeds,
        n=args.n,
        threads=args.threads,
        peak_MiB=round(peak),
        **provenance(),
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
