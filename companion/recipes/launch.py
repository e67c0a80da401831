"""Train a recipe, at any scale, in one process or many; stop and go on.

One run, of one optimizer and seed:

  python -m companion.recipes gpt --scale full --optimizer ADOPT --lr 6e-4

The same on the two GPUs of a machine; each process takes its part of every batch:

  torchrun --nproc-per-node 2 -m companion.recipes gpt --scale full --optimizer ADOPT --lr 6e-4

Without --optimizer, all runs of the comparison, --jobs side by side; each is kept as it ends.

A run has a folder of its own: settings, history (CSV), the newest checkpoint. Ctrl-C, or SIGTERM
from a scheduler, ends the step and writes the checkpoint; the same command with --resume goes on,
also with another number of processes.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import pandas as pd
import torch

from companion import optim, recipes
from companion.arguments import one_of
from companion.files import replacing
from companion.recipes import engine
from companion.recipes.keeping import INTERRUPTED, Keeper
from companion.recipes.loop import Run
from companion.recipes.processes import Alone, started
from companion.train import identity

SCALES = ("smoke", "quick", "stored", "full")


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    top = argparse.ArgumentParser(
        prog="python -m companion.recipes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument(
        "name", choices=recipes.MODULES, metavar="NAME", help=", ".join(recipes.MODULES)
    )
    add = top.add_argument
    add("--scale", choices=SCALES, default="quick", help="size of the experiment (quick)")
    add("--optimizer", help="train one: ADOPT, Adam, … (default: the whole comparison)")
    add("--lr", type=float, help="its step size (default: the recipe's, where it has one)")
    add("--seed", type=int, default=0, help="seed of that run (0)")
    add("--cell", action="append", default=[], metavar="KEY=VALUE", help="what else tells runs of "
        "this recipe apart; may be repeated")  # fmt: skip
    add("--steps", type=int, help="stop after so many; the schedule stays that of the whole run")
    add("--resume", action="store_true", help="go on from the checkpoint in the folder")
    add("--out", type=Path, help="folder of the run (runs/NAME-SCALE-…)")
    add("--save-minutes", type=float, default=10.0, help="time between checkpoints (10)")
    add("--device", help="cpu, cuda, … (a GPU where there is one)")
    add("--precision", choices=("float32", "bfloat16"), help="of the arithmetic (the recipe's); "
        "parameters and the optimizer's state are float32")  # fmt: skip
    add("--jobs", type=int, default=1, help="runs side by side, without --optimizer (1)")
    add("--data", type=Path, help="folder of the data sets (the cache)")
    return top


def main(arguments=None) -> int:
    """Run the command; return the exit status."""
    a = parser().parse_args(arguments)
    if a.data:
        os.environ["COMPANION_DATA"] = str(a.data)
    try:
        experiment = recipes.experiment(a.name, a.scale)
        if a.optimizer is None:
            return comparison(experiment, a)
        cell = cell_of(experiment, a)
        if not hasattr(experiment, "task"):
            return single(experiment, cell, a)
        with started(a.device) as (processes, device):
            return one(experiment, cell, a, processes, device)
    except (FileNotFoundError, FileExistsError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def cell_of(experiment, a) -> dict:
    """Return the cell that the command line names.

    Raises
    ------
    ValueError
        Where no run is that optimizer's alone, nobody knows it, there is no one step size to take,
        or a key has no value.
    """
    cells = experiment.plan(pd.DataFrame())
    if not any("optimizer" in cell for cell in cells):
        raise ValueError(f"--optimizer: a run of {a.name} trains all of them; leave it out")
    variants = getattr(experiment, "choices", ())  # some of which are planned after others only
    known = {*optim.__all__, *variants, *(c["optimizer"] for c in cells)}
    one_of("--optimizer", a.optimizer, sorted(known))
    lr = a.lr
    if lr is None:
        lrs = experiment.settings.get("lrs", ())
        lrs = lrs.get(a.optimizer, ()) if isinstance(lrs, dict) else lrs
        if len(lrs) != 1:
            grid = f": the recipe's grid is {', '.join(map(str, lrs))}" if lrs else ""
            raise ValueError(f"--lr is needed{grid}")
        lr = lrs[0]
    cell = {"phase": "report", "optimizer": a.optimizer, "lr": lr, "seed": a.seed}
    for pair in a.cell:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--cell {pair}: expected KEY=VALUE")
        cell[key] = plain(value)
    return cell


def plain(text: str):
    """Return a number, True, False or None where a text says so.

    Examples
    --------
    >>> [plain(text) for text in ("3", "1e-3", "None", "rows")]
    [3, 0.001, None, 'rows']
    """
    words = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def folder_of(a, cell: dict) -> Path:
    """Return the folder of a run, which its cell names unless the command line does."""
    if a.out:
        return a.out
    values = (f"{v:g}" if isinstance(v, float) else str(v) for k, v in cell.items() if k != "phase")
    return Path("runs", "-".join([a.name, a.scale, *values]))


def show(title: str, values: dict) -> None:
    """Print settings, one a line."""
    print(title, *(f"  {key:<16} {value}" for key, value in values.items()), sep="\n", flush=True)


# -- all runs, or one that has no task -------------------------------------------------------------


def comparison(experiment, a) -> int:
    """Run all cells of an experiment that are not there yet."""
    refuse_many("--optimizer is needed: processes together train one run")
    folder = a.out or Path("runs", f"{a.name}-{a.scale}")
    folder.mkdir(parents=True, exist_ok=True)
    store = engine.Store(folder / "runs.csv", experiment.settings)
    show(f"{a.name}, {a.scale}: {folder / 'runs.csv'}", experiment.settings)
    table = engine.run(experiment, store, jobs=a.jobs)
    todo = [cell for cell in experiment.plan(table) if not store.has(cell)]
    if len(table):
        keys = [k for k in store.runs[0]["cell"] if k != "seed"]
        print(table.groupby(keys, sort=False).last().drop(columns="seed").to_string())
    print(f"{len(store.runs)} runs finished" + (f", {len(todo)} to go" if todo else ""))
    return INTERRUPTED if todo else 0


def single(experiment, cell, a) -> int:
    """Train a recipe without a task: in this process, to the end."""
    refuse_many(f"{a.name} trains in one process")
    for name in ("steps", "precision"):
        if getattr(a, name) is not None:
            raise ValueError(f"--{name}: {a.name} has no task that it could change")
    folder = folder_of(a, cell)
    show(f"{a.name}, {a.scale}: {folder}", cell | experiment.settings)
    path = folder / "history.csv"
    if path.exists():
        if not a.resume:
            raise FileExistsError(f"{path} is there: pass another --out")
        print("finished before")
        return 0
    history = experiment.train(cell)
    with replacing(path, "w") as file:
        history.to_csv(file, index=False)
    print(history.tail(1).to_string(index=False))
    return 0


def refuse_many(reason: str) -> None:
    """Raise ``ValueError`` under torchrun with more than one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(f"{reason}; start it without torchrun")


# -- one run of a task -----------------------------------------------------------------------------


def one(experiment, cell, a, processes: Alone, device) -> int:
    """Train one task in these processes; return the exit status."""
    from companion.recipes import saving  # a second to import

    folder, first = folder_of(a, cell), processes.rank == 0
    found = saving.latest(folder)
    processes.wait()  # nobody writes before all have looked
    if found and not a.resume:
        raise FileExistsError(f"{folder} holds a run: pass --resume to go on, or another --out")
    task = experiment.task(cell)
    if a.precision:
        task.precision = a.precision
    if a.steps is not None:
        task.steps = a.steps
    if not hasattr(task.batches, "state_dict"):
        raise ValueError(f"{a.name}: its batches have no state_dict, so a run could not go on")
    shapes = {name: tuple(p.shape) for name, p in task.model.named_parameters()}
    run = Run(task, device, processes)
    same = {
        "recipe": f"{a.name}, {a.scale}",
        "settings": identity.describe(experiment.settings),
        "cell": cell,
        "precision": task.precision,
        "accumulate": task.accumulate,
        "clip_norm": task.clip_norm,
        "shapes": shapes,
        "options": identity.options(run.optimizer, run.scheduler),
    }
    if found:
        saving.load(run, found, same)
    if first:
        count = sum(p.numel() for p in task.model.parameters())
        where = {"parameters": f"{count:,}", "precision": task.precision, "device": device}
        where |= {"processes": processes.size, "divided": processes.sharded, "from step": run.step}
        show(f"{a.name}, {a.scale}: {folder}", cell | experiment.settings | where)
        with replacing(folder / "settings.json", "w") as file:
            about = {"recipe": a.name, "scale": a.scale, "cell": cell, "torch": torch.__version__}
            about |= {"settings": experiment.settings} | {k: str(v) for k, v in where.items()}
            json.dump(about, file, indent=1)
    keeper = Keeper(run, folder, lambda: saving.save(run, folder, same), 60 * a.save_minutes)
    return keeper.train()
