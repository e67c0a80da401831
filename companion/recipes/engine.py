"""Run the cells of an experiment, side by side, and keep each as soon as it has finished.

An experiment has a name, ``settings`` (plain data), ``plan(table)`` and ``train(cell)``. A cell is
a dictionary of plain values that names one training run: optimizer, step size, seed. ``plan``
returns all cells that can be run, given the results so far: where step sizes are chosen first,
the cells of the choice until they are there, and then the reported ones with them. ``train``
returns the run's history, one row a report.
"""

import json
import multiprocessing
import signal
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from companion.files import replacing
from companion.interrupt import Interrupt
from companion.progress import bar

PLANNED = ("lrs", "tuning", "seeds")  # settings that say which cells there are, not what is in one
KILLS = 3  # lost processes in a row after which a run gives up


class Store:
    """The finished cells of an experiment on disk: ``NAME.csv`` and ``NAME.json``.

    The table has the rows of all histories, each with its cell; the other file has the settings,
    and for each cell its seconds and where it was made. A cell counts once it stands in the latter,
    which is written last.

    Parameters
    ----------
    path : path or None
        Of the table; None keeps it in memory.
    settings : dict
        Of the experiment; a store of other settings is refused. Which step sizes and seeds are
        planned may change: runs are added, or left out of what is asked for later.
    beside : Store, optional
        Cells that have finished elsewhere: they count as there, and stay where they are.

    Raises
    ------
    ValueError
        If the file on disk was made with other settings.
    """

    def __init__(self, path, settings: dict, beside: "Store | None" = None):
        self.beside = beside
        kept = {name: value for name, value in settings.items() if name not in PLANNED}
        self.settings = json.loads(json.dumps(kept))
        self.runs, self.table, self.path = [], pd.DataFrame(), path and Path(path)
        if path is None:
            return
        self.about = self.path.with_suffix(".json")
        if not self.about.exists():
            return
        found = json.loads(self.about.read_text(encoding="utf-8"))
        if found["settings"] != self.settings:
            differ = [k for k in kept if found["settings"].get(k) != self.settings[k]]
            raise ValueError(f"{self.path} was made with other settings: {', '.join(differ)}")
        self.runs = found["runs"]
        table = pd.read_csv(self.path)
        done = {key(run["cell"]) for run in self.runs}
        names = list(self.runs[0]["cell"]) if self.runs else []
        kept = [key(row) in done for row in table[names].to_dict("records")]
        self.table = table[kept]

    def has(self, cell: dict) -> bool:
        """Return whether this cell has finished."""
        mine = key(cell) in {key(run["cell"]) for run in self.runs}
        return mine or (self.beside is not None and self.beside.has(cell))

    def known(self) -> pd.DataFrame:
        """Return the rows of all cells that count as there."""
        if self.beside is None or not len(self.beside.table):
            return self.table
        return pd.concat([self.beside.table, self.table]) if len(self.table) else self.beside.table

    def add(self, cell: dict, history: pd.DataFrame, seconds: float, stamp: dict) -> None:
        """Keep the history of a cell: all of it or, after a crash, nothing."""
        rows = history.assign(**cell)[[*cell, *history.columns]]
        self._keep({"cell": cell, "seconds": round(seconds, 1), **stamp}, rows)

    def merge(self, other: "Store") -> int:
        """Take over what another store has and this one has not; return how many cells that are."""
        names = list(other.runs[0]["cell"]) if other.runs else []
        rows = [key(row) for row in other.table[names].to_dict("records")] if names else []
        missing = [run for run in other.runs if not self.has(run["cell"])]
        for run in missing:
            mine = key(run["cell"])
            self._keep(run, other.table[[row == mine for row in rows]])
        return len(missing)

    def _keep(self, run: dict, rows: pd.DataFrame) -> None:
        self.table = pd.concat([self.table, rows]) if len(self.table) else rows
        self.runs.append(run)
        if self.path is None:
            return
        with replacing(self.path, "w") as file:
            self.table.to_csv(file, index=False, float_format="%.6g")
        with replacing(self.about, "w") as file:
            json.dump({"settings": self.settings, "runs": self.runs}, file, indent=1)
            file.write("\n")


def key(cell: dict) -> tuple:
    """Return what a cell is known by, on disk and in memory.

    Examples
    --------
    >>> key({"optimizer": "Adam", "lr": 1e-3, "seed": 0}) == key(
    ...     {"seed": 0.0, "lr": 0.001, "optimizer": "Adam"})
    True
    """
    return tuple(
        sorted((k, v if isinstance(v, str) else f"{float(v):.6g}") for k, v in cell.items())
    )


def run(
    experiment, store: Store, *, jobs: int = 1, shard=(0, 1), stamp=None, spread=None
) -> pd.DataFrame:
    """Run all cells that are not there yet; return the table.

    Parameters
    ----------
    experiment : object
        See this module.
    store : Store
    jobs : int
        Processes side by side, of one thread each; 1 runs them in this process.
    shard : (int, int)
        (i, n) takes each n-th cell from the i-th on, for machines that share the work: each with a
        store of its own. What is planned only once others have finished is planned when their
        stores are merged, into the one that stands ``beside`` this one.
    spread : callable, optional
        Of the experiment, the cells and what stops it: yields cell, history and seconds of each, in
        place of `finished`.
    stamp : dict, optional
        Where the results are made; kept with each cell.

    Raises
    ------
    RuntimeError
        If processes are killed again and again, with no cell finished in between.

    Notes
    -----
    Ctrl-C finishes the cells in hand, and the same call goes on later. A process that is killed,
    for want of memory say, costs its cell's time: the cell runs again.
    """
    lost, spread = 0, spread or partial(finished, jobs=jobs)
    with Interrupt() as stop:
        while not stop.asked:
            plan = experiment.plan(store.known())[shard[0] :: shard[1]]
            todo = [cell for cell in plan if not store.has(cell)]
            if not todo:
                break
            with bar(len(plan), unit="run", initial=len(plan) - len(todo)) as progress:
                try:
                    for cell, history, seconds in spread(experiment, todo, stop=stop):
                        store.add(cell, history, seconds, stamp or {})
                        progress.update()
                        lost = 0
                except BrokenProcessPool:
                    lost += 1
                    if lost == KILLS:
                        raise RuntimeError(
                            f"processes were killed {KILLS} times in a row: take fewer jobs"
                        ) from None
    return store.table


def finished(experiment, todo, *, jobs: int, stop):
    """Yield cell, history and seconds of each cell as it finishes, until a stop is asked for."""
    if jobs == 1:
        for cell in todo:
            if stop.asked:
                return
            yield cell, *timed(experiment, cell)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(todo)), context, alone) as pool:  # all start at once
        with held_back(signal.SIGINT):
            waiting = {pool.submit(timed, experiment, cell): cell for cell in todo}
        for done in as_completed(waiting):
            if not done.cancelled():
                yield waiting[done], *done.result()
            if stop.asked:
                for one in waiting:
                    one.cancel()


@contextmanager
def held_back(number):
    """Hold a signal back within the block; processes that start there never see it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def alone() -> None:
    """Prepare a process of the pool: one thread, and Ctrl-C is for the one that waits for it."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where nothing holds it back


def timed(experiment, cell: dict):
    """Return the history of a cell and the seconds it took."""
    start = time.perf_counter()
    return experiment.train(cell), time.perf_counter() - start
