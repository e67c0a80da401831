"""What a test hands to a student's function, as plain data: numbers, arrays, what a set makes."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Given:
    """Stands for what a function of the set makes in the student's process."""

    name: str
    args: tuple = ()
    keywords: dict = field(default_factory=dict)


def asked(name: str, args, keywords: dict, gradients=None, state=()) -> dict:
    """Return the request for a call, or for a rule's path over gradients, as plain data."""
    request = {"name": name, "args": packed(args)}
    request["keywords"] = {key: packed(value) for key, value in keywords.items()}
    if gradients is not None:
        request |= {"gradients": packed(gradients), "state": packed(list(state))}
    return request


def packed(value):
    """Return an argument as plain data, with marks on what arrives as something else.

    Examples
    --------
    >>> import numpy as np
    >>> packed(np.array([1.0, 2.0])), packed([1.0, np.float64(2.0)])
    ({'array': [1.0, 2.0], 'kind': 'f'}, [1.0, 2.0])
    """
    if isinstance(value, Given):
        keywords = {key: packed(part) for key, part in value.keywords.items()}
        return {"make": value.name, "args": packed(value.args), "keywords": keywords}
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        value = value.numpy() if hasattr(value, "numpy") else value
        return {"array": value.tolist(), "kind": "i" if value.dtype.kind in "iu" else "f"}
    return [packed(part) for part in value] if isinstance(value, (list, tuple)) else value
