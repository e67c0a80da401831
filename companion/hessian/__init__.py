"""Hessians that are too large to store: products, and what can be estimated from them."""

from companion.hessian.base import Dense, LinearOperator
from companion.hessian.bracket import Bracket, norm_inf_1, smoothness_bracket
from companion.hessian.cauchy import cauchy_median, geometric_mean, median_factor, scale_mle
from companion.hessian.curvature import Curvature
from companion.hessian.eigenvalues import extreme_eigenvalues, spectral_norm
from companion.hessian.estimate import Estimate
from companion.hessian.lanczos import tridiagonal
from companion.hessian.norms import norm11
from companion.hessian.operators import GaussNewton, Hessian
from companion.hessian.rows import cauchy_rows, rademacher_rows, uniform_rows
from companion.hessian.smoothness import partition_labels, smoothness_report, smoothness_table
from companion.hessian.spectrum import Spectrum, spectrum
from companion.hessian.trace import diagonal, frobenius_norm, hutchpp, trace

__all__ = ["Curvature", "Dense", "GaussNewton", "Hessian", "LinearOperator"]
__all__ += ["Bracket", "Estimate", "Spectrum", "diagonal", "extreme_eigenvalues", "frobenius_norm"]
__all__ += ["hutchpp", "spectral_norm", "spectrum", "trace", "tridiagonal"]
# The norms of the smoothness theory.
__all__ += ["cauchy_median", "cauchy_rows", "geometric_mean", "median_factor", "norm11"]
__all__ += ["norm_inf_1", "partition_labels", "rademacher_rows", "scale_mle", "smoothness_bracket"]
__all__ += ["smoothness_report", "smoothness_table", "uniform_rows"]
