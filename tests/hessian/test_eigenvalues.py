"""Extreme eigenvalues by Lanczos lie within bounds that hold."""

import math

import numpy as np
import pytest
import torch

from companion.hessian import Dense, eigenvalues, extreme_eigenvalues, spectral_norm
from tests.hessian.matrices import EIGEN, Diagonal, rotated


@pytest.mark.parametrize("name", EIGEN)
def test_lanczos_finds_the_extreme_eigenvalues_within_its_bound(name):
    A = EIGEN[name]
    true = torch.linalg.eigvalsh(A)
    smallest, largest, vectors = extreme_eigenvalues(Dense(A), tolerance=1e-8)
    for found, value, v in zip((smallest, largest), (true[0], true[-1]), vectors.T, strict=True):
        error = (found.value[0] - value).abs()
        assert error <= found.error[0] + 1e-12
        assert error <= 1e-8 * true.abs().max()
        torch.testing.assert_close(A @ v, value * v, rtol=0, atol=3e-8 * true.abs().max().item())
    norm = spectral_norm(Dense(A), tolerance=1e-8)
    torch.testing.assert_close(norm.value, true.abs().max(), rtol=1e-8, atol=0)
    assert norm.products <= len(A)


def test_lanczos_finds_several_eigenvalues():
    A = rotated([1 / k for k in range(1, 201)])
    smallest, largest, vectors = extreme_eigenvalues(Dense(A), k=3, tolerance=1e-3)
    top = torch.tensor([1 / 3, 1 / 2, 1.0], dtype=torch.float64)
    assert ((largest.value - top).abs() <= largest.error + 1e-12).all()
    assert largest.products < 100
    assert largest.error.max() <= 1e-3
    assert smallest.value.shape == (3,)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(6).double(), rtol=1e-10, atol=1e-10)


def test_lanczos_says_how_far_it_came_when_products_end():
    A = rotated([1 / k for k in range(1, 201)])
    found = spectral_norm(Dense(A), tolerance=0, products=4)
    assert found.products == 4
    assert 0 < 1 - found.value <= found.error


def hidden(top, rest, d=30_000):
    """Return an operator with a third of its eigenvalues at 0.9, one at ``top``, others small."""
    values = rest * torch.linspace(0, 1, d, dtype=torch.float64)
    values[: d // 3], values[0] = 0.9, top
    return Diagonal(values)


@pytest.mark.parametrize("top", [1.0, -1.0, 0.95])
@pytest.mark.parametrize("rest", [0.01, 0.5])
def test_an_eigenvalue_hidden_by_a_cluster_is_found(top, rest):
    op = hidden(top, rest)
    for seed in range(6):
        found = spectral_norm(op, seed=seed)
        assert abs(top) - 1e-9 <= found.value + found.error
        assert found.value == pytest.approx(abs(top), abs=1e-3)
    end = extreme_eigenvalues(op, seed=seed)[0 if top < 0 else 1]
    assert end.value[0] == pytest.approx(top, abs=1e-3)


@pytest.mark.parametrize("products", [1, 3, 6])
def test_a_bound_holds_wherever_the_products_end(products):
    """Nine in ten, not 999 in 1000: with the confidence 0.9 of 50 seeds 38 or more cover."""
    op = hidden(1.0, 0.01, d=1000)
    for confidence, least in ((0.9, 38), (0.999, 49)):
        runs = [
            spectral_norm(op, products=products, seed=seed, confidence=confidence)
            for seed in range(50)
        ]
        assert all(run.value <= 1 + 1e-12 for run in runs)
        assert sum(bool(run.value + run.error >= 1 - 1e-12) for run in runs) >= least
        assert all((run.kind, run.confidence) == ("bound", confidence) for run in runs)


def test_several_eigenvalues_beside_a_cluster_are_found():
    values = torch.linspace(0, 0.5, 6000, dtype=torch.float64)
    values[:2000], values[0], values[1] = 0.9, 1.0, 0.95
    for seed in range(3):
        _, largest, _ = extreme_eigenvalues(Diagonal(values), k=3, seed=seed)
        assert largest.value.tolist() == pytest.approx([0.9, 0.95, 1.0], abs=1e-3)


def test_the_reach_of_a_polynomial_is_where_it_crosses_the_level():
    """p = (λ - 1)(λ - 2)(λ - 4) / β with 1/γ = e^level: the roots of |p| = 1/γ are known."""
    theta, beta = np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.2, 0.1])
    edges = eigenvalues._edges(theta, beta, math.log(100), 3)
    level = 100 * beta.prod()
    roots = np.roots(np.poly(theta) - np.array([0, 0, 0, level]))
    assert edges[0] == pytest.approx(max(roots.real[abs(roots.imag) < 1e-9]), rel=1e-9)
    down = np.roots(np.poly(theta) + np.array([0, 0, 0, level]))
    down = np.sort(down.real[abs(down.imag) < 1e-9])
    assert edges[1] == pytest.approx(down[down > 2][0], rel=1e-9)
    assert edges[2] == edges[1], "the peak between 1 and 2 is too low to tell them apart"


@pytest.mark.parametrize("matrix", [torch.eye(500), torch.ones(300, 300)], ids=["eye", "rank one"])
def test_rounding_that_ends_a_run_starts_others(matrix):
    """In float32 one short run leaves eigenvectors unseen that rounding hides."""
    found = spectral_norm(Dense(matrix))
    size = torch.linalg.matrix_norm(matrix.double(), 2)
    assert found.value == pytest.approx(size.item(), rel=1e-5)
    assert found.error <= 1e-3 * size
    assert found.products > 2
