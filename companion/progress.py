"""A progress bar for long runs that leaves nothing behind, on a terminal and in a live notebook."""

import os
import sys

from tqdm import tqdm

DELAY = 5.0  # seconds; shorter runs show no bar


def bar(total: int | None, show: bool = True, unit: str = "step", **options) -> tqdm:
    """Return a tqdm bar on standard output that appears after five seconds and goes when closed.

    It is a bar of characters: one of widgets would leave a warning in notebooks without them, and
    one on standard error a red box in a built page. Where output goes to a file there is no bar.

    Parameters
    ----------
    total : int or None
        Units of work; None if nobody knows.
    show : bool, default True
        False for no bar at all.
    unit : str
        What is counted.
    **options
        Further options of tqdm, such as ``initial`` and ``desc``.

    Notes
    -----
    The environment variable ``COMPANION_PROGRESS`` overrides what is detected: ``0`` for no bar (a
    page build, whose kernels look like live notebooks), ``1`` for a bar.

    Examples
    --------
    >>> with bar(3) as progress:
    ...     for _ in range(3):
    ...         _ = progress.update()
    """
    return tqdm(
        total=total,
        unit=unit,
        file=sys.stdout,
        disable=not (show and watched()),
        delay=DELAY,
        leave=False,
        dynamic_ncols=True,
        **options,
    )


def watched() -> bool:
    """Say whether somebody can watch standard output change: a terminal or a live notebook."""
    choice = os.environ.get("COMPANION_PROGRESS", "")
    if choice in ("0", "1"):
        return choice == "1"
    return sys.stdout.isatty() or type(sys.stdout).__module__.startswith("ipykernel")
