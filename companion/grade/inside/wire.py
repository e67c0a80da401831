"""Plain data between two processes: numbers, text and lists of them, as one line of JSON.

Never pickle: what comes back was written by a stranger. A tensor or an array travels as nested
lists, which keep float64 bit for bit; ``{"array": …}`` marks what the other side makes a tensor.
"""

import json
import math

LONGEST = 4_000_000  # bytes of one message
ENTRIES = 200_000  # numbers in one answer
DEPTH = 8


class NotPlain(Exception):
    """An answer that is no number, text, or list of them."""


def write(message: dict) -> bytes:
    r"""Return a message as one line.

    Examples
    --------
    >>> write({"value": [1.0, float("nan")]})
    b'{"value": [1.0, NaN]}\n'
    """
    return json.dumps(message).encode() + b"\n"


def read(line: bytes) -> dict:
    """Return the message of a line; ``{}`` where it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if type(message) is dict else {}


def plain(value, depth: int = 0):
    """Return an answer as plain data; ``None`` where it is not written yet (``None`` or ``...``).

    Raises
    ------
    NotPlain
        Where it is nothing of the kind; the message says what it is.
    """
    if value is None or value is ...:
        return None
    if type(value) in (bool, int, float, str):
        return value
    if depth > DEPTH:
        raise NotPlain("lists in lists without an end")
    if callable(getattr(type(value), "detach", None)):  # a tensor
        value = value.detach()
        return plain((value.to_dense() if value.is_sparse else value).cpu().tolist(), depth)
    if callable(getattr(type(value), "tolist", None)):  # an array or one of its numbers
        return plain(value.tolist(), depth)
    if isinstance(value, (list, tuple)):
        return [plain(part, depth + 1) for part in value]
    if callable(getattr(type(value), "__float__", None)):
        return float(value)
    raise NotPlain(f"a {type(value).__name__} instead of a number, a tensor or a list")


def clean(text: str) -> str:
    r"""Return a text that can be written as UTF-8.

    Examples
    --------
    >>> clean("\ud800x")
    '?x'
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def checked(value, depth: int = 0, room: list | None = None):
    """Return data that came from a student's process, if it is what `plain` makes.

    Raises
    ------
    NotPlain
        If it is not, is too deep, or holds too many numbers.
    """
    room = [ENTRIES] if room is None else room
    room[0] -= 1
    if room[0] < 0 or depth > DEPTH + 1:
        raise NotPlain("more numbers than any answer needs")
    if type(value) is list:
        return [checked(part, depth + 1, room) for part in value]
    if type(value) is int and value.bit_length() > 1000:
        return math.inf if value > 0 else -math.inf
    if value is None or type(value) in (bool, int, float):
        return value
    if type(value) is str:
        return clean(value[:1000])
    raise NotPlain("something that is no number")
