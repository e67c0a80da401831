"""The checks of the chapter on rotated losses: stubs, typical errors, right answers."""

import math

import pytest
import torch

from companion.checks import rotation


def nothing(*arguments):
    return ...


def kronecker(Qs, x):
    y = x.view([len(Q) for Q in Qs])
    return torch.einsum("ai,bj,ck,ijk->abc", *Qs, y).flatten()


def kronecker_transposed(Qs, x):
    y = x.view([len(Q) for Q in Qs])
    return torch.einsum("ia,jb,kc,ijk->abc", *Qs, y).flatten()


def kronecker_backwards(Qs, x):
    return kronecker(Qs[::-1], x)


def signed_permutation(Q):
    return bool(((Q.abs() - 0.5).abs() - 0.5).abs().max() < 1e-9)


def keeps_one_sign_vector(Q):
    ones = torch.ones(len(Q), dtype=Q.dtype)
    return torch.allclose((Q @ ones).sign(), Q @ ones)


CHECKS = (
    rotation.check_rotated_gradient,
    rotation.check_commutes,
    rotation.check_kronecker,
    rotation.check_turned_norm,
)


@pytest.mark.parametrize("check", CHECKS)
def test_a_stub_is_not_yet_an_answer(check):
    verdict = check(nothing)
    assert not verdict.passed
    assert ": not yet: " in verdict.message


@pytest.mark.parametrize(
    ("check", "answer", "part"),
    [
        (rotation.check_rotated_gradient, lambda g, Q, x: g(Q @ x), "chain rule"),
        (rotation.check_rotated_gradient, lambda g, Q, x: Q @ g(Q @ x), "chain rule"),
        (rotation.check_rotated_gradient, lambda g, Q, x: Q @ g(Q.T @ x), "chain rule"),
        (rotation.check_rotated_gradient, lambda g, Q, x: Q.T @ g(x), "chain rule"),
        (rotation.check_commutes, lambda Q: True, "a turn by 45 degrees"),
        (rotation.check_commutes, lambda Q: bool((Q >= 0).all()), "a permutation with signs"),
        (rotation.check_commutes, keeps_one_sign_vector, "a reflection"),
        (rotation.check_commutes, lambda Q: bool(((Q == 0) | (Q == 1)).all()), "with signs"),
        (rotation.check_kronecker, kronecker_transposed, "y[a, b, c]"),
        (rotation.check_kronecker, kronecker_backwards, "sizes (2, 2, 2)"),
        (rotation.check_turned_norm, lambda k, a: 1 + k, "other two entries"),
        (rotation.check_turned_norm, lambda k, a: 1 + k + (k - 1) * math.sin(2 * a), "κ = 25"),
    ],
)
def test_a_typical_error_is_named(check, answer, part):
    verdict = check(answer)
    assert not verdict.passed
    assert "not right yet" in verdict.message
    assert part in verdict.message


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (rotation.check_rotated_gradient, lambda g, Q, x: Q.T @ g(Q @ x)),
        (rotation.check_commutes, signed_permutation),
        (rotation.check_commutes, lambda Q: ((Q.abs() > 1e-9).sum(1) == 1).all()),
        (rotation.check_kronecker, kronecker),
        (rotation.check_turned_norm, lambda k, a: 1 + k + abs((k - 1) * math.sin(2 * a))),
    ],
)
def test_a_right_answer_passes(check, answer):
    assert check(answer).passed
