"""Find β2*, above which Adam follows the mean gradient of function (2); print and save a table.

The gradients are n once and -1 otherwise. Reshuffled and independent orders are simulated with
Adam's own rule, `companion.theory.threshold`; the cyclic order is exact. An empty cell: Adam goes
the right way for every β2. Beside each stands what the expansion in 1 - β2 predicts from κ of the
order and of β1; it is for large n. Minutes on one core; the seed makes it repeatable.
"""

import argparse
import math
from pathlib import Path

import pandas as pd
import torch

from benchmarks.provenance import provenance
from companion.problems import Function2
from companion.theory import cyclic_threshold, kappa, skewness_threshold, threshold

BETA1 = torch.tensor([0.0, 0.9], dtype=torch.float64)
STEPS = {5: 20_000, 10: 20_000, 20: 20_000, 50: 60_000}


def expansion(n, order):
    """Return β2* to first order in 1 - β2*, for each β1."""
    mean, _, second, third = Function2(n).moments(torch.zeros(1, dtype=torch.float64))
    return skewness_threshold(mean, second, third, kappa(BETA1, n, order))


def rows(n, steps, seeds, seed):
    """Yield one row a β1 and order."""
    gradients = [float(n)] + [-1.0] * (n - 1)
    for order in ("reshuffled", "iid"):
        found = threshold(BETA1, gradients, order, steps, seeds, seed=seed)
        for b, beta2, error, first in zip(BETA1, *found, expansion(n, order), strict=True):
            yield n, order, *map(float, (b, beta2, error, first)), steps, seeds, seed
    exact = cyclic_threshold(BETA1, n)
    for b, beta2, first in zip(BETA1, exact, expansion(n, "cyclic"), strict=True):
        error = math.nan if beta2.isnan() else 0.0
        yield n, "cyclic", b.item(), beta2.item(), error, first.item(), 0, 0, 0


def main():
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", nargs="+", type=int, choices=STEPS, default=list(STEPS))
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--csv", type=Path, default=Path(__file__).parent / "results/thresholds.csv"
    )
    arguments = parser.parse_args()
    names = ["n", "order", "beta1", "beta2", "standard_error", "expansion"]
    names += ["steps", "seeds", "seed"]
    parts = []
    for n in arguments.n:
        part = pd.DataFrame(rows(n, STEPS[n], arguments.seeds, arguments.seed), columns=names)
        print(part.to_string(index=False, float_format="%.5f"), flush=True)
        parts.append(part)
    frame = pd.concat(parts).assign(**provenance())
    arguments.csv.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(arguments.csv, index=False, float_format="%.6f")
    print(f"saved to {arguments.csv}")


if __name__ == "__main__":
    main()
