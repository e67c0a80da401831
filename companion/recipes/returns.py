"""What a few returns say: interquartile means, and intervals by resampling seeds.

The measure and the interval are those that Agarwal et al. (2021) propose for benchmarks with few
runs. They leave out what is rare, good or bad; report them beside the single seeds.
"""

import numpy as np

from companion.evidence import Interval


def interquartile_mean(values, axis: int = -1) -> np.ndarray:
    r"""Return the mean of the middle half of the values.

    .. math:: 2 \int_{1/4}^{3/4} Q(p) \, dp, \qquad Q(p) = x_{(i)} \text{ for }
              \tfrac{i - 1}{n} < p \le \tfrac in

    Values at an edge of the half count by their share: of three values the middle one weighs 2/3.
    Where 4 divides n it is the mean without the n/4 lowest and highest.

    Parameters
    ----------
    values : array
    axis : int, default -1

    Examples
    --------
    >>> round(float(interquartile_mean([0.0, 6.0, 600.0])), 9)
    104.0
    >>> float(interquartile_mean([-1e9, 1.0, 2.0, 1e9]))
    1.5
    """
    ordered = np.sort(np.asarray(values, dtype=float), axis)
    ends = np.arange(ordered.shape[axis] + 1) / ordered.shape[axis]
    weights = 2 * np.diff(ends.clip(0.25, 0.75))
    return np.moveaxis(ordered, axis, -1) @ weights


def bootstrap(scores, other=None, *, level=0.95, draws=5000, seed=0) -> Interval:
    """Return the interquartile mean of all scores, with a bootstrap interval.

    Runs are drawn with replacement, in each task by itself (stratified); the interval ends at the
    quantiles of what is found.

    Parameters
    ----------
    scores : array, shape (runs,) or (runs, tasks)
        One number a run and task, such as the final return.
    other : array of this shape, optional
        The result is then the difference of the two interquartile means; a draw takes the same
        runs of both, which are pairs.
    level, draws, seed
        Confidence; how many times to draw; of the generator.

    Notes
    -----
    It ends within the range of the observed values. Of few runs it is too short: the range of n
    values holds the true median with probability 1 - 2^(1 - n) only.

    Examples
    --------
    >>> found = bootstrap([1.0, 2.0, 3.0, 4.0])
    >>> found.mean, found.low >= 1.0, found.high <= 4.0
    (2.5, True, True)
    """
    parts = [np.asarray(x, dtype=float) for x in (scores, other) if x is not None]
    parts = [x[:, None] if x.ndim == 1 else x for x in parts]
    if len({x.shape for x in parts}) > 1:
        raise ValueError(f"scores, other: expected one shape, got {[x.shape for x in parts]}")
    runs, tasks = parts[0].shape
    chosen = np.random.default_rng(seed).integers(runs, size=(draws, runs, tasks))

    def value(of):
        found = [interquartile_mean(of(x)) for x in parts]
        return found[0] if len(found) == 1 else found[0] - found[1]

    drawn = value(lambda x: x[chosen, np.arange(tasks)].reshape(draws, -1))
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(value(lambda x: x.reshape(-1))), float(low), float(high))
