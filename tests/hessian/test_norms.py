"""The (1,1)-norm by every method: closed forms, errors, budgets, exact sums."""

import math

import pytest
import torch

from companion.hessian import Dense, Hessian, norm11
from companion.hessian.norms import METHODS
from tests.hessian.matrices import ORACLES, network, section_4_1, symmetric, zero_rows


@pytest.mark.parametrize(
    ("method", "name"),
    # Uniform rows do not see, nor have in their standard error, heavy rows that were not drawn.
    [(m, n) for m in METHODS for n in ORACLES if (m, n) != ("uniform rows", "arrow")],
)
def test_the_estimates_are_within_five_standard_errors(name, method):
    matrix, truth = ORACLES[name]
    value, stderr, products, seed, *_ = norm11(Dense(matrix), products=101, method=method, seed=3)
    slack = truth * (0.02 if method == "algorithm 4" else 1e-9)  # bias 1.2 %
    assert (value - truth).abs() <= 5 * stderr + slack
    assert value.dtype == stderr.dtype == torch.float64
    assert products <= 101
    assert seed == 3


@pytest.mark.parametrize("name", ["Kronecker", "random sign", "arrow", "uneven"])
def test_the_default_reaches_its_tolerance_with_few_products(name):
    matrix, truth = ORACLES[name]
    answers = [norm11(Dense(matrix), rtol=0.1, seed=seed) for seed in range(100)]
    error = torch.stack([a.value for a in answers]) / truth - 1
    assert all(a.stderr <= 0.1 * a.value for a in answers)
    assert error.square().mean().sqrt() <= 0.125
    assert sum(a.products for a in answers) / 100 <= 1.25 * math.pi / 0.1


def test_small_operators_are_summed_exactly():
    h = symmetric(20)
    found = norm11(Dense(h))
    torch.testing.assert_close(found.value, h.abs().sum())
    assert found[1:] == (0, 20, None, "exact", None)
    assert norm11(Dense(h), products=20, partition=4).value.shape == (4,)


@pytest.mark.parametrize("method", ["median", "geometric mean", "mle", "cauchy rows", "adaptive"])
def test_zero_rows_and_zero_matrices_give_zero(method):
    op = Dense(zero_rows(150))
    value, stderr, *_ = norm11(op, products=100, method=method, partition=3)
    assert value[0] == stderr[0] == 0
    assert (value[1:] > 0).all()
    value, stderr, *_ = norm11(Dense(torch.zeros(200, 200)), products=20, method=method)
    assert value == stderr == 0
    assert norm11(Dense(torch.zeros(500, 500))).value == 0


@pytest.mark.parametrize("method", ["algorithm 4", "geometric mean", "mle"])
def test_rows_and_blocks_add_up_to_the_norm(method):
    op = Dense(symmetric(60))
    whole = norm11(op, products=33, method=method)
    rows = norm11(op, products=33, method=method, partition=60)
    blocks = norm11(op, products=33, method=method, partition=3)
    torch.testing.assert_close(rows.value.sum(), whole.value)
    torch.testing.assert_close(rows.value.view(3, 20).sum(1), blocks.value)
    # Errors of rows that share probes do not average out.
    assert whole.stderr > 3 * rows.stderr.square().sum().sqrt()


def test_a_seed_gives_the_same_answer_again():
    op = Dense(symmetric(120))
    for method in METHODS:
        one, same, other = (norm11(op, products=50, method=method, seed=s) for s in (1, 1, 2))
        assert one == same
        assert one.value != other.value


def test_the_haar_formula():
    d = 300
    h = section_4_1(d)
    trace, squares = h.trace(), h.square().sum()
    spread = (d * squares - trace**2) / ((d - 1) * d * (d + 2))
    expected = trace + d * (d - 1) * math.sqrt(2 / math.pi) * spread.sqrt()
    assert norm11(Dense(h), rtol=0.02).value == pytest.approx(float(expected), rel=0.06)


def test_a_hessian_in_float32_gives_the_norm():
    model, loss, (x, y) = network()
    truth = Hessian(model, loss, (x, y)).dense().abs().sum()
    op = Hessian(model.float(), loss, (x.float(), y))
    value, stderr, *_ = norm11(op, products=101)
    assert value.dtype == torch.float32
    assert (value - truth).abs() < 4 * stderr
