r"""Extreme eigenvalues by the Lanczos method, with bounds on their errors that can be trusted.

A small residual says that **some** eigenvalue is near, not which one: beside many eigenvalues at
0.9, a single one at 1 shows in a random start by a part of size 1/√d only, and Lanczos may look
converged at 0.9 before it sees it. What has not been seen can be bounded all the same. From the
start q₁ the recurrence makes a polynomial of A,

.. math:: q_{m+1} = p_m(A)\, q_1, \qquad p_m(\lambda) = \prod_j \frac{\lambda - \theta_j}{\beta_j}

whose zeros are the Ritz values θ. It has length one: an eigenvector u of the eigenvalue λ has
:math:`|p_m(\lambda)|\, |\langle u, q_1 \rangle| \le 1`. For a start in a uniformly random direction

.. math:: P\big( |\langle u, q_1 \rangle| < \gamma \big) \le \gamma \sqrt{2 d / \pi},

so with the probability 1 − δ no such λ lies where :math:`|p_m| > 1/\gamma`, with
:math:`\gamma = \delta \sqrt{\pi / 2d}`, whatever the matrix and however many steps.

References
----------
Van Dorsselaer, Hochstenbach and van der Vorst, "Computing probabilistic bounds for extreme
eigenvalues of symmetric matrices with the Lanczos method", SIAM J. Matrix Anal. Appl. 22, 2001;
Kuczyński and Woźniakowski, "Estimating the largest eigenvalue by the power and Lanczos algorithms
with a random start", SIAM J. Matrix Anal. Appl. 13, 1992.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from companion.arguments import whole
from companion.hessian.base import LinearOperator
from companion.hessian.estimate import Estimate, estimate
from companion.hessian.lanczos import Lanczos
from companion.hessian.probes import gaussian, seeded
from companion.progress import bar


def extreme_eigenvalues(
    op: LinearOperator,
    k: int = 1,
    tolerance: float = 1e-3,
    products: int = 200,
    seed: int = 0,
    progress: bool = True,
    confidence: float = 0.999,
) -> tuple[Estimate, Estimate, Tensor]:
    r"""Return the k smallest and the k largest eigenvalues of a symmetric operator.

    Lanczos from a random start. It stops once all 2k errors are at most ``tolerance`` times the
    largest \|θ\|.

    Parameters
    ----------
    op : LinearOperator
        Symmetric.
    k : int, default 1
        Eigenvalues wanted at each end.
    tolerance : float, default 1e-3
        Relative to the spectral norm.
    products : int, default 200
        It ends there in any case; the errors then say how far it came.
    seed : int, default 0
        Of the start.
    progress : bool, default True
        Show a bar after five seconds.
    confidence : float, default 0.999
        Probability with which the errors hold, for all 2k eigenvalues together.

    Returns
    -------
    smallest, largest : Estimate
        Of shape (k,) each, ascending (fewer where the start sees fewer). The errors are bounds.
        Some eigenvalue lies within its error of each value: that is certain. The other way round,
        each of the k largest (smallest) different eigenvalues lies within the error of a value: for
        that holds the confidence. No value lies outside the spectrum, but for rounding.
    vectors : Tensor
        Of shape (d, 2k), the Ritz vectors of both, in this order.

    Notes
    -----
    One product a step; memory for ``products`` vectors. The error is the larger one of the residual
    :math:`\|A q - \theta q\|` and the distance to where :math:`|p_m| = 1/\gamma`, see above.
    Multiple eigenvalues show once. Where rounding ends a run too early for the tolerance, as may be
    in float32, others start from new vectors, and all of them have to miss what is missed.

    Examples
    --------
    >>> from companion.hessian import Dense
    >>> A = Dense(torch.diag(torch.tensor([-3.0, 1.0, 5.0])))
    >>> smallest, largest, _ = extreme_eigenvalues(A)
    >>> round(smallest.value.item(), 4), round(largest.value.item(), 4)
    (-3.0, 5.0)
    """
    whole("k", k, 1)

    def look(runs: list[Lanczos]):
        ritz = [run.ritz() for run in runs]
        low, high = (_end(runs, ritz, k, sign, (1 - confidence) / 2 / k) for sign in (-1, 1))
        size = max(low.values.abs().max(), high.values.abs().max())
        few = runs[0].m < 2 * k and runs[0].more
        return (low, high), not few and max(low.errors.max(), high.errors.max()) <= tolerance * size

    (low, high), spent = _search(op, tolerance, products, seed, progress, confidence, look)
    bound = {"seed": seed, "kind": "bound", "confidence": confidence}
    smallest = estimate(op, -low.values, low.errors, spent, **bound)
    largest = estimate(op, high.values.flip(0), high.errors.flip(0), spent, **bound)
    return smallest, largest, torch.cat([low.vectors(), high.vectors().flip(1)], 1)


def spectral_norm(
    op: LinearOperator,
    tolerance: float = 1e-3,
    products: int = 200,
    seed: int = 0,
    progress: bool = True,
    confidence: float = 0.999,
) -> Estimate:
    r"""Return the spectral norm :math:`\|A\|_2 = \max_i |\lambda_i|` of a symmetric operator.

    The larger end of :func:`extreme_eigenvalues`, which has the parameters.

    Returns
    -------
    Estimate
        The norm is at least the value, but for rounding, and with the confidence at most value +
        error. Some eigenvalue lies within the error of ± the value, certainly.

    Examples
    --------
    >>> from companion.hessian import Dense
    >>> round(spectral_norm(Dense(torch.diag(torch.tensor([-7.0, 1.0, 5.0])))).value.item(), 4)
    7.0
    """

    def look(runs: list[Lanczos]):
        ritz = [run.ritz() for run in runs]
        ends = [_end(runs, ritz, 1, sign, (1 - confidence) / 2) for sign in (-1, 1)]
        value = max(end.values[0] for end in ends)
        error = max(end.values[0] + end.errors[0] for end in ends) - value
        return (value, error), error <= tolerance * value

    found, spent = _search(op, tolerance, products, seed, progress, confidence, look)
    return estimate(op, *found, spent, seed=seed, kind="bound", confidence=confidence)


def _search(op, tolerance, products, seed, progress, confidence, look):
    """Take steps, from one start or several, until ``look`` finds enough; return what it found."""
    whole("products", products, 1)
    if not tolerance >= 0:
        raise ValueError(f"tolerance: expected a number of at least 0, got {tolerance}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence}")
    generator, runs, spent = seeded(seed), [], 0
    with bar(products, progress, "product", desc="Lanczos") as shown:
        while spent < products and not (runs and runs[-1].m == op.d):
            runs.append(Lanczos(op, gaussian(op, 1, generator), products - spent))
            while runs[-1].more:
                runs[-1].step()
                spent += 1
                shown.update()
                found, enough = look(runs)
                if enough:
                    return found, spent
    return found, spent


class End(NamedTuple):
    """The outermost eigenvalues of ±A, the largest first, float64, and how to get their vectors."""

    values: Tensor
    errors: Tensor
    run: Lanczos
    coefficients: Tensor

    def vectors(self) -> Tensor:
        Q = self.run.Q[0]
        return Q.T @ self.coefficients.to(Q)


def _end(runs: list[Lanczos], ritz: list, k: int, sign: int, failure: float) -> End:
    """Return the k outermost eigenvalues of ±A; one of them has the error with P ≤ failure."""
    n = len(runs)
    # All n starts have parts of u below 1/reach with P ≤ failure / 2ⁿ: a sum over n of failure.
    share = (failure / 2**n) ** (1 / n)
    log_reach = max(0.0, -math.log(share * math.sqrt(math.pi / 2 / runs[0].op.d)))
    ends, edges = [], []
    for run, (values, vectors) in zip(runs, ritz, strict=True):
        theta, last = sign * values[0].cpu(), vectors[0, -1].abs().cpu()
        beta, rounding = run.beta[0].cpu(), run.rounding[0].cpu()
        order = theta.argsort(descending=True)[:k]
        residuals = beta[-1] * last[order] + rounding
        ends.append(End(theta[order], residuals, run, vectors[0][:, order.to(vectors.device)]))
        if run.m == run.op.d:
            edges.append(theta[order])
        else:
            betas = torch.cat([beta[:-1], (beta[-1] + rounding).unsqueeze(0)]).numpy()
            edges.append(torch.from_numpy(_edges(theta.sort().values.numpy(), betas, log_reach, k)))
    best = max(ends, key=lambda end: end.values[0])
    errors = best.errors.clone()
    for edge in edges:
        m = min(len(edge), len(errors))
        errors[:m] = torch.maximum(errors[:m], edge[:m] - best.values[:m])
    return best._replace(errors=errors)


def _edges(theta: np.ndarray, beta: np.ndarray, log_reach: float, k: int) -> np.ndarray:
    """Return how far up λ may lie that belong to each of the k largest θ, the largest first.

    θ ascends. Between two of them |p| has one peak, which log |p|, being concave, lets bisection
    find; a λ lies where log |p| ≤ log_reach. A peak below that does not tell two θ apart.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        level = log_reach + np.log(beta).sum()
        top = theta[::-1][:k]
        above = np.concatenate([theta[-1:] + np.exp(level / len(theta)), top[:-1]])

        def log_p(x):
            return np.log(np.abs(x[:, None] - theta)).sum(1)

        peak = above  # beyond the last θ, |p| only grows
        if k > 1:
            peak = _bisect(top, above, lambda x: (1 / (x[:, None] - theta)).sum(1) > 0)
        edge = _bisect(top, peak, lambda x: log_p(x) < level)
        apart = log_p(peak) >= level
    for i in range(1, len(top)):
        if not apart[i]:
            edge[i] = edge[i - 1]
    return edge


def _bisect(low: np.ndarray, high: np.ndarray, below: Callable) -> np.ndarray:
    """Return the points between low and high up to which ``below`` is true."""
    for _ in range(60):
        middle = (low + high) / 2
        yes = below(middle)
        low, high = np.where(yes, middle, low), np.where(yes, high, middle)
    return high
