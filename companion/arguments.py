"""What arguments may be, and the errors for those that may not: shared by the rooms."""

import operator

import torch


def whole(name: str, value, least: int | None = None) -> int:
    """Return a whole number, of Python or NumPy, as an ``int``; raise unless it is one in range.

    Examples
    --------
    >>> whole("steps", 3.0)
    Traceback (most recent call last):
    TypeError: steps: expected a whole number, got 3.0
    """
    try:
        if isinstance(value, (bool, torch.Tensor)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, got {value!r}") from None
    if least is not None and number < least:
        raise ValueError(f"{name}: expected at least {least}, got {number}")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name}: expected a number of 64 bits, got {number}")
    return number


def one_of(name: str, value, allowed: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless the value is one of those allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name}: {value!r}; expected one of {', '.join(map(repr, allowed))}")
