"""What the arguments of a run may be, and the errors for those that may not."""

import math
from numbers import Real

from companion.arguments import whole


def batch_length(value, n: int) -> int:
    """Return a batch size that can be drawn from n samples; raise ``ValueError`` for others."""
    try:
        number = whole("batch_size", value)
    except TypeError:
        number = 0
    if not 1 <= number <= n:
        raise ValueError(f"batch_size: expected 1 to {n}, the samples there are, got {value!r}")
    return number


def norm_bound(value) -> float | None:
    """Return ``clip_norm``; raise ``ValueError`` unless it is None or a number above 0."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
        raise ValueError(f"clip_norm: expected None or a number above 0, got {value!r}")
    return float(value)


def made(name: str, value, kind: type, argument):
    """Return an instance of a kind: the value itself, or what it makes of its argument."""
    if isinstance(value, kind):
        return value
    if callable(value):
        made = value(argument)
        if isinstance(made, kind):
            return made
        value = made
    raise TypeError(
        f"{name}: expected a {kind.__name__} or a function that makes one, got {value!r}"
    )
