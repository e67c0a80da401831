"""What cannot be done is refused: errors name the argument and the value."""

import pytest
import torch
from torch import nn

from companion.models import MLP
from companion.rotation import (
    Blocks,
    Composed,
    Identity,
    Kronecker,
    Permutation,
    RotatedOptimizer,
    chain,
    exponential,
    haar,
    matrix,
    output_wise,
    rotate,
    svd,
)
from tests.rotation.cases import F64, RULES

X = torch.nn.Parameter(torch.ones(2))


def stepped(sparse=False, freeze=False):
    """Take a step with a sparse gradient, or with a weight frozen after the optimizer was made."""
    table, bias = nn.Embedding(3, 2, sparse=sparse), nn.Parameter(torch.ones(2))
    optimizer = RotatedOptimizer([table.weight, bias], RULES["SGD"], haar(8))
    (table(torch.tensor([0, 2])) + bias).sum().backward()
    bias.requires_grad_(not freeze)
    optimizer.step()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: haar(0), "d: expected at least 1, got 0"),
        (lambda: haar(3.0), r"d: .*got 3\.0"),
        (lambda: haar(30_000), r"d: a matrix of 30,000 rows takes 7 GiB; .*chain\(d\)"),
        (lambda: Identity(10**8).dense(), "dense: a matrix of 100,000,000 rows"),
        (lambda: haar(3, 0.5), "seed: expected a whole number, got 0.5"),
        (lambda: chain(10, rounds=0), "rounds: expected at least 1, got 0"),
        (lambda: matrix(torch.ones(2, 2)), r"factors\[0\]: .*QᵀQ is off by 2"),
        (lambda: matrix(torch.full((2, 2), torch.nan)), r"factors\[0\]: expected an orthogonal"),
        (lambda: matrix(torch.eye(2, 3)), r"factors\[0\]: expected a real square matrix.*\(2, 3\)"),
        (lambda: matrix(torch.eye(2).long()), "factors.*torch.int64"),
        (
            lambda: Kronecker([2, 3], d=5),
            "d: expected at least 6, the product of the factors, got 5",
        ),
        (lambda: Kronecker([2, 0]), r"factors\[1\]: expected at least 1, got 0"),
        (lambda: Permutation([0, 2]), r"order: expected each of 0, …, d - 1 once"),
        (lambda: Permutation(torch.tensor([0, 0])), "order: expected each"),
        (lambda: Blocks([]), "rotations: expected at least one, got none"),
        (lambda: Composed([]), "rotations: expected one or more"),
        (lambda: haar(3) @ haar(4), "rotations: expected one or more of one size"),
        (lambda: haar(3) @ haar(3, **F64), "expected one dtype and device"),
        (lambda: exponential(torch.ones(2, 2)), "A: expected a real skew-symmetric matrix"),
        (lambda: exponential(torch.full((2, 2), torch.nan)), "A: expected a real skew"),
        (lambda: exponential(torch.zeros(2)), r"A: expected a square matrix, got .*\(2,\)"),
        (
            lambda: exponential(torch.zeros(2, 2), float("inf")),
            "t: expected a finite number, got inf",
        ),
        (
            lambda: haar(3)(torch.zeros(4)),
            r"x: expected a tensor of shape \(..., 3\), got .*\(4,\)",
        ),
        (lambda: haar(3)(torch.zeros(())), r"x: expected .*got shape \(\)"),
        (lambda: haar(3)([1, 2, 3]), "x: expected .*got 'list'"),
        (lambda: haar(3)(torch.zeros(3, **F64)), "x: expected torch.float32 on cpu.*rotation.to"),
        (lambda: output_wise([]), "params: expected at least one trained parameter"),
        (lambda: output_wise([torch.zeros(2, 2).long()]), r"params\[0\]: expected a real tensor"),
        (lambda: output_wise([torch.zeros(2, 0)]), r"params\[0\]: expected a real tensor with"),
        (
            lambda: output_wise([torch.zeros(1), torch.zeros(1, **F64)]),
            "params: expected tensors of",
        ),
        (lambda: svd([torch.full((2, 2), torch.inf)]), "matrices: expected finite numbers"),
        (lambda: rotate(MLP([2, 2]), haar(5)), "rotation: the model has 6 trained .*got d=5"),
        (lambda: rotate(MLP([2, 2]), haar(6, **F64)), "x: expected torch.float64"),
        (lambda: rotate(nn.ReLU(), haar(5)), "params: expected at least one trained parameter"),
        (lambda: rotate(3, haar(5)), "target: expected a function or a Module, got 3"),
        (lambda: rotate(MLP([2, 2]), torch.eye(6)), "rotation: expected a Rotation"),
        (
            lambda: RotatedOptimizer([X], RULES["Adam"], haar(3)),
            "rotation: the parameters have 2 numbers, got d=3",
        ),
        (
            lambda: RotatedOptimizer([X], lambda p: 3, haar(2)),
            "optimizer: expected a function params -> optimizer, got 3",
        ),
        (
            lambda: RotatedOptimizer([X], RULES["Adam"], haar(2)).add_param_group({}),
            "a RotatedOptimizer has one group",
        ),
        (lambda: haar(3, dtype=torch.bfloat16), "dtype: expected torch.float32 or .*bfloat16"),
        (lambda: rotate(MLP([2, 2]), haar(6)).half(), "dtype: expected torch.float32 or .*float16"),
        (lambda: rotate(MLP([2, 2]), haar(6)).write(torch.zeros(5)), r"x: .*\(6,\), got \(5,\)"),
        (
            lambda: RotatedOptimizer([X, X], RULES["Adam"], haar(4)),
            "params: expected each parameter once",
        ),
        (
            lambda: RotatedOptimizer([torch.nn.Parameter(X, False)], RULES["Adam"], haar(2)),
            "params: expected at least one trained parameter",
        ),
        (lambda: stepped(sparse=True), r"params\[0\]: its gradient is sparse"),
        (lambda: stepped(freeze=True), r"params\[1\]: it was frozen meanwhile"),
    ],
)
def test_errors_name_the_argument_and_the_value(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
