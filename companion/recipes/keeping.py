"""A run of a recipe that tells how it goes, is kept now and then, and stops when it is asked to."""

import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from companion.files import replacing
from companion.interrupt import Interrupt
from companion.progress import bar
from companion.recipes.loop import Run

INTERRUPTED = 130  # exit status, as of a shell


@dataclass
class Keeper:
    """Steps a run to its end, tells how it goes, and keeps it.

    Attributes
    ----------
    run : Run
    folder : path
    save : callable
        Writes a checkpoint; all processes call it together.
    pause : float
        Seconds between checkpoints.
    """

    run: Run
    folder: Path
    save: object
    pause: float

    def train(self) -> int:
        """Return the exit status: 0 at the end, 130 where the run was interrupted."""
        run, first = self.run, self.run.processes.rank == 0
        began, at, saved = time.monotonic(), run.step, time.monotonic()
        before = run.seconds
        signals = (signal.SIGINT, signal.SIGTERM)
        with (
            Interrupt(*signals) as stop,
            bar(run.task.steps, show=first, initial=run.step) as self.bar,
        ):
            asked = False
            while not run.finished and not asked:
                rows = len(run.rows)
                run.advance()
                run.seconds = before + time.monotonic() - began
                if len(run.rows) > rows:
                    self.report((time.monotonic() - began) / (run.step - at), first)
                self.bar.update()
                due = first and time.monotonic() - saved >= self.pause
                asked, due = run.processes.any(stop.asked, due)
                if due or asked or run.finished:
                    self.save()
                    saved = time.monotonic()
        if first:
            print(self.ending(asked), flush=True)
        return INTERRUPTED if asked and not run.finished else 0

    def report(self, pace: float, first: bool) -> None:
        """Add what the step took to the newest row; write the history, and print the row."""
        run = self.run
        row = run.rows[-1]
        row["seconds"] = round(run.seconds, 3)
        if run.device.type == "cuda":
            row["memory_mib"] = torch.cuda.max_memory_allocated(run.device) / 2**20
        if not first:
            return
        with replacing(self.folder / "history.csv", "w") as file:
            run.history().to_csv(file, index=False)
        left = pace * (run.task.steps - run.step)
        words = (f"{k} {v:.4g}" for k, v in row.items() if k not in ("step", "seconds"))
        self.bar.write(
            f"step {run.step}/{run.task.steps}  {'  '.join(words)}"
            f"  {pace:.3g} s a step, {clock(left)} left"
        )
        sys.stdout.flush()

    def ending(self, asked: bool) -> str:
        """Return the last line."""
        run = self.run
        if run.step < run.task.steps:
            reason = "interrupted; --resume goes on" if asked else "the loss is not finite"
        else:
            reason = "finished"
        return f"step {run.step}/{run.task.steps}: {reason} ({self.folder})"


def clock(seconds: float) -> str:
    """Return a time in hours, minutes and seconds.

    Examples
    --------
    >>> clock(3_700)
    '1:01:40'
    """
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
