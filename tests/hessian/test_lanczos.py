"""Eigenvalues by Lanczos, within their bounds."""

import pytest
import torch

from companion.hessian import Dense, extreme_eigenvalues, spectral_norm, tridiagonal
from tests.hessian.matrices import EIGEN, normal, rotated


@pytest.mark.parametrize("name", EIGEN)
def test_lanczos_finds_the_extreme_eigenvalues_within_its_bound(name):
    A = EIGEN[name]
    true = torch.linalg.eigvalsh(A)
    smallest, largest, vectors = extreme_eigenvalues(Dense(A), tolerance=1e-8)
    for found, value, v in zip((smallest, largest), (true[0], true[-1]), vectors.T, strict=True):
        error = (found.value[0] - value).abs()
        assert error <= found.stderr[0] + 1e-12
        assert error <= 1e-8 * true.abs().max()
        torch.testing.assert_close(A @ v, value * v, rtol=0, atol=3e-8 * true.abs().max().item())
    norm = spectral_norm(Dense(A), tolerance=1e-8)
    torch.testing.assert_close(norm.value, true.abs().max(), rtol=1e-8, atol=0)
    assert norm.products <= len(A)


def test_lanczos_finds_several_eigenvalues_and_keeps_its_basis_orthonormal():
    A = rotated([1 / k for k in range(1, 201)])
    smallest, largest, vectors = extreme_eigenvalues(Dense(A), k=3, tolerance=1e-3)
    top = torch.tensor([1 / 3, 1 / 2, 1.0], dtype=torch.float64)
    assert ((largest.value - top).abs() <= largest.stderr + 1e-12).all()
    assert largest.products < 100
    assert largest.stderr.max() <= 1e-3
    assert smallest.value.shape == (3,)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(6).double(), rtol=1e-10, atol=1e-10)
    alpha, beta, Q = tridiagonal(Dense(A), normal(200), 150)
    T = torch.diag(alpha) + torch.diag(beta[:-1], 1) + torch.diag(beta[:-1], -1)
    torch.testing.assert_close(Q.T @ Q, torch.eye(150).double(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(Q.T @ A @ Q, T, rtol=1e-10, atol=1e-10)


def test_lanczos_says_how_far_it_came_when_products_end():
    A = rotated([1 / k for k in range(1, 201)])
    found = spectral_norm(Dense(A), tolerance=0, max_products=4)
    assert found.products == 4
    assert 0 < 1 - found.value <= found.stderr
