"""The checks of the chapter on four measures of smoothness: stubs, errors, right answers."""

import itertools

import pytest
import torch

from companion.checks import smoothness
from companion.hessian import Dense, smoothness_bracket


def nothing(*arguments):
    return ...


def rank_one(u):
    l1 = u.abs().sum() ** 2
    return l1, l1, l1, len(u) * u.square().sum()


def euclidean(u):
    l2 = u.square().sum()
    return l2, l2, u.abs().sum() ** 2, len(u) * l2


def certificate(H, D):
    return torch.linalg.matrix_norm(H / (D[:, None] * D).sqrt(), 2) * D.sum()


def one_sided(H, D):
    return torch.linalg.eigvalsh(H / (D[:, None] * D).sqrt()).max() * D.sum()


def unscaled(H, D):
    return torch.linalg.matrix_norm(H, 2) * D.sum()


def tight(H):
    s = H[0].sign() * H[0, 0].sign()
    return bool((s[:, None] * H * s >= 0).all())


def positive(H):
    return bool((H > 0).all())


def lower_bound(H, V, products):
    for _ in range(products):
        V = H @ (V / V.norm(dim=1, keepdim=True))
    return V.norm(dim=1).sum()


def columns(H, V, products):
    for _ in range(products):
        V = H @ (V / V.norm(dim=0, keepdim=True))
    return V.norm(dim=1).sum()


CASES = {
    "check_rank_one": (rank_one, [euclidean, lambda u: rank_one(u)[:3]]),
    "check_certificate": (certificate, [one_sided, unscaled]),
    "check_tight": (tight, [positive, lambda H: True, lambda H: False]),
    "check_lower_bound": (lower_bound, [columns]),
}


@pytest.mark.parametrize("name", CASES)
def test_check_knows_stub_wrong_and_right(name):
    check, (right, wrong) = getattr(smoothness, name), CASES[name]
    assert ": not yet: " in check(nothing).message
    for answer in wrong:
        assert "not right yet" in check(answer).message
    assert check(right).passed


def test_a_matrix_is_tight_where_a_flip_of_signs_attains_its_sum():
    generator = torch.Generator().manual_seed(0)
    flips = torch.tensor(list(itertools.product((1.0, -1.0), repeat=3)), dtype=torch.float64)
    for _ in range(50):
        A = torch.randn(3, 3, generator=generator, dtype=torch.float64)
        H = A + A.T
        attained = torch.einsum("si,ij,sj->s", flips, H, flips).max() >= H.abs().sum() - 1e-12
        assert tight(H) == bool(attained)


def test_the_constant_lies_between_the_answers():
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    H, V = A + A.T, torch.randn(5, 3, generator=generator, dtype=torch.float64)
    lower, upper, *_ = smoothness_bracket(Dense(H), 5)
    assert lower_bound(H, V, 20) <= upper * (1 + 1e-9)
    assert certificate(H, H.abs().sum(1)) >= lower * (1 - 1e-9)
