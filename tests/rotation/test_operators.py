"""Operators are orthogonal and do what their matrices do."""

import pytest
import torch
from torch.func import jvp, vmap

from companion.rotation import (
    Blocks,
    Composed,
    Identity,
    Kronecker,
    Permutation,
    chain,
    exponential,
    haar,
    input_wise,
    layer_wise,
    output_wise,
    skew,
    svd,
)
from tests.rotation.cases import F64, equal

ORDER = torch.tensor([3, 0, 11, 7, 1, 10, 2, 9, 5, 4, 8, 6])
SHAPES = [torch.zeros(2, 3, **F64), torch.zeros(2, **F64), torch.zeros(2, 1, 2, **F64)]  # d = 12
OPERATORS = {
    "identity": Identity(12),
    "permutation": Permutation(ORDER),
    "haar": haar(12, 1, **F64),
    "exponential": exponential(skew(12, 2), 0.3),
    "kronecker, middle axis": Kronecker([2, haar(3, 3, **F64).parts[0], 2]),
    "kronecker, some left out": Kronecker([haar(k, k, **F64).parts[0] for k in (5, 2)], d=12),
    "chain": chain(12, 4, **F64),
    "chain of three rounds": chain(12, 4, rounds=3, **F64),
    "layer-wise": layer_wise(SHAPES, 5),
    "output-wise": output_wise(SHAPES, 6),
    "input-wise": input_wise(SHAPES, 7),
    "svd": svd([torch.randn(p.shape, **F64) for p in SHAPES]),
    "blocks": Blocks([haar(7, 8, **F64), Identity(2), haar(3, 9, **F64)]),
    "composed": haar(12, 10, **F64) @ Permutation(ORDER) @ chain(12, 11, **F64),
    "transposed": (chain(12, 12, **F64) @ Permutation(ORDER)).T,
}


@pytest.mark.parametrize("R", OPERATORS.values(), ids=OPERATORS)
def test_an_operator_is_an_orthogonal_matrix(R):
    assert R.d == 12
    Q = R.dense(torch.float64)
    equal(Q @ Q.T, torch.eye(12, **F64), 1e-12)
    equal(R.T.dense(torch.float64), Q.T, 1e-12)
    x = torch.randn(2, 3, 12, **F64)
    equal(R(x), x @ Q.T, 1e-12)
    equal(R.T(x), x @ Q, 1e-12)
    equal(R(x[0, 0]), Q @ x[0, 0], 1e-12)
    equal(R.T(R(x)), x, 1e-12)
    equal(R.T.T(x), R(x), 0)
    assert R.error() < 1e-14


@pytest.mark.parametrize("R", OPERATORS.values(), ids=OPERATORS)
def test_an_operator_differentiates_and_batches(R):
    x, v = torch.randn(2, 12, **F64)
    Q = R.dense(torch.float64)
    x.requires_grad_()
    (g,) = torch.autograd.grad(R(x).pow(3).sum() / 3, x, create_graph=True)
    equal(g, Q.T @ (Q @ x).square())
    equal(torch.autograd.grad(g @ v, x)[0], Q.T @ (2 * (Q @ x) * (Q @ v)))
    equal(jvp(R, (x,), (v,))[1], Q @ v)
    batch = torch.randn(5, 12, **F64)
    equal(vmap(R)(batch), R(batch), 1e-13)


def test_products_are_those_of_matrices():
    A, B, C = haar(6, 0, **F64), Permutation(torch.tensor([1, 2, 0, 5, 3, 4])), chain(6, 1, **F64)
    a, b, c = (R.dense(torch.float64) for R in (A, B, C))
    equal((A @ B @ C).dense(), a @ b @ c, 1e-14)
    equal((A @ B).T.dense(), b.T @ a.T, 1e-14)
    equal(Composed([B, A]).dense(), b @ a, 1e-14)
    equal(Blocks([A, B]).dense(), torch.block_diag(a, b), 1e-14)
    factors = [haar(k, k, **F64).dense() for k in (2, 3, 2)]
    product = torch.kron(torch.kron(factors[0], factors[1]), factors[2])
    equal(Kronecker(factors).dense(), product, 1e-14)
    equal(Kronecker(factors, 14).dense(), torch.block_diag(product, torch.eye(2, **F64)), 1e-14)
    W = torch.randn(2, 3, **F64)
    equal(Kronecker(factors[:2])(W.flatten()), (factors[0] @ W @ factors[1].T).flatten(), 1e-14)


def test_autocast_does_not_touch_a_rotation():
    R, x = chain(1000, 0), torch.randn(1000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = R(x)
    equal(y, R(x), 0)


def test_a_rotation_multiplies_rotations_only():
    with pytest.raises(TypeError, match="unsupported operand"):
        haar(3) @ torch.eye(3)
