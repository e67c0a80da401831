"""What every estimator answers: a value with its standard error, its cost and its seed."""

from typing import NamedTuple

from torch import Tensor


class Estimate(NamedTuple):
    """A measured quantity of a linear operator.

    Attributes
    ----------
    value : Tensor
        The estimate: a scalar, or one entry a parameter or block. The operator's dtype and device.
    stderr : Tensor
        Its standard error, of the same shape; zero where the answer is exact up to rounding, NaN
        where no honest one is known.
    products : int
        Products with the operator that it took, counted in columns.
    seed : int or None
        The seed of its probes; None where nothing was drawn.
    """

    value: Tensor
    stderr: Tensor
    products: int
    seed: int | None = None
