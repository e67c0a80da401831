"""What the arguments of a run may be, and the errors for those that may not."""


def check_counts(**limits) -> None:
    """Raise unless each ``name=(value, least)`` is a whole number of at least so much."""
    for name, (value, least) in limits.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name}: expected a whole number, got {value!r}")
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")


def check_batch_size(batch_size: int, n: int) -> None:
    """Raise ValueError unless a batch of this size can be drawn from n samples."""
    if not isinstance(batch_size, int) or not 1 <= batch_size <= n:
        raise ValueError(
            f"batch_size: expected 1 to {n}, the samples there are, got {batch_size!r}"
        )


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
