"""What the grader asks of its system: who a student's process runs as, what it sees, its end."""

import contextlib
import itertools
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
USERS = itertools.cycle(range(61500, 62500))  # users without a name, one a process
END = "import os, sys; u = int(sys.argv[1]); os.setuid(u); os.kill(-1, 9)"


def limits_for(folder: Path, limits, hide) -> dict:
    """Return what `companion.grade.inside.confine.enter` needs for a process in this folder."""
    uid = next(USERS) if root() and (closed() == () or spaces()) else None
    if uid is not None:
        os.chown(folder, uid, uid)
    shared = [p for p in ("/tmp", "/var/tmp", "/dev/shm", str(Path.home())) if p != "/"]
    hidden = [PACKAGE, PACKAGE.parent / "book", PACKAGE.parent / "tests", *hide, *closed()]
    return {
        **asdict(limits),
        "folder": str(folder),
        "uid": uid,
        "hide": sorted({*shared, *(str(Path(path).resolve()) for path in hidden)}),
        "keep": [str(path) for path in needed()],
        "namespaces": spaces(),
    }


def refuse_danger() -> None:
    """Refuse to run strangers' code as root where it could not be confined.

    Raises
    ------
    ValueError
        If the grader runs as root, can make no namespaces, and its Python lies where no other user
        may read, so that there is nobody to run the code as.
    """
    if root() and closed() and not spaces():
        raise ValueError(
            f"students' code would run as root: only root may enter {closed()[0]}, where this "
            "Python lies, and the system allows no namespaces; run the grader as another user"
        )


def root() -> bool:
    """Say whether the grader runs as root, who has to give up power before it runs strangers."""
    return os.name == "posix" and os.getuid() == 0


@cache
def needed() -> tuple:
    """Return the folders of this Python, without those that lie in others.

    Links count as they are too: they may lie in a folder that is hidden.
    """
    found = {Path(p) for p in (sys.prefix, sys.base_prefix)}
    found |= {path.resolve() for path in found}
    return tuple(p for p in found if not any(q in p.parents for q in found))


@cache
def closed() -> tuple:
    """Return the folders above this Python that only root may enter."""
    above = {parent for path in needed() for parent in (path, *path.parents)}
    return tuple(sorted(p for p in above if not p.stat().st_mode & stat.S_IXOTH))


@cache
def spaces() -> bool:
    """Try whether this system lets us make namespaces (Linux, and not in most containers)."""
    if sys.platform != "linux":
        return False
    code = (
        "import ctypes, os; c = ctypes.CDLL(None); f = 0x20000 | 0x8000000 | 0x20000000 | "
        "0x40000000 | (0x10000000 if os.getuid() else 0); os._exit(c.unshare(f) and 1)"
    )
    return subprocess.run([sys.executable, "-I", "-c", code], check=False).returncode == 0


def end_all_of(process, uid, clean: bool) -> None:
    """Kill a student's process with all that it has started.

    Where the system has no process namespaces, whatever left the process group is found by its
    user, if it has one of its own.
    """
    if os.name != "posix":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True)
    else:
        if clean:  # the process that waits for the first of the tree kills and buries it
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
        if not (clean and process.returncode is not None):  # its number may be another's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    if uid is not None and not clean:
        subprocess.run([sys.executable, "-I", "-c", END, str(uid)], check=False)


class Watch:
    """Kills a student's processes at the end of its time, or (Linux) when memory runs out.

    Each process has a limit of its own; this is for many of them together.

    Attributes
    ----------
    full : bool
        Whether they have taken more than ``most`` bytes.
    """

    def __init__(self, process, uid, most: int, end: float):
        self.full, self._done = False, threading.Event()
        work = (process, uid, most, end)
        threading.Thread(target=self._look, args=work, daemon=True).start()

    def stop(self) -> None:
        """End the watch."""
        self._done.set()

    def _look(self, process, uid, most, end):
        while not self._done.wait(0.2):
            self.full = sys.platform == "linux" and sum(resident(process.pid, uid)) > most
            if self.full or time.monotonic() > end:
                process.kill()  # those below it die with it, or with their group
                with contextlib.suppress(ProcessLookupError, PermissionError, AttributeError):
                    os.killpg(process.pid, signal.SIGKILL)
                return


def resident(session: int, uid) -> list:
    """Return the bytes in memory of each process of a session, or of a user."""
    page, found = os.sysconf("SC_PAGE_SIZE"), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if uid is None or folder.stat().st_uid != uid:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) != session:
                    continue
            found.append(int((folder / "statm").read_text().split()[1]) * page)
    return found
