"""Spread tasks over machines: by Ray, or as shares of a list for the jobs of a Slurm array.

What measures runs anywhere; results are written by whoever collects them, in one place. Ray brings
each task's result to the process that started it, the driver, and runs a task again whose worker
was lost. A share needs nothing but a number: job i of n takes each n-th task from the i-th on, and
keeps its results in files of its own, to be merged when all jobs have ended.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RETRIES = 3  # times that a task is run again whose worker was lost
SENT = ("COMPANION_DATA", "COMPANION_SCALE")  # settings that workers need too


def share(text: str) -> tuple[int, int]:
    """Read ``i/n``; i counts from 0, as Slurm's SLURM_ARRAY_TASK_ID does in ``--array=0-7``."""
    try:
        i, n = map(int, text.split("/"))
    except ValueError:
        i, n = -1, 0
    if not 0 <= i < n:
        raise argparse.ArgumentTypeError(f"expected i/n with 0 ≤ i < n, such as 0/8, got {text!r}")
    return i, n


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where tasks run."""
    parser.add_argument(
        "--on", choices=("here", "ray"), default="here",
        help="run the tasks in this process (or --jobs), or on Ray: each is a task of one core, "
        "which runs again if its worker is lost; this process alone writes (here)",
    )  # fmt: skip
    parser.add_argument(
        "--address", help="of a Ray cluster, such as auto (default: a Ray of this machine)"
    )
    parser.add_argument(
        "--gpus", type=float, default=0.0, metavar="G",
        help="share of a GPU that each Ray task reserves: .25 puts four on one (0)",
    )  # fmt: skip
    parser.add_argument(
        "--shard", type=share, metavar="i/n",
        help="do each n-th task from the i-th on, i from 0, and keep the results apart: for jobs "
        "of a Slurm array, which need nothing in common but the disk",
    )  # fmt: skip


def on_ray(
    function: Callable,
    items: Iterable,
    *,
    gpus: float = 0.0,
    address: str | None = None,
    stop=None,
) -> Iterator[tuple]:
    """Yield each item with the function's result as it comes, from workers of Ray.

    Parameters
    ----------
    function : callable
        Of one item; both can be pickled.
    items : iterable
    gpus : float
        Share of a GPU that a task reserves.
    address : str, optional
        Of a running cluster, whose machines have the same environment installed: the code is sent.
        None, the default, uses the Ray that this process is connected to, or starts one here.
    stop : object, optional
        Once its ``asked`` is true, no further task begins, and those in hand are waited for.

    Raises
    ------
    RayError
        What the first task raised that failed, or was lost `RETRIES` times and once more: when
        all the others have finished.
    """
    import ray

    started = not ray.is_initialized()
    if started:
        where = {"include_dashboard": False}
        if address is not None:
            where = {"address": address, "runtime_env": {"working_dir": str(ROOT)}}
        ray.init(log_to_driver=False, **where)
    sent = {"env_vars": {k: os.environ[k] for k in SENT if k in os.environ}}
    if address is None:  # Ray has a shell start its workers, and gives it the path of Python bare
        sent["py_executable"] = shlex.quote(sys.executable)

    def one(item):  # Ray takes functions alone, no functools.partial
        return function(item)

    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES, runtime_env=sent)(one)
    left, waiting, failed = iter(items), {}, []
    try:
        while True:
            room = _room(ray.cluster_resources(), gpus) - len(waiting)
            while room > 0 and not (stop and stop.asked):
                try:
                    item = next(left)
                except StopIteration:
                    break
                waiting[task.remote(item)] = item
                room -= 1
            if not waiting:
                break
            for done in ray.wait(list(waiting), timeout=1.0)[0]:
                item = waiting.pop(done)
                try:
                    result = ray.get(done)
                except ray.exceptions.RayError as error:
                    failed.append(error)
                else:
                    yield item, result
        if failed:
            raise failed[0]
    finally:
        if started:
            ray.shutdown()


def _room(resources: dict, gpus: float) -> int:
    """Return how many tasks a cluster takes at once; one at least, since it may grow."""
    places = [resources.get("CPU", 0)] + ([resources.get("GPU", 0) / gpus] if gpus else [])
    return max(1, int(min(places)))
