"""Tensors as tables, a row a number."""

import itertools

import pandas as pd
from torch import Tensor


def tidy(values: Tensor, column: str = "loss", **dimensions) -> pd.DataFrame:
    """Return a tensor as a table with one row a number.

    Parameters
    ----------
    values : Tensor
        Of any shape.
    column : str
        Name of the column that holds the numbers.
    **dimensions : sequence
        One a dimension of ``values``, in order: its name and the labels along it.

    Returns
    -------
    pandas.DataFrame
        With a column a dimension and the column of numbers.

    Examples
    --------
    >>> tidy(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), step=[0, 10], seed=range(2))
       step  seed  loss
    0     0     0   1.0
    1     0     1   2.0
    2    10     0   3.0
    3    10     1   4.0
    """
    labels = [v.tolist() if isinstance(v, Tensor) else list(v) for v in dimensions.values()]
    lengths = tuple(len(v) for v in labels)
    if lengths != tuple(values.shape):
        raise ValueError(
            f"values has shape {tuple(values.shape)}, but the labels of "
            f"{', '.join(dimensions) or 'no dimension'} have lengths {lengths}"
        )
    frame = pd.DataFrame(itertools.product(*labels), columns=list(dimensions))
    frame[column] = values.detach().flatten().tolist()
    return frame
