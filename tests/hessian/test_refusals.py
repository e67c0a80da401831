"""Estimators refuse what they cannot do, by the argument and the value."""

import math

import pytest
import torch

from companion.hessian import (
    Dense,
    cauchy_rows,
    extreme_eigenvalues,
    geometric_mean,
    hutchpp,
    norm11,
    norm_inf_1,
    rademacher_rows,
    smoothness_bracket,
    spectral_norm,
    spectrum,
    trace,
    tridiagonal,
    uniform_rows,
)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda op: norm11(op, method="mean"), "method"),
        (lambda op: norm11(op, method="mle"), "products"),
        (lambda op: norm11(op, rtol=0.0), "rtol"),
        (lambda op: norm11(op, rtol=2.0), "rtol"),
        (lambda op: norm11(op, products=5), "products"),
        (lambda op: norm11(op, products=5, method="cauchy rows"), "products"),
        (lambda op: norm11(op, products=50, partition=7), "do not divide"),
        (lambda op: norm11(op, products=50, partition=torch.zeros(3).long()), "shape"),
        (lambda op: norm11(op, products=50, partition=torch.full((80,), 1)), "left out"),
        (lambda op: norm11(op, products=50, partition=torch.zeros(80)), "int64"),
        (lambda op: norm11(op, products=50, partition="rows"), "partition"),
        (lambda op: uniform_rows(op, 81), "m"),
        (lambda op: rademacher_rows(op, 20, floor=0.0), "floor"),
        (lambda op: norm_inf_1(op, restarts=0), "restarts"),
        (lambda op: smoothness_bracket(op, rank=0), "rank"),
        (lambda op: smoothness_bracket(op, steps=0), "steps"),
    ],
)
def test_wrong_arguments_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call(Dense(torch.eye(80)))


def test_a_product_that_is_not_finite_is_an_error():
    op = Dense(torch.full((80, 80), math.nan))
    for call in (geometric_mean, uniform_rows, cauchy_rows, rademacher_rows):
        with pytest.raises(FloatingPointError, match="NaN"):
            call(op, 20)
    for call in (norm_inf_1, smoothness_bracket):
        with pytest.raises(FloatingPointError, match="NaN"):
            call(op)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda A: trace(A, 1), "n: expected at least two products, got 1"),
        (lambda A: hutchpp(A, 7), "multiple of three products, at least 6, got 7"),
        (lambda A: spectrum(A, probes=1), "probes >= 2 and steps >= 1, got 1"),
        (lambda A: spectrum(A).density(torch.zeros(1), 0), "width: .*got 0"),
        (lambda A: spectral_norm(A, tolerance=-1), "tolerance: .*got -1"),
        (lambda A: extreme_eigenvalues(A, k=0), "k: .*got 0"),
        (lambda A: extreme_eigenvalues(A, max_products=0), "max_products: .*got 0"),
        (lambda A: tridiagonal(A, torch.zeros(4).double(), 3), "start: .*norm 0"),
        (lambda A: trace(Dense(A.matrix * float("nan"))), "not finite"),
        (lambda A: spectral_norm(Dense(A.matrix * float("nan"))), "not finite"),
        (lambda A: spectrum(Dense(A.matrix * float("nan"))), "not finite"),
        (lambda A: Dense(A.matrix[:2]), r"square matrix, got the shape \(2, 4\)"),
    ],
)
def test_estimators_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call(Dense(torch.eye(4, dtype=torch.float64)))
