"""The spectral density has the moments and the peaks of the matrix."""

import pytest
import torch

from companion.hessian import Dense, spectrum
from tests.hessian.matrices import EIGEN, rotated


@pytest.mark.parametrize("name", EIGEN)
def test_spectrum_of_all_steps_has_the_moments_of_each_probe(name):
    A = EIGEN[name]
    found = spectrum(Dense(A), probes=4, steps=len(A), seed=3)
    generator = torch.Generator().manual_seed(3)
    v = torch.randn(4, len(A), generator=generator, dtype=torch.float64)
    v = v / v.norm(dim=1, keepdim=True)
    assert found.products == found.nodes.numel() <= 4 * len(A)
    power = torch.eye(len(A)).double()
    for k in range(5):
        expected = torch.einsum("pi,ij,pj->p", v, power, v)
        moment = found.mean(lambda t, k=k: t**k)
        torch.testing.assert_close(moment.value, expected.mean(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(moment.stderr, expected.std() / 2, rtol=1e-7, atol=1e-9)
        power = power @ A


def test_density_integrates_to_one_and_peaks_at_the_eigenvalues():
    found = spectrum(Dense(rotated([-1.0] * 10 + [1.0] * 30)), probes=30, steps=5)
    grid = torch.linspace(-3, 3, 601, dtype=torch.float64)
    density = found.density(grid, width=0.1)
    torch.testing.assert_close(torch.trapezoid(density.value, grid), torch.tensor(1.0).double())
    masses = torch.stack([density.value[:300].sum(), density.value[300:].sum()]) * 0.01
    assert (masses - torch.tensor([0.25, 0.75])).abs().max() < 0.06  # four standard errors
    assert grid[density.value.argmax()].item() == pytest.approx(1)
