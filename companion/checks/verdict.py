"""What a check is: it hands copies to the student's functions, prints a verdict, never raises."""

import contextlib
import copy
import functools
from dataclasses import dataclass

LONGEST = 300  # characters of an error that are shown
PLAIN = frozenset((int, float))  # types whose values nobody can change


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes
    ----------
    passed : bool
        Whether the answer is right.
    message : str
        What the check printed.
    """

    passed: bool
    message: str

    def _ipython_display_(self):
        """Show nothing: the message has been printed."""


class Unfinished(Exception):
    """The stub has not been filled in."""


class Wrong(Exception):
    """The answer differs; the message says how."""


def fail(reason: str, hint: str = "") -> None:
    """Stop the check: the answer is wrong for this reason (no final stop)."""
    raise Wrong(f"{reason}. Hint: {hint}" if hint else reason)


def written(answer):
    """Return an answer; stop the check where it is ``None`` or ``...``, as a stub leaves it."""
    if answer is None or answer is ...:
        raise Unfinished(f"the answer is still {'None' if answer is None else 'to be written'}")
    return answer


def stopped(reason) -> str:
    """Return a reason as a sentence: with a stop, unless it ends in one.

    Examples
    --------
    >>> stopped("expected 1"), stopped("which of them?")
    ('expected 1.', 'which of them?')
    """
    text = str(reason)
    return text if text.endswith((".", "?", "!")) else f"{text}."


def guarded(function):
    """Return a student's function that works on copies: what it does to its inputs stays there."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        if not kwargs and PLAIN.issuperset(map(type, args)):
            return function(*args)  # a copy of a number takes longer than most answers
        return function(*copy.deepcopy(args), **copy.deepcopy(kwargs))

    return call


def check(function):
    """Turn a function that calls `expect` and `fail` into a check that prints and never raises.

    The student's functions are its positional arguments; it gets them `guarded`. Whatever they
    raise is part of the verdict, `SystemExit` too; only the reader's Ctrl-C goes through.

    Examples
    --------
    >>> @check
    ... def check_double(double):
    ...     expect(double(3.0), 6.0, hint="add x to itself")
    >>> from companion.checks import expect
    >>> verdict = check_double(lambda x: ...)
    check_double: not yet: the answer is still to be written. Fill in the stub and run again.
    >>> verdict = check_double(lambda x: x * x)
    check_double: not right yet: expected 6.0, got 9.0. Hint: add x to itself.
    >>> check_double(lambda x: x + x).passed
    check_double: correct
    True
    """

    @functools.wraps(function)
    def checked(*answers, **options) -> Verdict:
        passed = False
        try:
            plain = (z if isinstance(z, type) or not callable(z) else guarded(z) for z in answers)
            function(*plain, **options)
            passed, message = True, "correct"
        except KeyboardInterrupt:
            raise
        except Unfinished as reason:
            message = f"not yet: {reason}. Fill in the stub and run again."
        except Wrong as reason:
            message = f"not right yet: {stopped(reason)}"
        except BaseException as error:
            message = f"not right yet: {type(error).__name__} was raised: {_text(error)}."
            if isinstance(error, NotImplementedError) and not error.args:  # torch says more
                message = "not yet: NotImplementedError is raised. Fill in the stub and run again."
        verdict = Verdict(passed, f"{function.__name__}: {message}")
        with contextlib.suppress(OSError, ValueError):  # closed, or a console without Greek
            print(verdict.message)
        return verdict

    return checked


def _text(error):
    try:
        text = str(error)
    except BaseException:
        return "an error that cannot be printed"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
