"""Statements about SGD, Adam and ADOPT as functions: stability, drifts, biases, lemmas, rates.

Every function states its formula and where it comes from: a paper, or "derived here".
"""

from companion.theory.blockwise import (
    blockwise_bound,
    corollary_options,
    growth_bound,
    ratio_sum_bound,
)
from companion.theory.color_balls import (
    draws,
    lemma_a1,
    lemma_a2,
    momentum_error,
    momentum_sum,
    momentum_sum_variance,
    wandering,
    weighted_momentum_error,
)
from companion.theory.cyclic import cyclic_drift, cyclic_threshold, drift_bound
from companion.theory.descent import average_error, gradient_bound
from companion.theory.drift import Drift, Threshold, drift, threshold
from companion.theory.full_batch import full_batch_rate, goal_error, step_bound
from companion.theory.rates import (
    adopt_rate,
    adopt_smooth_rate,
    adopt_variance_rate,
    sgd_decaying_rate,
    sgd_rate,
    sgd_smooth_rate,
)
from companion.theory.skewness import kappa, skewness_bias, skewness_threshold, step_deviation
from companion.theory.stability import (
    mean_square_limit,
    minibatch_floor,
    minibatch_gap,
    momentum_limit,
    second_moment_operator,
)

__all__ = [
    "Drift",
    "Threshold",
    "adopt_rate",
    "adopt_smooth_rate",
    "adopt_variance_rate",
    "average_error",
    "blockwise_bound",
    "corollary_options",
    "cyclic_drift",
    "cyclic_threshold",
    "draws",
    "drift",
    "drift_bound",
    "full_batch_rate",
    "goal_error",
    "gradient_bound",
    "growth_bound",
    "kappa",
    "lemma_a1",
    "lemma_a2",
    "mean_square_limit",
    "minibatch_floor",
    "minibatch_gap",
    "momentum_error",
    "momentum_limit",
    "momentum_sum",
    "momentum_sum_variance",
    "ratio_sum_bound",
    "second_moment_operator",
    "sgd_decaying_rate",
    "sgd_rate",
    "sgd_smooth_rate",
    "skewness_bias",
    "skewness_threshold",
    "step_bound",
    "step_deviation",
    "threshold",
    "wandering",
    "weighted_momentum_error",
]
