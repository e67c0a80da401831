"""Spectral density by stochastic Lanczos quadrature."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from companion.arguments import whole
from companion.hessian.base import LinearOperator
from companion.hessian.estimate import Estimate
from companion.hessian.lanczos import Lanczos
from companion.hessian.probes import gaussian, seeded
from companion.progress import bar


class Spectrum(NamedTuple):
    r"""Spectral density of a symmetric operator, as one quadrature a probe.

    Attributes
    ----------
    nodes, weights : Tensor
        Of shape (probes, m), float64: probe p has mass ``weights[p, i]`` at ``nodes[p, i]``, one
        in total; m is the number of steps, or less where the spaces of all probes are invariant.
    products : int
        Products with the operator.
    seed : int
        Of the probes.
    """

    nodes: Tensor
    weights: Tensor
    products: int
    seed: int

    def mean(self, f: Callable[[Tensor], Tensor]) -> Estimate:
        r"""Return :math:`\frac1d \operatorname{tr} f(A) = \frac1d \sum_i f(\lambda_i)`.

        Unbiased for polynomials of degree up to 2 · steps − 1; of other functions, what the
        quadrature of a smooth f leaves out falls geometrically with the steps.

        Parameters
        ----------
        f : callable
            Maps nodes (probes, steps) to values (..., probes, steps).
        """
        sample = (f(self.nodes) * self.weights).sum(-1)  # (..., probes)
        stderr = sample.std(-1) / math.sqrt(sample.shape[-1])
        return Estimate(sample.mean(-1), stderr, self.products, self.seed)

    def density(self, grid: Tensor, width: float) -> Estimate:
        """Return the density on a grid (g,), smoothed by a Gaussian of standard deviation width."""
        if not width > 0:
            raise ValueError(f"width: expected a positive number, got {width}")
        at = grid.to(self.nodes)[:, None, None]
        scale = width * math.sqrt(2 * math.pi)
        return self.mean(lambda nodes: torch.exp(-(((at - nodes) / width) ** 2) / 2) / scale)


def spectrum(
    op: LinearOperator, probes: int = 10, steps: int = 40, seed: int = 0, progress: bool = True
) -> Spectrum:
    r"""Return the spectral density :math:`\frac1d \sum_i \delta(t - \lambda_i)` of an operator.

    A probe v, uniform on the unit sphere, has :math:`E\, v^\top f(A) v = \frac1d \operatorname{tr}
    f(A)`, because :math:`E\, v v^\top = I / d`. Lanczos from v gives T with
    :math:`v^\top f(A) v \approx e_1^\top f(T) e_1 = \sum_i \tau_i^2 f(\theta_i)`, where θ are the
    eigenvalues of T and τ the first entries of its eigenvectors: exact for polynomials of degree up
    to 2 · steps − 1. The spread over probes gives the standard errors.

    Parameters
    ----------
    op : LinearOperator
        Symmetric.
    probes : int, default 10
        Number of v, at least two.
    steps : int, default 40
        Lanczos steps a probe; d at most.
    seed : int, default 0
        Of the probes.
    progress : bool, default True
        Show a bar after five seconds.

    Notes
    -----
    probes · steps products at most, all probes together in one pass a step; memory for as many
    vectors.

    References
    ----------
    Ubaru, Chen and Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature", SIAM J.
    Matrix Anal. Appl. 38, 2017; Ghorbani, Krishnan and Xiao, ICML 2019 (networks).

    Examples
    --------
    >>> from companion.hessian import Dense
    >>> A = Dense(torch.diag(torch.tensor([1.0, 2.0, 3.0])))
    >>> found = spectrum(A, probes=200, steps=3)
    >>> mean = found.mean(lambda t: t)
    >>> bool((mean.value - 2).abs() < 4 * mean.stderr)
    True
    """
    whole("probes", probes, 2)
    whole("steps", steps, 1)
    run = Lanczos(op, gaussian(op, probes, seeded(seed)), steps)
    with bar(run.steps, progress, desc="spectrum") as shown:
        while run.more:
            run.step()
            shown.update()
    nodes, vectors = run.ritz()  # a probe whose space is invariant has zeros of weight zero
    return Spectrum(nodes, vectors[:, 0] ** 2, probes * run.m, seed)
