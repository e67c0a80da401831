"""One rule of evidence for every comparison: paired over seeds, Student's t, true medians."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor


class Interval(NamedTuple):
    """A mean with its confidence interval; unpacks as ``(mean, low, high)``."""

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of zero, else 0: not told apart."""
        return (self.low > 0) - (self.high < 0)


def interval(values, level: float = 0.95) -> Interval:
    r"""Return the mean of independent values and its interval by Student's t.

    .. math:: \bar d \pm t_{n-1} \, s / \sqrt n ,
              \qquad s^2 = \tfrac{1}{n-1} \textstyle\sum_i (d_i - \bar d)^2

    Parameters
    ----------
    values : sequence, array, Series or Tensor, shape (n,)
        One value a seed, n ≥ 2, finite.
    level : float, default .95
        Confidence, two-sided, inside (0, 1).

    Raises
    ------
    ValueError
        Fewer than two values, values that are not finite, another shape, or another level.

    Source: Student (1908), "The probable error of a mean".

    Examples
    --------
    >>> mean, low, high = interval([1.0, 2.0, 3.0])
    >>> print(f"{mean:.3f} [{low:.3f}, {high:.3f}]")
    2.000 [-0.484, 4.484]
    """
    d = _finite("values", values)
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number inside (0, 1), got {level!r}")
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1) / math.sqrt(len(d))
    return Interval(float(d.mean()), float(d.mean() - half), float(d.mean() + half))


def paired(a, b, level: float = 0.95) -> Interval:
    """Return the mean of ``a - b`` over seeds with its interval: where it lies below 0, a is less.

    Parameters
    ----------
    a, b : sequence, array, Series or Tensor, shape (n,)
        One value a seed, the same seeds in the same order; two Series must have the same index.
    level : float, default .95
        As for `interval`.

    Raises
    ------
    ValueError
        As for `interval`, and where the two have other lengths or other indices.

    Examples
    --------
    >>> paired([1.0, 2.0, 4.0], [2.0, 3.0, 5.5]).sign
    -1
    """
    return interval(np.subtract(*_pair(a, b)), level)


def paired_ratio(a, b, level: float = 0.95) -> Interval:
    """Return the geometric mean of ``a / b`` over seeds with its interval, which holds 1 or not.

    Parameters as for `paired`; all values are positive.

    Examples
    --------
    >>> mean, low, high = paired_ratio([1.0, 2.0, 4.0], [2.0, 4.0, 8.0])
    >>> round(mean, 12), round(high - low, 12)
    (0.5, 0.0)
    """
    a, b = _pair(a, b)
    if not (a > 0).all() or not (b > 0).all():
        raise ValueError("a, b: expected positive values for a ratio")
    return Interval(*map(math.exp, interval(np.log(a) - np.log(b), level)))


def verdict(found: Interval, null: float = 0.0, *, less="lower", more="higher") -> str:
    """Return what an interval says in words, "not told apart" where it holds the null value.

    Parameters
    ----------
    found : Interval
        Of a difference (null 0) or of a ratio (null 1).
    null : float, default 0
        The value that stands for no difference.
    less, more : str
        What it is called when the interval lies below the null value, and above it.

    Examples
    --------
    >>> verdict(paired([1.0, 2.0, 4.0], [2.0, 3.0, 5.5]))
    'lower'
    >>> verdict(paired_ratio([1.0, 2.0], [2.0, 1.0]), null=1.0)
    'not told apart'
    """
    if found.low > null:
        return more
    return less if found.high < null else "not told apart"


def median(values: Tensor, dim: int | None = None) -> Tensor:
    """Return the median along a dimension, the mean of the middle two where their number is even.

    ``torch.median`` returns the lower of the two, which decides comparisons. NaN gives NaN.

    Examples
    --------
    >>> median(torch.tensor([1.0, 2.0, 4.0, 8.0]))
    tensor(3.)
    """
    if not values.is_floating_point():
        raise ValueError(f"values: expected real floating point numbers, got {values.dtype}")
    if values.numel() == 0:
        raise ValueError("values: expected at least one number")
    flat, dim = (values.flatten(), 0) if dim is None else (values, dim)
    low, high = (flat.shape[dim] - 1) // 2, flat.shape[dim] // 2
    ordered = flat.sort(dim).values  # NaN comes last; quantile() refuses more than 16 million
    low, high = ordered.select(dim, low), ordered.select(dim, high)
    middle = torch.where(low == high, low, low / 2 + high / 2)  # infinity has no difference
    return middle.where(~flat.isnan().any(dim), math.nan)


def _pair(a, b) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(a, pd.Series) and isinstance(b, pd.Series) and not a.index.equals(b.index):
        raise ValueError("a, b: expected the same seeds in the same order")
    a, b = _finite("a", a), _finite("b", b)
    if len(a) != len(b):
        raise ValueError(f"a, b: expected one value a seed in both, got {len(a)} and {len(b)}")
    return a, b


def _finite(name: str, values) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"{name}: expected two values or more, one a seed, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite values, got {array[~np.isfinite(array)][0]}")
    return array
