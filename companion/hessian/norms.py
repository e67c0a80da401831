r"""The (1,1)-norm of a symmetric operator, by whichever estimator suits."""

import math
import numbers

from torch import Tensor

from companion.arguments import whole
from companion.hessian.base import LinearOperator
from companion.hessian.cauchy import LogMeans, cauchy_median, geometric_mean, scale_mle
from companion.hessian.estimate import Estimate
from companion.hessian.probes import seeded
from companion.hessian.rows import (
    Draws,
    all_rows,
    cauchy_rows,
    rademacher_rows,
    uniform_rows,
)

METHODS = {
    "algorithm 4": cauchy_median,
    "median": lambda *args, **options: cauchy_median(*args, corrected=True, **options),
    "geometric mean": geometric_mean,
    "mle": scale_mle,
    "uniform rows": uniform_rows,
    "rademacher rows": rademacher_rows,
    "cauchy rows": cauchy_rows,
}


def norm11(
    op: LinearOperator,
    *,
    rtol: float | None = 0.05,
    products: int | None = None,
    method: str = "adaptive",
    seed: int = 0,
    partition: int | Tensor | None = None,
    progress: bool = True,
) -> Estimate:
    r"""Estimate ‖H‖_{1,1} = Σ_ij |H_ij|.

    The default takes Cauchy probes and watches the error of their `geometric_mean`. Where that
    falls fast, as it does when rows hardly share entries, it goes on; otherwise it turns to exact
    rows, as `cauchy_rows` does, until the standard error is at most ``rtol`` times the estimate.
    About π/rtol products are enough for any matrix, 63 at 5 %, and seldom more than √2 times that;
    the medians of Algorithm 4 need up to 2.47/rtol², 987 at 5 %. Where d is so small that all rows
    cost little more, they give the exact answer.

    Parameters
    ----------
    op : LinearOperator
        H, symmetric, of shape (d, d).
    rtol : float, default 0.05
        Relative standard error to reach, with the method "adaptive" and no ``products``.
    products : int, optional
        Products to spend, at least 6, instead of a tolerance. The other methods need it.
    method : str, default "adaptive"
        Or "algorithm 4" (the paper's), "median" (without its bias), "geometric mean", "mle",
        "uniform rows", "rademacher rows", "cauchy rows": see these functions.
    seed : int, default 0
        Of everything that is drawn.
    partition : None, int or Tensor
        None for the norm; else one sum for each block of rows: a number of equal contiguous blocks,
        d for one a row, or int64 labels of shape (d,). The tolerance is that of the whole sum.
    progress : bool, default True
        Show a bar after five seconds.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        An unknown method, a tolerance outside (0, 1), too few products.

    Notes
    -----
    Memory: 32 running sums and 16 columns of d numbers; all products for the medians and "mle".
    Who stops when the error looks small meets errors that look too small: the standard error that
    goes with a tolerance has one of its own added. It still covers less than at a fixed number of
    products; ``benchmarks/norms.py`` measures how much.

    Examples
    --------
    >>> from companion.hessian.base import Dense
    >>> H = torch.randn(2000, 2000, generator=torch.Generator().manual_seed(0))
    >>> H = H + H.T
    >>> found = norm11(Dense(H))
    >>> found.products < 100, bool((found.value - H.abs().sum()).abs() < 3 * found.stderr)
    (True, True)
    """
    if method == "adaptive":
        if products is None:
            return _to_tolerance(op, rtol, seed, partition, progress)
        return _to_budget(op, products, seed, partition, progress)
    if method not in METHODS:
        raise ValueError(f"method: expected one of {['adaptive', *METHODS]}, got {method!r}")
    if products is None:
        raise ValueError(f"products: the method {method!r} needs a number, got None")
    return METHODS[method](op, products, seed=seed, partition=partition, progress=progress)


def _to_budget(op, products, seed, partition, progress) -> Estimate:
    """Spend half on probes; the other half on whichever promises the smaller error."""
    whole("products", products, 6)
    if products >= op.d:
        return all_rows(op, partition, progress)
    means = LogMeans(op, seeded(seed), progress)
    means.add(products // 2)
    rest = products - means.n
    value, stderr, *_ = means.estimate(seed)
    if stderr * math.sqrt(means.n / products) <= value * math.pi / 2 / math.sqrt(means.n * rest):
        means.add(rest)
        return means.estimate(seed, partition)
    drawn = Draws.by_means(means)
    drawn.add(rest)
    return drawn.estimate(means.n, seed, partition)


def _to_tolerance(op, rtol, seed, partition, progress) -> Estimate:
    """Take probes, then rows, until the error is small; or probes alone, if they will do."""
    if not isinstance(rtol, numbers.Real) or not 0 < rtol < 1:
        raise ValueError(f"rtol: expected a number between 0 and 1, got {rtol!r}")
    half = math.ceil(math.pi / 2 / rtol)  # so many probes and as many rows usually do
    if 3 * half >= op.d:
        return all_rows(op, partition, progress)
    means, enough = (
        LogMeans(op, seeded(seed), progress),
        0,
    )  # probes that would be enough without rows
    while means.n < half or enough <= 2 * half:
        means.add(8)
        value, stderr, *_ = _careful(means.estimate(seed), means.n)
        if means.n >= 16 and stderr <= rtol * value:
            return _careful(means.estimate(seed, partition), means.n)
        enough = means.n * float(stderr / value / rtol) ** 2
    drawn = Draws.by_means(means)
    while len(drawn.norms) < op.d - means.n:
        drawn.add(8)
        m = len(drawn.rows)
        value, stderr, products, *_ = _careful(drawn.estimate(means.n, seed), m)
        if m >= 16 and stderr <= rtol * value:
            return _careful(drawn.estimate(means.n, seed, partition), m)
    return all_rows(op, partition, progress)._replace(products=op.d + products)


def _careful(estimate: Estimate, n: int) -> Estimate:
    """Add to a standard error from n draws its own: who stops when it is small meets small ones."""
    return estimate._replace(error=estimate.error * (1 + 1 / math.sqrt(2 * n)))
