r"""Orthogonal operators on parameter space, and training in rotated coordinates.

For an orthogonal R the rotated loss is L∘R: where the native one is at x = R x', it has the same
value at x'. Training it from x'₀ = Rᵀx₀ starts at the same loss. The gradient there is Rᵀ∇L(R x').
"""

from companion.rotation.choices import (
    chain,
    exponential,
    haar,
    input_wise,
    layer_wise,
    matrix,
    output_wise,
    skew,
    svd,
)
from companion.rotation.model import RotatedModel, rotate, rotate_gradient
from companion.rotation.operators import (
    Blocks,
    Composed,
    Identity,
    Kronecker,
    Permutation,
    Rotation,
    Transposed,
)
from companion.rotation.optimizer import RotatedOptimizer
from companion.rotation.vectors import flatten, unflatten

__all__ = ["Blocks", "Composed", "Identity", "Kronecker", "Permutation", "Rotation", "Transposed"]
__all__ += ["chain", "exponential", "haar", "input_wise", "layer_wise", "matrix", "output_wise"]
__all__ += ["RotatedModel", "RotatedOptimizer", "flatten", "rotate", "rotate_gradient", "skew"]
__all__ += ["svd", "unflatten"]
