import itertools

import pytest
import torch

from companion.problems import LeastSquares, SparseLogistic
from tests.problems.cases import EXACT, normal, seeded


@pytest.mark.parametrize("batch_size", [1, 2])
def test_independent_minibatches_have_the_stated_moments(batch_size):
    f = LeastSquares.random(n=6, d=2, kappa=5, noise=1.0, seed=0)
    x = normal(2)
    one = f.sample_gradients(x)
    # All n^B minibatches, each as likely as any other.
    batches = torch.tensor(list(itertools.product(range(6), repeat=batch_size)))
    g = one[batches].mean(1)
    torch.testing.assert_close(g.mean(0), f.grad(x), **EXACT)
    centred = g - g.mean(0)
    covariance = centred.T @ centred / len(g)
    torch.testing.assert_close(covariance, f.gradient_covariance(x) / batch_size, **EXACT)
    assert f.gradient_covariance(x.expand(4, 3, 2)).shape == (4, 3, 2, 2)


@pytest.mark.parametrize("order", ["iid", "reshuffled", "cyclic"])
def test_an_oracle_averages_the_gradients_of_its_indices(order):
    f = LeastSquares.random(n=6, d=2, kappa=5, noise=1.0, seed=0)
    x = normal(3, 2)
    oracle, twin = f.samples(2, order), f.samples(2, order)
    generator, other = seeded(), seeded()
    for _ in range(5):
        index = twin.indices((3,), other)
        expected = f.sample_gradients(x).gather(1, index.unsqueeze(-1).expand(3, 2, 2)).mean(1)
        torch.testing.assert_close(oracle(x, generator), expected, **EXACT)


def test_random_least_squares_has_the_stated_spectrum_and_minimiser():
    f = LeastSquares.random(n=30, d=4, kappa=100, noise=0.1, seed=3)
    expected = torch.tensor([1e-2, 10 ** (-4 / 3), 10 ** (-2 / 3), 1.0], dtype=torch.float64)
    torch.testing.assert_close(f.eigenvalues, expected, rtol=1e-10, atol=0)
    assert f.kappa == pytest.approx(100)
    assert f.grad(f.minimiser).abs().max() < 1e-12
    assert f.loss(f.minimiser + 0.1) > f.loss(f.minimiser)
    again = LeastSquares.random(n=30, d=4, kappa=100, noise=0.1, seed=3)
    assert torch.equal(f.features, again.features)
    assert torch.equal(f.targets, again.targets)
    assert not torch.equal(f.targets, LeastSquares.random(30, 4, 100, 0.1, seed=4).targets)


def test_without_noise_every_sample_shares_the_minimiser():
    f = LeastSquares.random(n=30, d=4, kappa=100, noise=0.0)
    assert f.gradient_covariance(f.minimiser).abs().max() < 1e-20


def test_rare_features_follow_the_power_law():
    n = 20_000
    f = SparseLogistic(n, d=6, power=1.5)
    p = torch.arange(1, 7).double() ** -1.5
    assert f.frequency[0] == 1
    assert bool(((f.frequency - p).abs() <= 6 * (p * (1 - p) / n).sqrt()).all())
    assert set(f.targets.tolist()) == {-1.0, 1.0}


def test_no_feature_is_absent_from_all_samples():
    f = SparseLogistic(n=5, d=40, power=3.0)
    assert f.frequency.min() == 0.2
