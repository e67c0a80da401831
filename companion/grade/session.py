"""A student's process, seen from the grader's: start it, ask it, kill it, start it again."""

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from companion.grade.arguments import asked
from companion.grade.inside import wire
from companion.grade.inside.cells import PATIENCE
from companion.grade.system import Watch, end_all_of, limits_for

START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from inside import child; del sys.path[0]; "
    "child.main()"
)
GRACE = 4.0  # seconds after which a process is killed that did not stop by itself
STARTS = 5  # processes that one submission may use up


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Attributes
    ----------
    seconds : float
        CPU seconds of one cell and of one call; three times as many of the clock.
    wall : float
        Seconds of the whole submission.
    cpu : int
        CPU seconds of one process.
    memory, file : int
        Bytes a process may grow by, and of one file that it writes.
    processes : int
        Processes and threads, where that can be limited.
    """

    seconds: float = 10.0
    wall: float = 300.0
    cpu: int = 120
    memory: int = 1_500_000_000
    file: int = 16_000_000
    processes: int = 32


@dataclass(frozen=True)
class Answer:
    """What a student's function gave: a value, or a word for why there is none, and its text."""

    value: object = None
    problem: str = ""
    text: str = ""


@dataclass(frozen=True)
class Offer:
    """What a set gives to a student's code, and what it keeps from it.

    Attributes
    ----------
    preload, refused : tuple of str
        Modules to load first, and packages that may not be used.
    given : str
        Code of functions that make arguments which are no plain data, such as a loss.
    """

    preload: tuple = ("torch", "numpy")
    refused: tuple = ("companion", "torch.optim")
    given: str = ""


@dataclass
class Session:
    """Runs one submission and answers calls to its functions; never raises for what it does.

    Parameters
    ----------
    cells : list of (int, str)
        Number and text of each code cell.
    offer, limits
        What the code may use.
    hide : tuple of Path
        Folders that it must not see, besides the package: submissions, results, masters.

    Attributes
    ----------
    errors : dict
        The first error of each cell, by its number.
    enforced : list of str
        The limits that the system took.
    """

    cells: list
    offer: Offer = Offer()
    limits: Limits = Limits()
    hide: tuple = ()
    errors: dict = field(default_factory=dict)
    enforced: list = field(default_factory=list)

    def __post_init__(self):
        self._process = self._watch = None
        self._skipped, self._dead = set(), {}
        self._starts, self._number = 0, 0
        self._end = time.monotonic() + self.limits.wall
        self._folder = Path(tempfile.mkdtemp(prefix="grade-")).resolve()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def ask(self, name: str, *args, gradients=None, state=(), **keywords) -> Answer:
        """Call a student's function, or drive a rule over gradients; return its `Answer`.

        Arrays among the arguments arrive as float64 tensors; lists of numbers stay lists.
        """
        if name in self._dead:
            return self._dead[name]
        if not self._ready():
            return Answer(problem="gone", text="its process could not be kept alive")
        self._number += 1
        request = {"id": self._number, **asked(name, args, keywords, gradients, state)}
        with contextlib.suppress(OSError):
            self._process.stdin.write(wire.write(request))
            self._process.stdin.flush()
        until = time.monotonic() + PATIENCE * self.limits.seconds + GRACE
        message = self._next(until)
        while message is not None and message.get("id") != self._number:  # no answer to this
            message = self._next(until)
        return self._judge(name, message)

    def _judge(self, name, message) -> Answer:
        if answer := answered(message or {}):
            return answer
        slow = f"it takes longer than {self.limits.seconds:g} s"
        if message and "slow" in message:
            self._dead[name] = Answer(problem="slow", text=slow)
        else:
            text = self._why() or slow
            self._kill()
            self._dead[name] = Answer(problem="gone", text=text)
        return self._dead[name]

    # -- the process --------------------------------------------------------------------------

    def _ready(self) -> bool:
        """Have a process that has run the cells; a cell that kills it is left out the next time."""
        while self._process is None or self._process.poll() is not None:
            self._kill()
            if self._starts >= STARTS or time.monotonic() > self._end:
                return False
            self._starts += 1
            self._start()
            self._run_cells()
        return True

    def _start(self):
        known = limits_for(self._folder, self.limits, self.hide)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-X", "utf8", "-c", START, str(Path(__file__).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            env=environment(self._folder),
            start_new_session=True,
        )
        self._uid, self._lines = known["uid"], queue.Queue(maxsize=10_000)
        for work in (_lines, _nothing):
            threading.Thread(target=work, args=(self._process, self._lines), daemon=True).start()
        self._watch = Watch(self._process, self._uid, 2 * self.limits.memory, self._end)
        task = {
            "limits": known,
            "cells": [cell for cell in self.cells if cell[0] not in self._skipped],
            "seconds": self.limits.seconds,
            "preload": self.offer.preload,
            "refused": self.offer.refused,
            "given": self.offer.given,
        }
        with contextlib.suppress(OSError):
            self._process.stdin.write(wire.write(task))
            self._process.stdin.flush()

    def _run_cells(self):
        current, known = None, [number for number, _ in self.cells]
        while True:
            # The first message waits for the imports of the packages.
            patience = PATIENCE * self.limits.seconds + (60 if current is None else GRACE)
            message = self._next(time.monotonic() + patience)
            if message is None:
                if current is not None:
                    self._skipped.add(current)
                    reason = self._why() or f"it takes longer than {self.limits.seconds:g} s"
                    self.errors[current] = f"{reason}; this cell is left out"
                self._kill()
                return
            if current is None and "enforced" in message:
                self.enforced = [str(word)[:40] for word in message["enforced"]][:20]
            elif message.get("ready"):
                return
            elif message.get("cell") in known:
                current = message["cell"]
                if message.get("error"):
                    text = wire.clean(str(message["error"])[:300])
                    self.errors.setdefault(current, text)

    def _next(self, until: float) -> dict | None:
        """Return the next message; None where none came in time, or the process has ended."""
        left = min(until, self._end) - time.monotonic()
        with contextlib.suppress(queue.Empty):
            return self._lines.get(timeout=left) if left > 0 else None
        return None

    def _why(self) -> str:
        """Say why the process has ended by itself; "" while it runs."""
        if self._watch.full:
            return "its processes take more memory than they may"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.3)
        return "" if self._process.poll() is None else "it ends the process that runs it"

    def _kill(self):
        if self._process is None:
            return
        self._watch.stop()
        end_all_of(self._process, self._uid, "nothing left running" in self.enforced)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()
        self._process = None


def answered(message: dict) -> Answer | None:
    """Return what a message of a student's process says of a call; None if it says nothing."""
    if "value" in message:
        try:
            value = wire.checked(message["value"])
        except wire.NotPlain as reason:
            return Answer(problem="kind", text=str(reason))
        return Answer(value) if value is not None else Answer(problem="unfinished")
    if message.get("missing"):
        return Answer(problem="missing")
    if "error" in message:
        return Answer(problem="raised", text=wire.clean(str(message["error"])[:300]))
    return None


def environment(folder) -> dict:
    """Return the environment of a student's process: nothing of ours."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    return {
        **kept,
        **threads,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(folder),
        "LANG": "C.UTF-8",
        "COMPANION_SCALE": "smoke",
        "COMPANION_PROGRESS": "0",
    }


def _lines(process, lines):
    """Pass messages on until the process ends, or writes what is none."""
    with contextlib.suppress(OSError, ValueError):
        while line := process.stdout.readline(wire.LONGEST + 1):
            if len(line) > wire.LONGEST:
                break
            lines.put(wire.read(line))
    lines.put(None)


def _nothing(process, lines):
    """Throw away what is printed, so that no pipe fills."""
    with contextlib.suppress(OSError, ValueError):
        while process.stderr.read1(1 << 20):
            pass
