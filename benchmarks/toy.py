"""Run the toy problem of the ADOPT paper to two million steps; print and save the medians.

Minimise x on [-1, 1] from gradients k² (with probability 1/k) and -k: the minimiser is -1. As
published: x₀ = 0, β1 = 0.9, step size 0.01 / √(1 + t/100). Adam and AMSGrad have no bias correction
there, and ADOPT neither ε nor clip; Adam runs once more with its correction, and ADOPT, for a tenth
of the steps, with the default clip and ε. All rules and all β2 see the same draws.

A row of the table is one rule, k, β2 and step: quantiles of x over the seeds. Half an hour
on one core; the seed makes it repeatable.
"""

import argparse
import math
import time
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from benchmarks.provenance import provenance
from companion.optim import ADOPT, Adam, AMSGrad
from companion.optim.variants import UncorrectedAdam
from companion.problems import AdoptToy
from companion.simulate import QUANTILES, run

HOME = Path(__file__).parents[1] / "companion" / "results" / "toy.csv"
NAMES = {q: "median" if q == 0.5 else f"q{q * 100:.0f}" for q in QUANTILES}
BETA2 = (0.1, 0.5, 0.9, 0.99, 0.999)


RULES = {
    "Adam": UncorrectedAdam,
    "Adam, corrected": Adam,
    "AMSGrad": partial(AMSGrad, variant="paper"),
    "ADOPT": partial(ADOPT, clip_lambda=None, eps=0.0),
    "ADOPT, clipped": ADOPT,
}
SHORTER = {"ADOPT, clipped": 10}  # for one thing to see, a tenth of the steps is enough


class Toys:
    """The gradients of `companion.problems.AdoptToy` for several k side by side, one k a cell.

    Each step draws one number a seed, the same for every cell: small ones bring the rare gradient.
    """

    BLOCK = 1024  # steps drawn at once

    def __init__(self, k):
        problems = [AdoptToy(int(value)) for value in k]
        x = torch.zeros(1, dtype=torch.float64)
        self.rare = torch.stack([f.rare(x) for f in problems]).unsqueeze(1)  # (cells, 1, 1)
        self.common = torch.stack([f.common(x) for f in problems]).unsqueeze(1)
        self.frequency = torch.tensor([f.frequency for f in problems]).double().view(-1, 1, 1)
        self.reset()

    def reset(self):
        """Begin a new stream."""
        self.place, self.drawn = self.BLOCK, None

    def __call__(self, x, generator):
        """Return the gradients of the next step, of the shape of x: (cells, seeds, 1)."""
        if self.place == self.BLOCK:
            like = {"dtype": torch.float64, "generator": generator}
            self.place, self.drawn = 0, torch.rand(self.BLOCK, *x.shape[-2:], **like)
        self.place += 1
        return torch.where(self.drawn[self.place - 1] < self.frequency, self.rare, self.common)


def step_size(t):
    """Return the published step size at t = 1, 2, …."""
    return 0.01 / math.sqrt(1 + t / 100)


def medians(rule, k, steps, seeds, seed=0, beta2=BETA2, times=None):
    """Return quantiles of x over the seeds: a row a k, β2 and step.

    Parameters
    ----------
    rule : type or partial
        A class of `companion.optim`, with fixed options or without.
    k : sequence of int
        Of `companion.problems.AdoptToy`.
    steps, seeds, seed : int
        Length of the run, how many, and what they are drawn from.
    beta2 : sequence of float
        All k and β2 run side by side.
    times : sequence of int, optional
        Steps at which to look; the last one only if left out.

    Returns
    -------
    DataFrame
        ``k``, ``beta2``, ``step``, ``q10``, ``q25``, ``median``, ``q75``, ``q90``.
    """
    shape = (len(k), len(beta2), 1, 1)
    result = run(
        getattr(rule, "func", rule),
        Toys([value for value in k for _ in beta2]),
        torch.zeros(shape, dtype=torch.float64),
        steps,
        seeds=seeds,
        seed=seed,
        times=times or [steps],
        project=(-1.0, 1.0),
        lr=step_size,
        beta1=0.9,
        beta2=torch.tensor(beta2, dtype=torch.float64).view(-1, 1, 1).expand(shape),
        **getattr(rule, "keywords", {}),
    )
    frame = result.frame(k=k, beta2=beta2)
    frame["quantile"] = [NAMES[q] for q in frame["quantile"]]
    frame = frame.pivot(index=["k", "beta2", "t"], columns="quantile", values="value")
    return frame[list(NAMES.values())].reset_index().rename(columns={"t": "step"})


def main():
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--k", nargs="+", type=int, default=[10, 50])
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--steps", type=int, default=2_000_000)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, default=HOME)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps, seeds, seed = arguments.steps, arguments.seeds, arguments.seed
    spaced = torch.logspace(2, math.log10(steps), 25, dtype=torch.float64)
    times = sorted({round(t) for t in spaced.tolist()} | {steps // 2, steps})
    parts = []
    for name in arguments.rules:
        begun = time.process_time()
        last = steps // SHORTER.get(name, 1)
        at = [t for t in times if t <= last]
        part = medians(RULES[name], arguments.k, last, seeds, seed, times=at)
        part.insert(0, "optimizer", name)
        parts.append(part)
        print(f"{name}, {time.process_time() - begun:.0f} s of CPU")
        end = part[part.step == min(at[-1], steps // 2)]
        print(end.to_string(index=False, float_format="%.4f"), flush=True)
    frame = pd.concat(parts)
    frame = frame.assign(seeds=seeds, seed=seed, **provenance())
    arguments.csv.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(arguments.csv, index=False, float_format="%.5f")
    print(f"saved to {arguments.csv}")


if __name__ == "__main__":
    main()
