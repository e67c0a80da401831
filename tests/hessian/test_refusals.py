"""Estimators refuse what they cannot do, by the argument and the value."""

import contextlib
import math

import pytest
import torch

from companion.hessian import (
    Dense,
    LinearOperator,
    extreme_eigenvalues,
    hutchpp,
    norm11,
    norm_inf_1,
    rademacher_rows,
    smoothness_bracket,
    spectral_norm,
    spectrum,
    tridiagonal,
    uniform_rows,
)
from companion.hessian.norms import METHODS
from tests.hessian.matrices import ESTIMATORS, symmetric


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda op: norm11(op, method="mean"), "method: .*got 'mean'"),
        (lambda op: norm11(op, method="mle"), "products: .*got None"),
        (lambda op: norm11(op, rtol=0.0), r"rtol: .*got 0\.0"),
        (lambda op: norm11(op, rtol="5 %"), "rtol: .*got '5 %'"),
        (lambda op: norm11(op, products=50, partition=7), "do not divide"),
        (lambda op: norm11(op, products=50, partition=torch.zeros(3).long()), "shape"),
        (lambda op: norm11(op, products=50, partition=torch.full((80,), 1)), "left out"),
        (lambda op: norm11(op, products=50, partition=torch.zeros(80)), "int64"),
        (lambda op: norm11(op, products=50, partition="rows"), "partition"),
        (lambda op: uniform_rows(op, 81), "products: expected 2 to d = 80, got 81"),
        (lambda op: rademacher_rows(op, 20, floor=0.0), "floor: .*got 0"),
        (lambda op: norm_inf_1(op, restarts=0), "restarts: .*got 0"),
        (lambda op: norm_inf_1(op, products=15), "products: .*at least 16, got 15"),
        (lambda op: smoothness_bracket(op, rank=0), "rank: .*got 0"),
        (lambda op: smoothness_bracket(op, products=16), "products: .*at least 17, got 16"),
        (lambda op: hutchpp(op, 7), "products: expected a multiple of three, got 7"),
        (lambda op: spectrum(op, probes=1), "probes: .*at least 2, got 1"),
        (lambda op: spectrum(op, steps=0), "steps: .*at least 1, got 0"),
        (lambda op: spectrum(op).density(torch.zeros(1), 0), "width: .*got 0"),
        (lambda op: spectral_norm(op, tolerance=-1), "tolerance: .*got -1"),
        (lambda op: spectral_norm(op, confidence=1), "confidence: .*between 0 and 1, got 1"),
        (lambda op: extreme_eigenvalues(op, k=0), "k: .*got 0"),
        (lambda op: tridiagonal(op, torch.zeros(80).double(), 3), "start: .*norm 0"),
        (lambda op: tridiagonal(op, torch.ones(3).double(), 3), r"start: .*shape \(3,\)"),
        (lambda op: Dense(op.matrix[:2]), r"square matrix, got the shape \(2, 80\)"),
        (lambda op: Dense(op.matrix.long()), "dtype: .*got torch.int64"),
        (lambda op: Dense(op.matrix + 1j), "dtype: .*got torch.complex128"),
        (lambda op: Dense(op.matrix.half()), "dtype: .*got torch.float16"),
        (lambda op: Dense(op.matrix[:0, :0]), "d: .*at least one row, got 0"),
        (
            lambda op: Dense(op.matrix.cumsum(1)),
            "matrix: expected a symmetric one, got .* 1;",
        ),
        *[
            (lambda op, f=f, n=n: f(op, products=n), f"products: .*got {n}")
            for f in (*METHODS.values(), norm11, hutchpp, spectral_norm, extreme_eigenvalues)
            for n in (0, 2.5, True)
        ],
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(Dense(torch.eye(80).double()))


class Broken(LinearOperator):
    """A product holds one number that is none, from the second product on."""

    def __init__(self, number):
        super().__init__(80, torch.float32, "cpu")
        self.number, self.products = number, 0

    def matmat(self, V):
        self.products += 1
        AV = symmetric(80).float() @ V
        AV[7, -1] = AV[7, -1] if self.products == 1 else self.number
        return AV


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_product_that_is_not_finite_is_one_kind_of_error(name, number):
    with pytest.raises(FloatingPointError, match="op: a product holds NaN or infinity"):
        ESTIMATORS[name](Broken(number))
    with pytest.raises(FloatingPointError, match="matrix: it holds NaN or infinity"):
        Dense(torch.full((2, 2), number))


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if n not in ("spectrum", "uniform rows")])
def test_a_result_beyond_the_dtype_is_an_error(name):
    """Products near the largest float32: some sums over 60 rows are larger, none is infinite."""
    with contextlib.suppress(FloatingPointError):
        found = ESTIMATORS[name](Dense(torch.full((60, 60), 3e37)))
        assert torch.as_tensor(found[0]).isfinite().all()
    with pytest.raises(FloatingPointError, match="too large"):
        norm11(Dense(torch.full((60, 60), 3e36)))
