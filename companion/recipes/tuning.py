"""The plan of a comparison: a grid on seeds of its own, then the chosen step size on others."""

import pandas as pd

from companion.recipes import engine

CELL = ("optimizer", "lr", "seed")


def plan(table: pd.DataFrame, optimizers, lrs, tuning, seeds, best=None) -> list:
    """Return the cells to run, given the results so far.

    Parameters
    ----------
    table : DataFrame
        Rows of finished cells.
    optimizers : iterable of str
    lrs : sequence of float, or dict of them by optimizer
        The grid.
    tuning, seeds : sequences of int
        Seeds of the choice and of the report; none in common. Without seeds of the choice nothing
        is chosen, and each grid holds one step size.
    best : callable, optional
        ``table -> {optimizer: lr}``, asked once the whole grid is there.

    Raises
    ------
    ValueError
        If a seed stands in both, since a step size would be reported on what chose it; if there is
        a choice, and no seed of it.

    Examples
    --------
    >>> cells = plan(pd.DataFrame(), ["Adam"], [0.1, 0.01], [9], [0, 1], None)
    >>> [tuple(cell.values()) for cell in cells]
    [('tune', 'Adam', 0.1, 9), ('tune', 'Adam', 0.01, 9)]
    """
    if both := set(tuning) & set(seeds):
        raise ValueError(f"seeds: {sorted(both)} would choose a step size and report it")
    grids = lrs if isinstance(lrs, dict) else dict.fromkeys(optimizers, lrs)
    if not tuning and any(len(grid) != 1 for grid in grids.values()):
        raise ValueError(f"tuning: no seeds to choose a step size with, from {grids}")
    cells = [
        {"phase": "tune", "optimizer": name, "lr": lr, "seed": seed}
        for seed in tuning
        for name in optimizers
        for lr in grids[name]
    ]
    names = ["phase", *CELL]
    there = {engine.key(row) for row in table[names].to_dict("records")} if len(table) else set()
    if any(engine.key(cell) not in there for cell in cells):
        return cells
    lr = best(table) if tuning else {name: grid[0] for name, grid in grids.items()}
    return cells + [
        {"phase": "report", "optimizer": name, "lr": lr[name], "seed": seed}
        for seed in seeds
        for name in optimizers
    ]


def final(table: pd.DataFrame, phase: str = "report") -> pd.DataFrame:
    """Return the last row of each run of a phase, as it is: what it lacks, no earlier row lends.

    Examples
    --------
    >>> runs = pd.DataFrame({"phase": "report", "optimizer": "Adam", "lr": 0.1, "seed": 0,
    ...                      "step": [5, 7], "loss": [1.0, float("inf")], "error": [0.5, None]})
    >>> final(runs).error.tolist()
    [nan]
    """
    part = table[table.phase == phase]
    return part.groupby(list(CELL), sort=False).tail(1).reset_index(drop=True)


def lowest(table: pd.DataFrame, column: str) -> dict:
    """Return each optimizer's step size: of the lowest mean of a column at the end.

    A run that diverged counts as infinite. Among equal ones the smallest step size wins.

    Examples
    --------
    >>> table = pd.DataFrame({"phase": "tune", "optimizer": "Adam", "lr": [0.1, 0.01],
    ...                       "seed": 9, "step": 5, "loss": [float("nan"), 2.0]})
    >>> lowest(table, "loss")
    {'Adam': 0.01}
    """
    last = final(table.fillna({column: float("inf")}), "tune")
    means = last.groupby(["optimizer", "lr"])[column].mean().reset_index()
    best = means.sort_values([column, "lr"]).groupby("optimizer", sort=False).first()
    return best.lr.to_dict()


def edges(table: pd.DataFrame, best: dict) -> list:
    """Return the optimizers whose best step size stands at an edge of their grid."""
    ends = table[table.phase == "tune"].groupby("optimizer").lr.agg(["min", "max"])
    return [name for name, lr in best.items() if lr in tuple(ends.loc[name])]
