"""Run the chapters side by side into the cache from which Sphinx takes their outputs.

``python -m tools.execution`` runs each chapter whose code, or a module that it imports, has changed
since its last run: longest first, one a core. A chapter that fails is shown with its traceback; the
others finish and are kept, and the exit code is 1.
"""

import ast
import asyncio
import hashlib
import os
import re
import shutil
import signal
import site
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import yaml
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from myst_nb.core.read import myst_nb_reader_plugin
from nbclient import NotebookClient

from tools.kernels import forked

ROOT = Path(__file__).resolve().parent.parent
SCALE = os.environ.get("COMPANION_SCALE", "quick")
CELLS = ROOT / "_build" / "cells"
# A module that loads others by name may load any of them.
BY_NAME = re.compile(r"\b(import_module|__import__|pkgutil|runpy)\b")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def chapters() -> dict[str, Path]:
    """Name and source of each page of _toc.yml that has code to run."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]
    sources = {name: ROOT / f"{name}.md" for name in names}
    return {
        name: path
        for name, path in sources.items()
        if "{code-cell}" in path.read_text(encoding="utf-8")
    }


@cache
def environment() -> bytes:
    """What every output depends on: the scale, Python and the installed versions."""
    # Not on sys.path, to which setuptools, once imported, adds packages of its own.
    folders = [*site.getsitepackages(), *[site.getusersitepackages()] * bool(site.ENABLE_USER_SITE)]
    installed = sorted({f"{found.name}=={found.version}" for found in distributions(path=folders)})
    return "\n".join([SCALE, sys.version, *installed]).encode()


@cache
def content(path: Path) -> bytes:
    return path.read_bytes()


@cache
def imported(path: Path) -> frozenset[str]:
    """The dotted names that a module of this repository imports, in its functions too."""
    package = path.relative_to(ROOT).parent.parts
    return names(ast.parse(content(path)), package)


def names(tree: ast.AST, package: tuple = ()) -> frozenset[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


@cache
def files_of(name: str) -> frozenset[Path]:
    """Files of this repository that run when a dotted name is imported: packages come first."""
    parts = name.split(".")
    places = [ROOT.joinpath(*parts[:n]) for n in range(1, len(parts) + 1)]
    files = {path for p in places for path in (p.with_suffix(".py"), p / "__init__.py")}
    return frozenset(path for path in files if path.is_file())


def files_behind(code: str) -> set[Path]:
    """Files of this repository that ``code`` imports, itself or through others, and their data."""
    try:
        left = set(names(ast.parse(code)))
    except SyntaxError:
        return set()  # the chapter fails, and is not kept
    found, seen = set(), set()
    while left:
        seen |= left
        new = set().union(*map(files_of, left)) - found
        found |= new
        left = set().union(*map(imported, new)) - seen
    if any(BY_NAME.search(text) for text in [code, *(content(path).decode() for path in found)]):
        found |= set((ROOT / "companion").rglob("*.py"))
    folders = {path.parent for path in found if path.name == "__init__.py"}
    data = {path for folder in folders for path in folder.iterdir() if path.suffix != ".pyc"}
    return found | {path for path in data if path.is_file() and path.suffix != ".py"}


def key_of(notebook) -> str:
    """Hash of what the outputs of a chapter depend on; the cache itself compares its cells."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    code = TransformerManager().transform_cell("\n".join(cells))
    digest = hashlib.sha256(environment() + code.encode())
    for path in sorted(files_behind(code)):
        digest.update(path.relative_to(ROOT).as_posix().encode() + content(path))
    return digest.hexdigest()


class Failure(Exception):
    """A cell of a chapter did not run; says which one."""


def run(name: str, notebook, socket: Path, timeout: int, threads: int, running: list) -> float:
    """Run a notebook in place, in a kernel of this very Python; return the seconds it took."""
    manager = AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # only this Python is left
        transport="ipc",
        connection_file=str(socket),
    )
    running.append(manager)
    at, start = 0, time.monotonic()

    def on_cell_start(cell, cell_index):
        nonlocal at
        at = cell_index
        if manager not in running:
            raise InterruptedError("the build was stopped")

    client = NotebookClient(
        notebook,
        km=manager,
        timeout=timeout,
        record_timing=False,  # the cache compares the metadata of cells too
        on_cell_start=on_cell_start,
        resources={"metadata": {"path": str((ROOT / name).parent)}},
    )
    environ = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    try:
        asyncio.run(client.async_execute(env=environ, cleanup_kc=True))
    except Exception as error:
        line = notebook.metadata.source_map[at]
        text = re.sub(r"\x1b\[[\d;]*m", "", str(error)).strip()
        raise Failure(f"{name}.md:{line}: cell {at + 1} failed\n{text}") from error
    return time.monotonic() - start


def stop(running: list):
    """Kill the kernels that still run; what they would have run next does not start."""
    managers = running.copy()
    running.clear()
    for manager in managers:
        with suppress(AttributeError, ProcessLookupError, TypeError):
            os.killpg(manager.provisioner.pgid, signal.SIGKILL)


def stale(store, pages: dict[str, Path]) -> dict[str, tuple]:
    """Notebook, key and expected seconds of each chapter to run; drops what nobody will read."""
    for kept in (content, imported, files_of):
        kept.cache_clear()  # of an earlier look
    records = {record.uri: record for record in store.list_cache_records()}
    todo, fresh = {}, set()
    for name, path in pages.items():
        notebook = myst_nb_reader_plugin(str(path))
        key, record = key_of(notebook), records.get(name)
        if record and record.data.get("key") == key:
            with suppress(KeyError):
                store.merge_match_into_notebook(notebook)
                fresh.add(record.pk)
                continue
        stated = re.search(r"Running time\W* [Aa]bout (\d+) s", path.read_text(encoding="utf-8"))
        seconds = record.data["execution_seconds"] if record else int(stated[1]) if stated else 0
        todo[name] = notebook, key, seconds
    for record in store.list_cache_records():
        if record.pk not in fresh:
            store.remove_cache(record.pk)
    return todo


def run_all(store, todo: dict[str, tuple], timeout: int) -> int:
    """Run what is to do, one chapter a core; return how many failed."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    workers = min(cores, len(todo))
    failed, running = 0, []
    print(f"{len(todo)} chapters to run at {SCALE} scale, {workers} at a time", flush=True)
    # The path of a socket has at most about 100 characters.
    short = None if len(gettempdir()) < 60 else "/tmp"
    with TemporaryDirectory(dir=short) as folder, ThreadPoolExecutor(workers) as pool:
        one = partial(run, timeout=timeout, threads=cores // workers, running=running)
        futures = {
            pool.submit(one, name, todo[name][0], Path(folder, f"{i}.json")): name
            for i, name in enumerate(sorted(todo, key=lambda name: -todo[name][2]))
        }
        try:
            for done, future in enumerate(as_completed(futures), 1):
                name = futures[future]
                notebook, key, _ = todo[name]
                try:
                    seconds = future.result()
                    data = {"execution_seconds": seconds, "key": key}
                    bundle = CacheBundleIn(notebook, name, data=data)
                    store.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
                    said = f"{seconds:.0f} s"
                except Failure as error:
                    failed += 1
                    said = f"FAILED\n{error}\n"
                print(f"[{done:{len(str(len(todo)))}}/{len(todo)}] {name}: {said}", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop(running)
            raise
    return failed


def main() -> int:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    if CELLS.exists():
        for path in CELLS.iterdir():
            if path.name not in ("smoke", "quick", "full"):
                shutil.rmtree(path, ignore_errors=True)
    store = get_cache(str(CELLS / SCALE))
    try:
        todo = stale(store, chapters())
    except Exception as error:
        print(f"The cache of outputs cannot be read ({error!r}): starting a new one")
        store.clear_cache()
        todo = stale(store, chapters())
    if not todo:
        return 0
    try:
        with forked():
            failed = run_all(store, todo, config["execute"]["timeout"])
    except KeyboardInterrupt:
        print("Stopped. The chapters that have finished are kept.", file=sys.stderr)
        return 130
    if failed:
        print(f"{failed} of {len(todo)} chapters failed; see above", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
