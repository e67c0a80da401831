"""The bracket of Λ and ‖H‖∞→1: closed forms, order, the semidefinite program."""

import math
from itertools import pairwise

import pytest
import torch

from companion.hessian import Dense, Hessian, norm_inf_1, partition_labels, smoothness_bracket
from companion.hessian.blocks import block_labels
from tests.hessian.matrices import arrow, network, random_sign, section_4_1, symmetric, u, zero_rows


def test_labels_of_equal_blocks():
    assert block_labels(None, 3).tolist() == [0, 0, 0]
    assert block_labels("elements", 3).tolist() == [0, 1, 2]
    assert block_labels(3, 6).tolist() == [0, 0, 1, 1, 2, 2]


def assert_between(bracket, truth, rtol=1e-3):
    assert bracket.lower <= truth * (1 + 1e-9)
    assert bracket.upper >= truth * (1 - 1e-9)
    assert bracket.upper <= bracket.lower * (1 + rtol)


def test_the_constant_of_a_diagonal_is_its_sum():
    assert_between(smoothness_bracket(Dense(torch.diag(u))), u.abs().sum())
    assert_between(smoothness_bracket(Dense(torch.diag(u)), 1), 150 * u.abs().max())


def test_the_constant_of_a_rank_one_matrix():
    op = Dense(torch.outer(u, u))
    assert_between(smoothness_bracket(op), u.abs().sum() ** 2)
    labels = block_labels(10, 150)
    blocks = torch.stack([u[labels == b].norm() * math.sqrt(15) for b in range(10)])
    assert_between(smoothness_bracket(op, labels), blocks.sum() ** 2)
    uneven = torch.cat([torch.full((n,), b) for b, n in enumerate((2, 28, 120))])
    blocks = [u[uneven == b].norm() * math.sqrt(n) for b, n in enumerate((2, 28, 120))]
    assert_between(smoothness_bracket(op, uneven), sum(blocks) ** 2, rtol=2e-3)


def test_one_block_is_the_spectral_norm():
    h = symmetric(100)
    bracket = smoothness_bracket(Dense(h), 1, rtol=1e-6, products=34_000)
    assert_between(bracket, 100 * torch.linalg.matrix_norm(h, 2))


@pytest.mark.parametrize("matrix", [section_4_1(120), random_sign(120), zero_rows(120), arrow(120)])
def test_the_constants_are_in_their_order(matrix):
    op = Dense(matrix)
    fine, *coarser = (
        smoothness_bracket(op, n, rtol=1e-5, products=17_000) for n in (120, 30, 4, 1)
    )
    for coarse in coarser:  # each a refinement of the next
        assert fine.lower <= coarse.upper
        assert coarse.upper <= coarse.lower * 1.02
        fine = coarse
    infinity = norm_inf_1(op).value
    constant = smoothness_bracket(op)
    assert infinity <= constant.upper
    assert constant.lower <= matrix.abs().sum() * (1 + 1e-9)
    # Grothendieck's bound holds for ∞→1 itself, which the search nearly reaches.
    assert constant.lower <= 1.783 * 1.02 * infinity


def test_the_search_finds_the_norm_of_a_small_matrix():
    h = symmetric(10)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 10).double()
    best = (signs @ h).abs().sum(1).max()
    found = norm_inf_1(Dense(h), restarts=64, products=6400)
    assert found.value == pytest.approx(float(best), rel=1e-12)
    assert found.error.isnan()
    assert found.kind == "lower bound"


def test_the_bracket_contains_the_value_of_the_semidefinite_program():
    """Compare with an independent bound: gradient descent on D, made feasible by scaling."""
    h = symmetric(30)
    log_d = h.abs().sum(1).log().requires_grad_()
    optimizer = torch.optim.Adam([log_d], lr=0.05)
    best = math.inf
    for _ in range(400):
        scale = (-log_d / 2).exp()
        top = torch.linalg.eigvalsh(scale[:, None] * h * scale).abs().max()
        loss = top * log_d.exp().sum()
        best = min(best, loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    bracket = smoothness_bracket(Dense(h), rtol=1e-7, products=51_000)
    assert bracket.lower <= best
    assert bracket.upper <= best * 1.001
    assert bracket.upper <= bracket.lower * 1.001


def test_the_table_of_random_matrices():
    # Expected for other draws of the same ensembles: 0.964 and 37.3, give or take 0.01 and 1.
    bracket = smoothness_bracket(Dense(section_4_1(400)))
    assert bracket.lower / 400 == pytest.approx(0.9641, abs=0.01)
    bracket = smoothness_bracket(Dense(random_sign(400)))
    assert bracket.lower / 400 == pytest.approx(37.3, abs=1)
    assert bracket.upper <= bracket.lower * 1.01


def test_a_zero_matrix_has_the_constant_zero():
    op = Dense(torch.zeros(5, 5))
    lower, upper, *_ = smoothness_bracket(op)
    assert lower == upper == norm_inf_1(op).value == 0


def test_networks_obey_the_order_of_their_partitions():
    model, loss, data = network()
    op = Hessian(model, loss, data)
    bounds = [
        smoothness_bracket(op, partition_labels(op.parameters, name))
        for name in ("elements", "rows", "tensor")
    ] + [smoothness_bracket(op, 1)]
    for fine, coarse in pairwise(bounds):
        assert fine.lower < coarse.upper
