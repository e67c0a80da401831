"""Toy problems: losses with exact gradients, and gradient oracles with exactly known noise.

A problem takes x of shape (..., d) and treats every leading index as a problem of its own. What an
oracle is, and in which orders it draws samples: `companion.problems.oracles`.
"""

from companion.problems.adopt_toy import AdoptToy
from companion.problems.finite_sum import FiniteSum, LeastSquares, SparseLogistic
from companion.problems.jump import RareJump
from companion.problems.landscapes import (
    beale,
    gradient,
    rastrigin,
    ravine,
    rosenbrock,
    saddle,
    turned,
)
from companion.problems.nonsmooth import DeadReLU, HingeOutlier
from companion.problems.oracles import Samples
from companion.problems.quadratic import Quadratic
from companion.problems.rare import Linear, RareGradient
from companion.problems.reddi import Reddi1010, ReddiMod3, ReddiStochastic
from companion.problems.rprop import HintonRprop
from companion.problems.zhang import Function2, TenParabolas

__all__ = [
    "AdoptToy",
    "DeadReLU",
    "FiniteSum",
    "Function2",
    "HingeOutlier",
    "HintonRprop",
    "LeastSquares",
    "Linear",
    "Quadratic",
    "RareGradient",
    "RareJump",
    "Reddi1010",
    "ReddiMod3",
    "ReddiStochastic",
    "Samples",
    "SparseLogistic",
    "TenParabolas",
    "beale",
    "gradient",
    "rastrigin",
    "ravine",
    "rosenbrock",
    "saddle",
    "turned",
]
