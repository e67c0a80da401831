"""Make the stored results of the part "In practice": one table an experiment.

Every run is kept when it has finished: after an interruption, or for more seeds, the same command
goes on. ``python -m benchmarks.practice mnist --jobs 2``, or ``--on ray`` for a cluster.

With --shard i/n each of n jobs does its share of the runs, into a table of its own. Step sizes are
chosen before anything is reported, and a choice needs the runs of all jobs: so there are two
phases, with a merge after each. Reported runs begin in the second, once all of the grid is merged:

    array="sbatch --array=0-7 --wait --wrap"
    job='python -m benchmarks.practice mnist --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT'
    $array "$job"; python -m benchmarks.practice mnist --merge   # the grid: step sizes are chosen
    $array "$job"; python -m benchmarks.practice mnist --merge   # the reported runs

Each command can be given again at any time: what has finished is not run twice.
"""

import argparse
import os
from functools import partial
from pathlib import Path

from benchmarks import spread
from benchmarks.provenance import provenance
from companion import recipes
from companion.recipes import engine

FOLDER = Path(__file__).parent.parent / "companion" / "results"


def on_ray(experiment, cells, *, stop, **options):
    """Yield cell, history and seconds of each cell from workers of Ray."""
    for cell, result in spread.on_ray(
        partial(engine.timed, experiment), cells, stop=stop, **options
    ):
        yield cell, *result


def missing(experiment, store) -> list[dict]:
    """Return what is planned, given all that is known, and is not there."""
    return [cell for cell in experiment.plan(store.known()) if not store.has(cell)]


def part(folder: Path, experiment, shard) -> Path:
    """Return the table of a shard."""
    return folder / "shards" / f"{experiment.name}.{shard[0]}-of-{shard[1]}.csv"


def merge(experiment, store, folder: Path) -> str:
    """Take over what the shards have finished; return what is left to do, in words."""
    names = f"{experiment.name}.*-of-*.csv"
    tables = sorted((folder / "shards").glob(names))
    taken = sum(store.merge(engine.Store(path, experiment.settings)) for path in tables)
    said = f"{len(tables)} tables, {taken} runs taken over: "
    left = missing(experiment, store)
    if not left:
        return said + "all that is planned is there"
    phases = ", ".join(sorted({str(cell.get("phase", "planned")) for cell in left}))
    return said + f"{len(left)} runs are left ({phases}): start the same jobs again"


def shard_run(experiment, store, folder: Path, shard, **options) -> str:
    """Do a share of the runs, into a table of its own; return what comes next, in words."""
    own = part(folder, experiment, shard)
    own.parent.mkdir(parents=True, exist_ok=True)
    mine = engine.Store(own, experiment.settings, beside=store)
    engine.run(experiment, mine, shard=shard, **options)
    words = f"shard {shard[0]} of {shard[1]}: {len(mine.runs)} runs in {own}"
    if left := missing(experiment, mine)[:1]:
        words += f"; others are out (such as {left[0]}): merge when all shards have ended"
    return words + "; then --merge"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.practice",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=recipes.MODULES)
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: the cache)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, here (1)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the table")
    parser.add_argument("--merge", action="store_true", help="take over what shards have finished")
    spread.add_arguments(parser)
    arguments = parser.parse_args()
    if arguments.on == "ray" and (arguments.shard or arguments.jobs > 1):
        parser.error("--on ray places the runs itself: give it neither --shard nor --jobs")
    return arguments


def main():
    """Run an experiment at the stored scale."""
    arguments = parsed()
    if arguments.data:
        os.environ["COMPANION_DATA"] = str(arguments.data.resolve())
    experiment = recipes.experiment(arguments.name, "stored")
    experiment.folder = folder = arguments.out  # for those that leave more than numbers
    store = engine.Store(folder / f"{experiment.name}.csv", experiment.settings)
    options = {"jobs": arguments.jobs, "stamp": provenance()}
    if arguments.merge:
        return print(merge(experiment, store, folder))
    if arguments.shard:
        return print(shard_run(experiment, store, folder, arguments.shard, **options))
    if arguments.on == "ray":
        options["spread"] = partial(on_ray, gpus=arguments.gpus, address=arguments.address)
    table = engine.run(experiment, store, **options)
    return print(table.groupby(["phase", "optimizer", "lr"]).last().to_string())


if __name__ == "__main__":
    main()
