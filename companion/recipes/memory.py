"""What a parameter costs in memory while it is trained: itself, its gradient, the rule's state."""

import pandas as pd
import torch
from torch import nn

from companion import optim


def state_bytes(optimizer, dtype=torch.float32, shape=(64, 64), **options) -> float:
    """Return the bytes of state that an optimizer keeps for a parameter, read off its tensors.

    Parameters
    ----------
    optimizer : type
        A class of `companion.optim`, or any of torch's.
    dtype : torch.dtype
        Of the parameters.
    shape : tuple of int
        Of the matrix that is stepped once. What is kept a matrix or a row is shared by its entries,
        so that the result depends a little on it.
    **options
        Of the optimizer.

    Examples
    --------
    >>> state_bytes(optim.Adam)
    8.0
    >>> state_bytes(torch.optim.Adam, torch.bfloat16)
    4.0
    """
    p = nn.Parameter(torch.ones(shape, dtype=dtype))
    p.grad = torch.ones_like(p)
    stepped = optimizer([p], **options)
    stepped.step()
    kept = {name: z for name, z in stepped.state[p].items() if name != "step"}
    tensors = [z for z in kept.values() if isinstance(z, torch.Tensor)]
    return sum(z.numel() * z.element_size() for z in tensors) / p.numel()


def table(rules=None) -> pd.DataFrame:
    """Return a row a rule: bytes of state a parameter, and with parameter and gradient.

    Parameters
    ----------
    rules : dict, optional
        Name → (class, options); default every optimizer of the package, as it comes.

    Examples
    --------
    >>> [str(value) for value in table({"ADOPT": (optim.ADOPT, {})}).iloc[0]]
    ['ADOPT', '8.0', '16.0', '12.0']
    """
    rules = rules or {name: (getattr(optim, name), {}) for name in optim.__all__}
    rows = []
    for name, (rule, options) in rules.items():
        wide, half = (state_bytes(rule, t, **options) for t in (torch.float32, torch.bfloat16))
        rows.append([name, wide, 8 + wide, 4 + half])
    columns = ["rule", "state", "in all, float32 parameters", "in all, bfloat16 parameters"]
    return pd.DataFrame(rows, columns=columns)


def divided(parameters: float, bytes_each: float, processes: int) -> float:
    """Return the GiB that each of so many processes holds of what is divided evenly.

    Examples
    --------
    >>> divided(2**30, 16, 4)
    4.0
    """
    return parameters * bytes_each / processes / 2**30
