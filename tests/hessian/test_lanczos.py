"""The Lanczos recurrence keeps its basis orthonormal."""

import pytest
import torch

from companion.hessian import Dense, tridiagonal
from tests.hessian.matrices import normal, rotated


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300])
def test_the_basis_is_orthonormal_and_makes_the_matrix_tridiagonal(scale):
    A = rotated([1 / k for k in range(1, 201)])
    alpha, beta, Q = tridiagonal(Dense(scale * A), scale * normal(200), 150)
    T = torch.diag(alpha) + torch.diag(beta[:-1], 1) + torch.diag(beta[:-1], -1)
    torch.testing.assert_close(Q.T @ Q, torch.eye(150).double(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(Q.T @ A @ Q, T / scale, rtol=1e-10, atol=1e-10)


def test_an_invariant_space_ends_the_recurrence():
    alpha, beta, Q = tridiagonal(Dense(torch.diag(torch.tensor([2.0, 2, 3]))), torch.ones(3), 3)
    assert (len(alpha), beta[-1], Q.shape) == (2, 0, (3, 2))
