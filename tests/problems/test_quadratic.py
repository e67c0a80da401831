import math

import torch

from tests.problems.cases import EXACT, normal, rotated, seeded


def test_quadratic_has_the_stated_minimum_and_condition_number():
    f = rotated(3)
    assert f.kappa == 10
    torch.testing.assert_close(
        torch.linalg.eigvalsh(f.hessian), f.eigenvalues.sort().values, **EXACT
    )
    assert f.loss(f.minimiser).item() == 0
    assert f.grad(f.minimiser).abs().max().item() == 0


def test_noise_of_the_quadratic_has_the_stated_moments():
    f, n, sigma = rotated(3), 40_000, 2.0
    x = normal(3)
    g = f.noisy(sigma)(x.expand(n, 3), seeded())
    noise = g - f.grad(x)
    # Six standard errors: a false alarm has probability below 1e-7, with the seed fixed anyway.
    assert noise.mean(0).abs().max() < 6 * sigma / math.sqrt(n)
    covariance = noise.T @ noise / n
    bound = 6 * sigma**2 * math.sqrt(2 / n)
    assert (covariance - sigma**2 * torch.eye(3)).abs().max() < bound
