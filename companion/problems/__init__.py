"""Toy problems: losses with exact gradients, and gradient oracles with exactly known noise.

A problem takes x of shape (..., d) and treats every leading index as a problem of its own. An
oracle is a function ``(x, generator) -> g``. Its random numbers have the shape of the last two
dimensions of x, (seeds, d): they differ between seeds and are the same in every cell in front. An
oracle that walks through data has a method ``reset()``, which `companion.simulate` calls first.
"""

from companion.problems.finite_sum import FiniteSum, LeastSquares, SparseLogistic
from companion.problems.landscapes import gradient, rastrigin, ravine, rosenbrock
from companion.problems.quadratic import Quadratic
from companion.problems.rprop import HintonRprop

__all__ = [
    "FiniteSum",
    "HintonRprop",
    "LeastSquares",
    "Quadratic",
    "SparseLogistic",
    "gradient",
    "rastrigin",
    "ravine",
    "rosenbrock",
]
