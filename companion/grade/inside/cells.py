"""Run the cells of a submission statement by statement, each under a time limit of its own."""

import ast
import contextlib
import re
import signal
import traceback

PATIENCE = 3  # seconds of the clock for each second that a cell or a call may compute
OWN = "inside.refuse."  # of what refuses: no name for a student
MAGIC = re.compile(r"^\s*[%!?]|^\s*[\w.\[\]]+\?{1,2}\s*$")


class TooLong(BaseException):
    """A cell or a call took longer than it may; no ``except Exception`` stops it."""


def _ring(number, frame):
    raise TooLong


@contextlib.contextmanager
def alarm(seconds: float):
    """Raise `TooLong` in the block after so many CPU seconds, where the system has alarms.

    A process that waits is stopped after `PATIENCE` times as many seconds of the clock.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return
    timers = (
        (signal.SIGPROF, signal.ITIMER_PROF, 1),
        (signal.SIGALRM, signal.ITIMER_REAL, PATIENCE),
    )
    for number, timer, times in timers:
        signal.signal(number, _ring)
        # It rings again each second: a bare except may have caught the first.
        signal.setitimer(timer, times * seconds, 1.0)
    try:
        yield
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)


def without_magics(source: str) -> str:
    r"""Return a cell without what only IPython understands.

    Examples
    --------
    >>> without_magics("%pip install x\nx = 1")
    'pass\nx = 1'
    >>> without_magics("%%time\nx = 1")
    'pass\nx = 1'
    >>> without_magics("%%bash\nrm -rf /")
    'pass'
    """
    first = source.lstrip().split("\n", 1)[0]
    if first.startswith("%%") and first.split()[0] not in ("%%time", "%%timeit", "%%capture"):
        return "pass"
    lines = []
    inside = False  # a text over several lines may begin a line with %
    for line in source.split("\n"):
        if not inside and MAGIC.match(line):
            line = re.match(r"\s*", line)[0] + "pass"
        if line.count('"""') % 2 or line.count("'''") % 2:
            inside = not inside
        lines.append(line)
    return "\n".join(lines)


def describe(error: BaseException) -> str:
    """Return an error in one line, without trusting its class."""
    try:
        if isinstance(error, TooLong):
            return "it took too long"
        text = "".join(traceback.format_exception_only(type(error), error)).strip()
        return text.split("\n")[-1].removeprefix(OWN)[:300]
    except BaseException:
        return "an error that cannot be printed"


def run(sources: list, names: dict, seconds: float, tell) -> None:
    """Run cells in a namespace; what raises is told, and the next statement runs.

    Parameters
    ----------
    sources : list of (int, str)
        Number and text of each cell.
    names : dict
        The namespace.
    seconds : float
        Limit of a cell.
    tell : callable
        ``tell(number, None)`` before a cell, and ``tell(number, error)`` for each error.
    """
    for number, source in sources:
        tell(number, None)
        try:
            tree = ast.parse(without_magics(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            tell(number, describe(error))
            continue
        try:
            with alarm(seconds):
                for statement in tree.body:
                    _one(statement, number, names, tell)
        except BaseException as error:
            tell(number, describe(error))


def _one(statement, number, names, tell):
    try:
        module = ast.Module([statement], [])
        exec(compile(module, f"<cell {number}>", "exec"), names)
    except TooLong:
        raise
    except BaseException as error:  # SystemExit too
        tell(number, describe(error))
