"""What holds for every estimator: scales, small and plain matrices, kinds of errors, progress."""

import inspect

import pytest
import torch

from companion.hessian import (
    Dense,
    Estimate,
    cauchy_median,
    cauchy_rows,
    diagonal,
    extreme_eigenvalues,
    frobenius_norm,
    geometric_mean,
    hutchpp,
    norm11,
    norm_inf_1,
    rademacher_rows,
    scale_mle,
    smoothness_bracket,
    smoothness_table,
    spectral_norm,
    spectrum,
    trace,
    uniform_rows,
)
from tests.hessian.matrices import ESTIMATORS, symmetric

BARE = [
    *(trace, diagonal, frobenius_norm, hutchpp, spectral_norm, extreme_eigenvalues, spectrum),
    *(norm11, norm_inf_1, smoothness_bracket, smoothness_table, cauchy_median, geometric_mean),
    *(scale_mle, uniform_rows, rademacher_rows, cauchy_rows),
]


@pytest.mark.parametrize("estimator", BARE)
def test_every_estimator_has_the_same_words(estimator):
    options = inspect.signature(estimator).parameters
    assert {"progress", "seed"} <= set(options)
    assert options["progress"].default is True
    if estimator.__name__ not in ("spectrum", "smoothness_table"):
        assert "products" in options
    assert not {"n", "m", "max_products", "budget"} & set(options)


@pytest.mark.parametrize("power", [-80, 80])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_scale_of_a_matrix_scales_its_estimate(name, power):
    """1e-24 and 1e24 in float32, whose squares are not numbers; a power of two does not round."""
    A, scale = symmetric(80).float(), 2.0**power
    one, other = ESTIMATORS[name](Dense(A), seed=1), ESTIMATORS[name](Dense(A * scale), seed=1)
    for x, y in zip(one[:2], other[:2], strict=True):
        torch.testing.assert_close(y / scale, x, rtol=1e-4, atol=1e-6, equal_nan=True)
    assert one[2:] == other[2:]


@pytest.mark.parametrize("scale", [1.0, 0.0, 1e-24])
@pytest.mark.parametrize("d", [2, 3, 80])
@pytest.mark.parametrize("name", [n for n in ESTIMATORS if n != "bracket"])
def test_a_constant_diagonal_is_within_its_error(name, d, scale):
    found = ESTIMATORS[name](Dense(scale * torch.eye(d)))
    if name in ("spectral norm", "eigenvalues", "spectrum", "diagonal"):
        true = scale
    else:
        true = scale * (d**0.5 if name == "frobenius norm" else d)
    error = torch.nan_to_num(found.error).double()
    assert found.value.isfinite().all()
    assert ((found.value.double() - true).abs() <= 4 * error + 1e-5 * true).all()
    if scale == 0:
        assert error.max() == 0


def test_one_row_is_a_number():
    op = Dense(torch.tensor([[-3.0]]))
    for name, estimator in ESTIMATORS.items():
        if name != "uniform rows":  # which needs two
            value = estimator(op)[0]
            assert value.abs() == pytest.approx(3, rel=0.7), name


@pytest.mark.parametrize(
    ("estimate", "kind", "shown"),
    [
        (lambda op: trace(op, 8), "standard error", "(standard error)"),
        (lambda op: norm11(op, products=80), "exact", "(exact)"),
        (lambda op: spectral_norm(op, confidence=0.99), "bound", "(bound, 99 %)"),
        (lambda op: norm_inf_1(op), "lower bound", "error=tensor(nan) (lower bound)"),
    ],
)
def test_an_estimate_says_what_its_error_is(estimate, kind, shown):
    found = estimate(Dense(symmetric(60).float()))
    assert isinstance(found, Estimate)
    assert found.kind == kind
    assert shown in repr(found)
    assert f"products={found.products}" in repr(found)
    if kind in ("standard error", "exact"):
        assert found.stderr is found.error
    else:
        with pytest.raises(AttributeError, match=f"the error is a {kind}, no standard error"):
            _ = found.stderr
