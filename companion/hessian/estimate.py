"""What every estimator answers: a value with its error, its cost and its seed."""

from typing import NamedTuple

from torch import Tensor


class Estimate(NamedTuple):
    """A measured quantity of a linear operator.

    Attributes
    ----------
    value : Tensor
        The estimate: a scalar, or one entry a parameter or block. The operator's dtype and device.
    error : Tensor
        Of the same shape; ``kind`` says what it means.
    products : int
        Products with the operator that it took, counted in columns.
    seed : int or None
        The seed of its probes; None where nothing was drawn.
    kind : str
        "standard error": of a random value, NaN where no honest one is known. "exact": up to
        rounding; the error is 0. "bound": the quantity is within the error of the value. "lower
        bound": it is at least the value; how much more nobody knows, so the error is NaN.
    confidence : float or None
        Probability over the seed with which a "bound" holds, at least.

    Examples
    --------
    >>> import torch
    >>> Estimate(torch.tensor(6.0), torch.tensor(0.5), 20, 0)
    Estimate(value=tensor(6.), error=tensor(0.5000) (standard error), products=20, seed=0)
    """

    value: Tensor
    error: Tensor
    products: int
    seed: int | None = None
    kind: str = "standard error"
    confidence: float | None = None

    @property
    def stderr(self) -> Tensor:
        """The error, if it is a standard error; else an AttributeError."""
        if self.kind not in ("standard error", "exact"):
            raise AttributeError(f"the error is a {self.kind}, no standard error: see .error")
        return self.error

    def __repr__(self):
        kind = self.kind if self.confidence is None else f"{self.kind}, {100 * self.confidence:g} %"
        return (
            f"Estimate(value={self.value!r}, error={self.error!r} ({kind}), "
            f"products={self.products}, seed={self.seed})"
        )


def estimate(op, value: Tensor, error: Tensor, products: int, seed=None, **kind) -> Estimate:
    """Return an estimate in an operator's dtype, on its device; refuse one that does not fit."""
    value, error = (z.to(op.device, op.dtype) for z in (value, error))
    found = Estimate(value, error, products, seed, **kind)
    if not bool(found.value.isfinite().all()):
        raise FloatingPointError(f"op: the result is too large for {op.dtype}; scale it down")
    return found
