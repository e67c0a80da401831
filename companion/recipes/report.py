"""What the runs of a recipe say: final values with intervals, and differences paired by seed."""

from pathlib import Path

import numpy as np
import pandas as pd

from companion import results
from companion.evidence import Interval, interval, paired, verdict
from companion.recipes import engine, tuning


def stored(experiment) -> engine.Store:
    """Return the stored runs of an experiment, from the package.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    path = Path(results.__file__).parent / f"{experiment.name}.csv"
    if not path.exists():
        raise FileNotFoundError(f"there are no stored runs of {experiment.name}: {path}")
    return engine.Store(path, experiment.settings)


def seeds(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the final value of each reported run: a row a seed, a column an optimizer."""
    last = tuning.final(table)
    order = list(dict.fromkeys(last.optimizer))
    return last.pivot(index="seed", columns="optimizer", values=column)[order]


def summary(table: pd.DataFrame, column: str, reference: str = "Adam") -> pd.DataFrame:
    """Return a row an optimizer: step size, seeds, mean with interval, difference to the reference.

    Where there is no difference, since a run diverged or this is the reference, its columns are "".

    Parameters
    ----------
    table : DataFrame
        Of `engine.run`; runs of phase "report" count.
    column : str
        What to compare, at the end of the runs.
    reference : str
        The optimizer from which differences are taken, paired over seeds.

    Examples
    --------
    >>> runs = pd.DataFrame({"phase": "report", "optimizer": ["Adam", "ADOPT"] * 2, "lr": 0.1,
    ...                      "seed": [0, 0, 1, 1], "loss": [1.0, 2.0, 2.0, 3.1]})
    >>> [str(value) for value in summary(runs, "loss").iloc[1]]
    ['ADOPT', '0.1', '2', '2.55 [-4.44, 9.54]', '1.05 [0.415, 1.69]', 'higher']
    """
    last, values = tuning.final(table).set_index("optimizer"), seeds(table, column)
    rows = []
    for name in values:
        rates = sorted(set(last.loc[[name]].lr))
        row = {"optimizer": name, "lr": rates[0] if len(rates) == 1 else ", ".join(map(str, rates))}
        row |= {"seeds": len(values), column: written(values[name])}
        row |= {f"− {reference}": "", "verdict": ""}
        both = name != reference and reference in values
        if both and finite(values[name]) and finite(values[reference]):
            found = paired(values[name], values[reference])
            row |= {f"− {reference}": text(found), "verdict": verdict(found)}
        rows.append(row)
    return pd.DataFrame(rows)


def written(values) -> str:
    """Return the mean of values over seeds with its 95 % interval, or that some diverged."""
    return text(interval(values)) if finite(values) else "diverged"


def finite(values) -> bool:
    """Return whether no run has diverged."""
    return bool(np.isfinite(values).all())


def text(found: Interval) -> str:
    """Return an interval in words: mean [low, high], with three digits or all before the point.

    Examples
    --------
    >>> text(Interval(1150.3, -332.12, 2633))
    '1150 [-332, 2633]'
    >>> text(Interval(999.7, 0.01234, 1e5))
    '1000 [0.0123, 100000]'
    """
    return "{} [{}, {}]".format(*(f"{x:.3g}" if abs(x) < 999.5 else f"{x:.0f}" for x in found))
