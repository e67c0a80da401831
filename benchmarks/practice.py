"""Make the stored results of the part "In practice": one table an experiment.

Every run is kept when it has finished: after an interruption, or for more seeds, the same command
goes on. ``python -m benchmarks.practice mnist --jobs 2``.
"""

import argparse
import os
from pathlib import Path

from benchmarks.provenance import provenance
from companion import recipes
from companion.recipes import engine

FOLDER = Path(__file__).parent.parent / "companion" / "results"


def main():
    """Run an experiment at the stored scale."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=recipes.MODULES)
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: the cache)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (1)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the table")
    arguments = parser.parse_args()
    if arguments.data:
        os.environ["COMPANION_DATA"] = str(arguments.data)
    experiment = recipes.experiment(arguments.name, "stored")
    experiment.folder = arguments.out  # for those that leave more than numbers
    store = engine.Store(arguments.out / f"{experiment.name}.csv", experiment.settings)
    table = engine.run(experiment, store, jobs=arguments.jobs, stamp=provenance())
    print(table.groupby(["phase", "optimizer", "lr"]).last().to_string())


if __name__ == "__main__":
    main()
