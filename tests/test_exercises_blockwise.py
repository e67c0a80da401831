"""The checks of the chapter on blockwise Adam: stubs, typical errors, right answers."""

import pytest
import torch

from companion.checks import blockwise
from companion.hessian import Dense, smoothness_bracket
from companion.optim.blocks import AdamMini, divide


def nothing(*arguments):
    return ...


def second_moment(v, g, labels, beta2):
    total = torch.zeros_like(v).index_add(0, labels, g**2)
    return beta2 * v + (1 - beta2) * total / torch.bincount(labels, minlength=len(v))


def summed(v, g, labels, beta2):
    return beta2 * v + (1 - beta2) * torch.zeros_like(v).index_add(0, labels, g**2)


def refines(fine, coarse):
    pairs = torch.unique(torch.stack([fine, coarse]), dim=1)
    return pairs.shape[1] == len(torch.unique(fine))


def more_blocks(fine, coarse):
    return len(fine.unique()) >= len(coarse.unique())


def backwards(fine, coarse):
    return refines(coarse, fine)


def constant(h, labels):
    return sum((labels == b).sum() * h[labels == b].abs().max() for b in labels.unique())


def trace(h, labels):
    return h.abs().sum()


def signed(h, labels):
    return sum((labels == b).sum() * h[labels == b].max() for b in labels.unique())


CASES = {
    "check_second_moment": (second_moment, [summed]),
    "check_refines": (refines, [more_blocks, backwards]),
    "check_constant": (constant, [trace, signed]),
    "check_moments": (lambda C, n: 2 * n + 2 * C, [lambda C, n: 4 * n, lambda C, n: 4 * C]),
}


@pytest.mark.parametrize("name", CASES)
def test_check_knows_stub_wrong_and_right(name):
    check, (right, wrong) = getattr(blockwise, name), CASES[name]
    assert ": not yet: " in check(nothing).message
    for answer in wrong:
        assert "not right yet" in check(answer).message
    assert check(right).passed


def test_the_constant_of_a_diagonal_matrix_is_that_of_the_bracket():
    h = torch.tensor([100.0, 1.0, -3.0, 2.0], dtype=torch.float64)
    labels = torch.tensor([1, 0, 1, 0])
    lower, upper, *_ = smoothness_bracket(Dense(torch.diag(h)), labels)
    torch.testing.assert_close(lower, constant(h, labels), rtol=1e-3, atol=0)
    torch.testing.assert_close(upper, constant(h, labels), rtol=1e-3, atol=0)


def test_adam_mini_keeps_the_moments_of_the_exercise():
    C, n = 16, 4
    weights = {name: torch.zeros(C, C) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}
    kept = [divide(AdamMini(n), p, name) for name, p in weights.items()]
    assert sum(kept) == 2 * n + 2 * C
