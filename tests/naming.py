"""Names of test cases."""

from functools import partial


def label(value):
    """Name a case in pytest's output."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, dict):
        return "-".join(f"{k}={getattr(v, '__name__', v)}" for k, v in value.items()) or "defaults"
    value = value.func if isinstance(value, partial) else value
    # Never an address: the processes that share the tests have to agree on their names.
    return getattr(value, "__name__", str(value))
