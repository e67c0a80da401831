"""Hessians that are too large to store: products, and what can be estimated from them."""

from companion.hessian.base import Dense, LinearOperator
from companion.hessian.estimate import Estimate
from companion.hessian.operators import Curvature, GaussNewton, Hessian

__all__ = ["Curvature", "Dense", "Estimate", "GaussNewton", "Hessian", "LinearOperator"]

# The norms of the smoothness theory.
from companion.hessian.bracket import Bracket, norm_inf_1, smoothness_bracket
from companion.hessian.cauchy import cauchy_median, geometric_mean, median_factor, scale_mle
from companion.hessian.norms import norm11
from companion.hessian.rows import cauchy_rows, rademacher_rows, uniform_rows

__all__ += [
    "Bracket",
    "cauchy_median",
    "cauchy_rows",
    "geometric_mean",
    "median_factor",
    "norm11",
    "norm_inf_1",
    "rademacher_rows",
    "scale_mle",
    "smoothness_bracket",
    "uniform_rows",
]
