"""Train small networks on MNIST over a grid of (β1, β2), batch and step sizes; save their losses.

A network 784-16-10 with ReLUs, Adam, and the step size η / √(1 + t/100) after t steps. The chapter
"Phase diagrams of networks" draws its MNIST figures from the table. These settings are our own. A
seed fixes the initial parameters and the order of the images, for all cells alike. The images come
from the package's cache, see `companion.data`. About twelve minutes on one core:
``python -m benchmarks.phase_networks``.
"""

import argparse
import os
from pathlib import Path

import pandas as pd
import torch

from benchmarks.provenance import provenance
from companion.data import Dataset, mnist
from companion.models import MLP
from companion.optim import Adam
from companion.train import sweep

BETA1 = [0.0, 0.5, 0.8, 0.9, 0.95, 0.99]
BETA2 = [0.0, 0.5, 0.8, 0.9, 0.97, 0.99, 0.999]
STEP_SIZES = [1e-3, 3e-3, 1e-2]
BATCHES = [8, 32, 128]
MEASURED = 2_000  # training images, the first, on which the loss is measured
TABLE = Path(__file__).parent.parent / "companion/results/phase_networks.csv"


def schedule(t):
    """Return the factor on the step size after t steps."""
    return (1 + t / 100) ** -0.5


def train(data, batch_size, steps, seeds):
    """Train all cells at one batch size; return a row a network.

    ``loss`` is that of the first `MEASURED` training images at the end, ``running`` the mean loss
    of the batches of the last tenth, ``peak`` the highest such mean of a tenth but the first.
    """
    first = Dataset(data.x[:MEASURED], data.y[:MEASURED])
    runs = sweep(
        lambda: MLP([784, 16, 10]),
        data,
        Adam,
        {"lr": STEP_SIZES, "beta1": BETA1, "beta2": BETA2},
        seeds=seeds,
        steps=steps,
        batch_size=batch_size,
        every=steps // 10,
        test=first,
        schedule=schedule,
        device="cpu",
        chunk=len(BETA1) * len(BETA2) * seeds,
    )
    keys = ["lr", "beta1", "beta2", "seed"]
    final = runs[runs.step == steps].set_index(keys)
    later = runs[runs.step > steps // 10].fillna({"loss": float("inf")})
    frame = pd.DataFrame({"loss": final.test_loss, "accuracy": final.test_accuracy})
    frame["running"], frame["peak"] = final.loss, later.groupby(keys).loss.max()
    return frame.reset_index()


def main():
    """Train, report, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder that holds mnist/ (default: the cache)")
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path, default=TABLE)
    arguments = parser.parse_args()
    if arguments.data:
        os.environ["COMPANION_DATA"] = str(arguments.data)
    torch.set_num_threads(1)
    data = mnist(flatten=True)
    parts = []
    for batch_size in BATCHES:
        part = train(data, batch_size, arguments.steps, arguments.seeds)
        parts.append(part.assign(batch_size=batch_size))
        median = part.groupby(["lr", "beta1", "beta2"]).loss.median()
        best = median.groupby(["beta2", "beta1"]).min().unstack()
        print(f"batch of {batch_size}: final loss, best step size\n{best.round(3)}", flush=True)
    frame = pd.concat(parts)
    numbers = frame.columns.drop(["seed", "batch_size"])
    frame[numbers] = frame[numbers].map("{:.5g}".format)
    frame = frame.assign(
        steps=arguments.steps,
        **provenance("cpu"),
    )
    arguments.csv.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(arguments.csv, index=False)
    print(f"saved to {arguments.csv}")


if __name__ == "__main__":
    main()
