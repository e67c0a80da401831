"""Train a multilayer perceptron on MNIST with several optimizers, each at its own tuned step size.

The step size of an optimizer is chosen on images that are neither trained nor tested on: the last
10,000 of the training set. Each value of its grid is trained once, for as long as the final runs,
on the other 50,000 images and from a seed that no final run has; the highest validation accuracy
wins, and among equal ones the lowest validation loss. Then every seed trains on all 60,000 images,
and the 10,000 test images are looked at once, at the end of each run.

Every run writes checkpoints: after an interruption the same command goes on where it stopped.
"""

import argparse
import os
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from benchmarks.provenance import provenance
from companion.data import Dataset, mnist
from companion.models import MLP
from companion.optim import ADOPT, SGD, Adam, AdamW, AMSGrad, RMSprop
from companion.train import evaluate, fit
from companion.train.devices import choose_device

HALF_DECADES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
OPTIMIZERS = {  # label: optimizer and the grid of its step size
    "SGD": (partial(SGD, momentum=0.9), HALF_DECADES[2:]),
    "RMSprop": (RMSprop, HALF_DECADES[:5]),
    "Adam": (Adam, HALF_DECADES[:5]),
    "AdamW": (AdamW, HALF_DECADES[:5]),
    "AMSGrad": (AMSGrad, HALF_DECADES[:5]),
    "ADOPT": (ADOPT, HALF_DECADES[:5]),
}
VALIDATION = 10_000  # images
TUNING_SEED = 1_000


def train(options, label, lr, seed, data, test, phase):
    """Train one network from its seed, and return a row of results."""
    torch.manual_seed(seed)
    model = MLP([784, *options.width, 10])
    name = f"{phase}-{label}-lr{lr:g}-seed{seed}"
    steps = options.epochs * -(-len(data.x) // options.batch_size)
    row = {"phase": phase, "optimizer": label, "lr": lr, "seed": seed}
    try:
        history = fit(
            model,
            data,
            lambda params: OPTIMIZERS[label][0](params, lr=lr),
            steps=steps,
            batch_size=options.batch_size,
            seed=seed,
            every=steps // options.epochs,  # train_loss is the mean over the last epoch
            checkpoint=options.out / "checkpoints" / f"{name}.pt",
            checkpoint_every=500,
            device=options.device,
        )
    except FloatingPointError:  # this step size diverges: an answer too
        return {**row, "accuracy": 0.0, "loss": float("inf"), "train_loss": float("inf")}
    if history.empty or history.step.iloc[-1] < steps:
        raise KeyboardInterrupt
    last = history.iloc[-1]
    device = next(model.parameters()).device
    held_out = evaluate(model, Dataset(test.x.to(device), test.y.to(device)))
    print(f"{name}: accuracy {held_out['accuracy']:.4f}, {last.seconds:.1f} s", flush=True)
    return {**row, **held_out, "train_loss": last.loss, "seconds": last.seconds}


def tune(options, label, data):
    """Return the rows of the grid, and the step size that its validation images choose."""
    part = Dataset(data.x[:-VALIDATION], data.y[:-VALIDATION])
    validation = Dataset(data.x[-VALIDATION:], data.y[-VALIDATION:])
    grid = OPTIMIZERS[label][1]
    rows = [train(options, label, lr, TUNING_SEED, part, validation, "validation") for lr in grid]
    best = max(rows, key=lambda row: (row["accuracy"], -row["loss"]))["lr"]
    if best in (grid[0], grid[-1]):
        print(f"{label}: the best step size, {best:g}, stands at the edge of its grid")
    return rows, best


def table(frame):
    """Return mean and standard deviation over the seeds of the final runs."""
    runs = frame[frame.phase == "test"].groupby(["optimizer", "lr"], sort=False)
    table = runs.agg(
        seeds=("seed", "count"),
        accuracy=("accuracy", "mean"),
        spread=("accuracy", "std"),
        loss=("loss", "mean"),
        loss_spread=("loss", "std"),
        train_loss=("train_loss", "mean"),
        seconds=("seconds", "mean"),
    )
    return table.reset_index()


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, help="folder that has mnist/ with the four files (default: the cache)"
    )
    parser.add_argument(
        "--optimizers", nargs="+", choices=OPTIMIZERS, default=["SGD", "Adam"], help="SGD has μ=0.9"
    )
    parser.add_argument("--seeds", type=int, default=3, help="final runs an optimizer (3)")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the images (5)")
    parser.add_argument("--batch-size", type=int, default=128, help="images a step (128)")
    parser.add_argument(
        "--width", type=int, nargs="*", default=[256], help="hidden layers, 784-…-10 (256)"
    )
    parser.add_argument("--device", help="cpu, cuda, … (default: the first GPU, else the CPU)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/mnist"), help="CSV and checkpoints (runs/mnist)"
    )
    return parser.parse_args()


def main():
    options = arguments()
    # What makes a run another run names the folder of its checkpoints.
    shape = "-".join(map(str, options.width))
    options.out /= f"width{shape}-batch{options.batch_size}-epochs{options.epochs}"
    if options.data:
        os.environ["COMPANION_DATA"] = str(options.data)
    data, test = (mnist(split, flatten=True, normalize=True) for split in ("train", "test"))
    rows = []
    try:
        for label in options.optimizers:
            tuned, lr = tune(options, label, data)
            rows += tuned
            for seed in range(options.seeds):
                rows.append(train(options, label, lr, seed, data, test, "test"))
    except KeyboardInterrupt:
        return print("stopped; the same command goes on from here")
    frame = pd.DataFrame(rows).assign(**provenance(choose_device(options.device)))
    options.out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(options.out / "mnist.csv", index=False)
    print(table(frame).to_string(index=False, float_format="{:.5g}".format))
    print(f"every run: {options.out / 'mnist.csv'}")


if __name__ == "__main__":
    main()
