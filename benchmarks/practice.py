"""Make the stored results of the part "In practice": one table an experiment.

Every run is kept when it has finished: after an interruption, or for more seeds, the same command
goes on. ``python -m benchmarks.practice mnist --jobs 2``.
"""

import argparse
import importlib
import os
from pathlib import Path

from benchmarks.provenance import provenance
from companion.recipes import engine

NAMES = ("mnist",)
FOLDER = Path(__file__).parent.parent / "companion" / "results"


def main():
    """Run an experiment at the stored scale."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: the cache)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (1)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the table")
    arguments = parser.parse_args()
    if arguments.data:
        os.environ["COMPANION_DATA"] = str(arguments.data)
    recipe = importlib.import_module(f"companion.recipes.{arguments.name}")
    experiment = recipe.Experiment(recipe.STORED)
    store = engine.Store(arguments.out / f"{experiment.name}.csv", experiment.settings)
    table = engine.run(experiment, store, jobs=arguments.jobs, stamp=provenance())
    print(table.groupby(["phase", "optimizer", "lr"]).last().to_string())


if __name__ == "__main__":
    main()
