"""Train a small GPT and a small ResNet-18 by optimizers that do and do not see coordinates.

Each optimizer meets the same grid of learning rates with seed 0; the final seeds then train at the
one with the lowest last training loss. Adam runs in the native coordinates and in those of one
random rotation of all parameters a seed. Every finished run is a row on disk: after an interruption
the same command goes on where it stopped. Hours on one core; --task and --optimizer do a part.
"""

import argparse
import math
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.provenance import append, provenance
from companion.data import Dataset, cifar10, text
from companion.models import GPT, GPTConfig, resnet18
from companion.optim import SGD, Adam, AdaSGD, BlockwiseAdam
from companion.optim.blocks import AdamMini
from companion.rotation import chain, rotate
from companion.train import fit

RESULTS = Path(__file__).resolve().parent.parent / "companion/results"
SEEDS = (1, 2, 3, 4, 5, 6)
BETAS = (0.9, 0.99)


class Task(NamedTuple):
    """What is trained, and how long."""

    data: object
    model: object
    steps: int
    batch: int
    clip: float | None
    optimizers: tuple[str, ...]


def shakespeare() -> Dataset:
    """Return windows of 64 characters of the text, without overlap."""
    return text("tiny_shakespeare").windows(64, "train")


def images() -> Dataset:
    """Return the first 20,000 images of CIFAR-10, (n, 3, 32, 32), standardised."""
    data = cifar10("train", normalize=True)
    return Dataset(data.x[:20_000].clone(), data.y[:20_000].clone())


FOUR = ("SGD", "AdaSGD", "Adam", "rotated Adam")
HEADS = 4
TASKS = {
    "gpt": Task(
        shakespeare,
        partial(GPT, GPTConfig(vocab=65, block=64, layers=2, heads=HEADS, width=64)),
        steps=500,
        batch=16,
        clip=1.0,
        optimizers=(*FOUR, "Adalayer", "Adam-mini", "rows"),
    ),
    "resnet": Task(
        images, partial(resnet18, width=8), steps=400, batch=32, clip=None, optimizers=FOUR
    ),
}
ADAPTIVE_GRID = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
OPTIMIZERS = {  # label: optimizer of parameters and lr, whether rotated, and its grid
    "SGD": (partial(SGD, momentum=0.9), False, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
    "AdaSGD": (partial(AdaSGD, betas=BETAS), False, ADAPTIVE_GRID),
    "Adam": (partial(Adam, betas=BETAS), False, ADAPTIVE_GRID),
    "rotated Adam": (partial(Adam, betas=BETAS), True, (1e-4, *ADAPTIVE_GRID)),
    "Adalayer": (partial(BlockwiseAdam, betas=BETAS), False, ADAPTIVE_GRID),
    "Adam-mini": (
        partial(BlockwiseAdam, betas=BETAS, partition=AdamMini(HEADS)), False, ADAPTIVE_GRID,
    ),
    "rows": (partial(BlockwiseAdam, betas=BETAS, partition="rows"), False, ADAPTIVE_GRID),
}  # fmt: skip


def schedule(optimizer, steps, warmup=0.1, last=0.1):
    """Return a linear warm-up over a tenth of the steps, then a cosine down to a tenth."""

    def factor(t):
        if t < warmup * steps:
            return (t + 1) / (warmup * steps)
        done = (t - warmup * steps) / (steps * (1 - warmup))
        return last + (1 - last) * (1 + math.cos(math.pi * done)) / 2

    return LambdaLR(optimizer, factor)


def build(task: Task, label: str, seed: int):
    """Return the model of a seed, in the coordinates that the optimizer is to see."""
    torch.manual_seed(seed)
    model = task.model()
    if OPTIMIZERS[label][1]:
        d = sum(p.numel() for p in model.parameters())
        model = rotate(model, chain(d, seed=seed))
    return model


def train(name: str, data, label: str, lr: float, seed: int, callback=None, model=None):
    """Train once; return the history, or None where the loss ceased to be finite."""
    task = TASKS[name]
    model = model or build(task, label, seed)
    try:
        return fit(
            model,
            data,
            OPTIMIZERS[label][0](model.named_parameters(), lr=lr),
            steps=task.steps,
            batch_size=task.batch,
            seed=seed,
            every=task.steps // 40,
            scheduler=partial(schedule, steps=task.steps),
            clip_norm=task.clip,
            callback=callback,
        )
    except FloatingPointError:
        return None


def rows(name, label, lr, seed, phase, history):
    """Yield the rows of one run; one with an infinite loss if it diverged."""
    base = {"task": name, "optimizer": label, "lr": lr, "seed": seed, "phase": phase}
    if history is None:
        yield {**base, "step": TASKS[name].steps, "loss": math.inf, **provenance()}
        return
    for step, loss in zip(history.step, history.loss, strict=True):
        yield {**base, "step": step, "loss": round(loss, 5), **provenance()}


def final(frame: pd.DataFrame) -> pd.Series:
    """Return the mean loss over the last tenth of the steps, one a run."""
    last = frame[frame.step > 0.9 * frame.groupby("task").step.transform("max")]
    return last.groupby(["task", "optimizer", "lr", "seed", "phase"]).loss.mean()


def main():
    """Run what is missing, and print the table of final losses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--optimizer", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in arguments.task:
        path = RESULTS / f"networks-{name}.csv"
        data = TASKS[name].data()
        for label in [o for o in TASKS[name].optimizers if o in arguments.optimizer]:

            def run(lr, seed, phase, name=name, label=label, path=path, data=data):
                have = pd.read_csv(path) if path.exists() else pd.DataFrame()
                if len(have):
                    same = (have.optimizer == label) & (have.lr == lr) & (have.seed == seed)
                    if (same & (have.phase == phase)).any():
                        return
                history = train(name, data, label, lr, seed)
                new = pd.DataFrame(rows(name, label, lr, seed, phase, history))
                append(path, new)
                print(name, label, lr, seed, phase, new.loss.iloc[-1], flush=True)

            for lr in OPTIMIZERS[label][2]:
                run(lr, 0, "tuning")
            tuned = final(pd.read_csv(path)).xs((label, "tuning"), level=("optimizer", "phase"))
            for seed in SEEDS:
                run(tuned.idxmin()[1], seed, "final")
        ends = final(pd.read_csv(path)).groupby(["optimizer", "phase", "lr"]).agg(["mean", "std"])
        print(ends.to_string())


if __name__ == "__main__":
    main()
