"""Measure the Hessian along the runs of ``benchmarks.networks``, at the tuned learning rates.

Each optimizer trains once more, from the first of the final seeds. At the start, at some steps and
at the end, the Hessian of the training loss on one fixed batch gives ‖H‖₂, the (1,1)-norm with an
interval, and the bracket of Λ: in the native coordinates and in those of the rotation that rotated
Adam sees. Every point is written when it is done: the same command goes on where it stopped.
About a quarter of an hour on one core.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from benchmarks.networks import SEEDS, TASKS, build, train
from benchmarks.provenance import append, provenance
from companion import results
from companion.hessian import Hessian, norm11, smoothness_bracket, spectral_norm
from companion.hessian.base import LinearOperator
from companion.rotation import Rotation, chain
from companion.train import cross_entropy

PATH = Path(results.__file__).parent / "network-norms.csv"
BATCH = {"gpt": 16, "resnet": 32}  # windows of 64 characters; images
STOPS = {"gpt": (0.1, 0.5, 1.0), "resnet": (0.5, 1.0)}  # fractions of the run, after its start
RTOL, RANK, PRODUCTS, TOLERANCE = 0.07, 3, 96, 0.01


class Rotated(LinearOperator):
    """The Hessian RᵀHR of the rotated loss, from that of the native one."""

    def __init__(self, op: LinearOperator, rotation: Rotation):
        super().__init__(op.d, op.dtype, op.device)
        self.op, self.rotation = op, rotation

    def matmat(self, V):
        return self.rotation.T((self.op @ self.rotation(V.T).T).T).T


def stops(name: str) -> list[int]:
    """Return the steps, after the first, at which a run is measured."""
    return [round(fraction * TASKS[name].steps) for fraction in STOPS[name]]


def checkpoints(name: str, data, label: str, lr: float, seed: int) -> dict:
    """Train once; return the native parameters before the first step and at the stops."""
    model, steps = build(TASKS[name], label, seed), stops(name)

    def native():
        params = model.native() if hasattr(model, "native") else dict(model.named_parameters())
        return {key: p.detach().clone() for key, p in params.items()}

    found = {0: native()}

    def keep(step):
        if step in steps:
            found[step] = native()

    if train(name, data, label, lr, seed, keep, model) is None:
        raise FloatingPointError(f"{label} diverged on {name} at lr={lr:g}")
    return found


def measure(op: LinearOperator, rotation: Rotation):
    """Yield coordinates, quantity, value, lower, upper and products; the norms are per d."""
    top = spectral_norm(op, TOLERANCE, progress=False)
    yield "both", "spectral", top.value, top.value, top.value + top.error, top.products
    for coordinates, H in (("native", op), ("rotated", Rotated(op, rotation))):
        sums = norm11(H, rtol=RTOL)
        value, error = sums.value / op.d, 1.96 * sums.stderr / op.d
        yield coordinates, "norm11", value, value - error, value + error, sums.products
        low, high, products, _ = smoothness_bracket(H, rank=RANK, products=PRODUCTS)
        yield coordinates, "bracket", low / op.d, low / op.d, high / op.d, products


def measured_points() -> set:
    """Return what is on disk: task, optimizer and step."""
    if not PATH.exists():
        return set()
    frame = pd.read_csv(PATH)
    return set(zip(frame.task, frame.optimizer, frame.step, strict=True))


def main():
    """Measure what is missing, and print each point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.task:
        task, seed = TASKS[name], SEEDS[0]
        data = task.data()
        order = torch.randperm(len(data.x), generator=torch.Generator().manual_seed(0))
        batch = tuple(z[order[: BATCH[name]]] for z in data)
        model = build(task, "SGD", seed).eval()
        rotation = chain(sum(p.numel() for p in model.parameters()), seed=seed)
        runs = results.load(f"networks-{name}")
        tuned = runs[runs.phase == "final"].groupby("optimizer", sort=False).lr.first()
        for label in [o for o in ("SGD", "AdaSGD", "Adam", "rotated Adam") if o in tuned]:
            if {(name, label, step) for step in stops(name)} <= measured_points():
                continue
            for step, params in checkpoints(name, data, label, tuned[label], seed).items():
                who = label if step else "all"  # the start is the same network for all
                if (name, who, step) in measured_points():
                    continue
                model.load_state_dict(params)
                op = Hessian(model, cross_entropy, batch)
                base = {"task": name, "optimizer": who, "lr": tuned[label] if step else "",
                        "seed": seed, "step": step, "loss": round(op.loss().item(), 5)}  # fmt: skip
                columns = ("coordinates", "quantity", "value", "lower", "upper", "products")
                found = pd.DataFrame(
                    {**base, **dict(zip(columns, line, strict=True)), **provenance()}
                    for line in measure(op, rotation)
                )
                for column in columns[2:5]:
                    found[column] = [float(f"{float(v):.5g}") for v in found[column]]
                append(PATH, found)
                print(name, who, step, *found.value, *found.upper, flush=True)


if __name__ == "__main__":
    main()
