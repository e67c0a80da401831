"""Build C++ to a library that Python loads: once a machine, and nothing that somebody planted.

Compiled libraries are kept in the cache folder, each under a name that holds the checksum of its
content. One is loaded only if the folder and the file belong to this user (or to root), nobody else
may write there, and the content has its checksum; else it is built anew. Where the folder cannot be
used, the library is loaded from a private temporary folder, and lives as long as the process.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from companion.files import cache_folder, replacing

TIMEOUT = 60  # seconds; a kernel takes a quarter of one on an idle machine

# No fused multiply-add: memory is the limit, and the rounding stays that of the eager step. The
# <cmath> of later standards holds special functions, which take as long to read as all the rest.
FLAGS = "-O3 -std=c++11 -ffp-contract=off -fno-math-errno -fno-trapping-math -shared -fPIC"

# A compiler without OpenMP, or one that does not know its machine, serves too.
EXTRAS = ("-march=native -fopenmp", "-fopenmp", "")

_unusable: dict = {}  # compiler → why it is not tried again in this process


class Untranslatable(Exception):
    """Why a rule cannot become a kernel here."""


def compile_source(source: str) -> ctypes.CDLL:
    """Build a shared library from C++ and load it.

    The compiler is the one that ``CXX`` names, a path or a command with arguments; ``c++`` without
    it. What it made is kept in ``companion.files.cache_folder("kernels")``.

    Raises
    ------
    Untranslatable
        With the cause: no compiler, one that fails or takes longer than a minute, or a library that
        cannot be loaded. The answer is remembered as long as the process lives.

    Notes
    -----
    Cost: a quarter of a second a text on each machine, a millisecond where the library is kept.
    """
    outcome = _outcome(source, _compiler())
    if isinstance(outcome, str):
        raise Untranslatable(outcome)
    return outcome


@cache
def _outcome(source: str, compiler: tuple) -> ctypes.CDLL | str:
    """Return the library, or why there is none."""
    key = hashlib.sha256("|".join((source, _machine(), *compiler)).encode()).hexdigest()[:24]
    try:
        return _kept(key) or _load(key, _build(source, compiler), compiler)
    except (OSError, Untranslatable) as error:
        return str(error)


def _compiler() -> tuple:
    """Return the command that ``CXX`` names, or c++."""
    value = os.environ.get("CXX", "").strip() or "c++"
    if shutil.which(value):  # a path may hold spaces
        return (value,)
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise Untranslatable(f"CXX={value!r} is no command: {error}") from None


@cache
def _machine() -> str:
    """Describe what -march=native means here: a home may be shared by different processors."""
    flags = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {flags}"


# -- what is kept ----------------------------------------------------------------------------------


def _folder() -> Path:
    """Return the folder of kernels, made where it is missing; ``OSError`` if others write there."""
    try:
        folder = cache_folder("kernels").resolve()
    except RuntimeError as error:  # a symlink to itself, or no home for ~
        raise OSError(str(error)) from None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _ours(folder.stat()):
        raise PermissionError(f"{folder} belongs to another user")
    if folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        folder.chmod(0o700)
    for parent in folder.parents:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise PermissionError(f"every user may rename what is in {parent}")
    return folder


def _ours(status) -> bool:
    return not hasattr(os, "getuid") or status.st_uid in (0, os.getuid())


def _kept(key: str) -> ctypes.CDLL | None:
    """Load a library that was built before, if there is a sound one."""
    with contextlib.suppress(OSError):
        for path in _folder().glob(f"{key}-*.so"):
            with contextlib.suppress(OSError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and _ours(status):
                    if path.name == _name(key, path.read_bytes()):
                        return ctypes.CDLL(str(path))
                    path.unlink()  # damaged
    return None


def _name(key: str, content: bytes) -> str:
    return f"{key}-{hashlib.sha256(content).hexdigest()[:32]}.so"


def _load(key: str, content: bytes, compiler: tuple) -> ctypes.CDLL:
    """Keep a library and load it; from a temporary folder where it cannot be kept."""
    try:
        path = _folder() / _name(key, content)
        with replacing(path) as file:
            file.write(content)
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            path.unlink()
            raise
    except OSError as error:
        why = error
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as private:
            path = Path(private) / "kernel.so"
            path.write_bytes(content)
            return ctypes.CDLL(str(path))  # stays when its file goes
    except OSError as error:
        raise Untranslatable(
            f"what {shlex.join(compiler)} built cannot be loaded from the cache ({why}) nor from a "
            f"temporary folder ({error}); CXX must name a compiler for this machine, and "
            "COMPANION_CACHE or TMPDIR a folder that can be written to and run from"
        ) from None


# -- the compiler ----------------------------------------------------------------------------------


def _build(source: str, compiler: tuple) -> bytes:
    """Return the library that a compiler makes of a text."""
    if compiler in _unusable:
        raise Untranslatable(_unusable[compiler])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        text, library = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        text.write_text(source, encoding="utf-8")
        for extra in EXTRAS:
            flags = [*FLAGS.split(), *extra.split(), str(text), "-o", str(library)]
            code, said = _run(compiler, flags, Path(folder) / "said")
            if code == 0 and library.is_file():
                return library.read_bytes()
    said = said[-300:] or f"it ended with {code}, without a library"
    raise Untranslatable(f"{shlex.join(compiler)} failed: {said}")


def _run(compiler: tuple, flags: list, log: Path) -> tuple[int, str]:
    """Run a compiler; return its exit code and what it said."""
    command = shlex.join(compiler)
    with open(log, "wb") as said:  # not a pipe: a child that lives on would keep it open
        try:
            process = subprocess.Popen(
                [*compiler, *flags],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        except OSError as error:
            _unusable[compiler] = f"{command} cannot be run ({error}); CXX must name a C++ compiler"
            raise Untranslatable(_unusable[compiler]) from None
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            _unusable[compiler] = f"{command} took more than {TIMEOUT} s; CXX names the compiler"
            raise Untranslatable(_unusable[compiler]) from None
        finally:  # after Ctrl-C too, what it started ends with it
            if process.poll() is None:
                if hasattr(os, "killpg"):
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                process.wait()
    return process.returncode, log.read_bytes().decode(errors="replace").strip()
