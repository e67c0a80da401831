"""One switch for the size of every experiment: the environment variable ``COMPANION_SCALE``."""

import os

SCALES = ("smoke", "quick", "full")


def name() -> str:
    """Return the scale in force: ``"smoke"``, ``"quick"`` (the default) or ``"full"``.

    ``smoke`` only proves that the code runs, ``quick`` is the book as built, ``full`` is the
    scale of the papers.

    Raises
    ------
    ValueError
        If ``COMPANION_SCALE`` holds anything else.

    Examples
    --------
    >>> name() in SCALES
    True
    """
    scale = os.environ.get("COMPANION_SCALE") or "quick"
    if scale not in SCALES:
        raise ValueError(
            f"the environment variable COMPANION_SCALE must be one of {SCALES}, got {scale!r}"
        )
    return scale


def pick(*, smoke, quick, full):
    """Return the value that belongs to the scale in force.

    Parameters
    ----------
    smoke, quick, full : object
        One value a scale.

    Examples
    --------
    >>> steps = pick(smoke=10, quick=1_000, full=100_000)
    >>> steps in (10, 1_000, 100_000)
    True
    """
    return {"smoke": smoke, "quick": quick, "full": full}[name()]
