import itertools
import math

import pytest
import torch

from companion import problems
from companion.problems import HintonRprop, LeastSquares, Quadratic, SparseLogistic

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rotated(d):
    rotation = torch.linalg.qr(normal(d, d, seed=1)).Q
    return Quadratic([1.0, 3.0, 10.0][:d], rotation, normal(d, seed=2))


PROBLEMS = {
    "quadratic": (Quadratic([1.0, 4.0]), 2),
    "rotated quadratic": (rotated(3), 3),
    "least squares": (LeastSquares.random(n=12, d=3, kappa=10, noise=0.5, seed=0), 3),
    "sparse logistic": (SparseLogistic(n=40, d=5, power=1.0, seed=0), 5),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_gradients_equal_autograd(name, lead):
    f, d = PROBLEMS[name]
    x = normal(*lead, d)
    assert f.loss(x).shape == lead
    torch.testing.assert_close(f.grad(x), problems.gradient(f.loss)(x), **EXACT)


@pytest.mark.parametrize("name", PROBLEMS)
def test_float32_stays_float32(name):
    f, d = PROBLEMS[name]
    x = normal(d).float()
    assert f.loss(x).dtype == f.grad(x).dtype == torch.float32


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


ORACLES = {
    "noisy": lambda: PROBLEMS["rotated quadratic"][0].noisy(1.0),
    "replacement": lambda: PROBLEMS["least squares"][0].samples(3),
    "reshuffle": lambda: PROBLEMS["least squares"][0].samples(3, "reshuffle"),
    "cyclic": lambda: PROBLEMS["least squares"][0].samples(3, "cyclic"),
    "rprop": HintonRprop,
    "rprop iid": lambda: HintonRprop("iid"),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("lead", [(), (5,), (4, 5), (2, 4, 5)])
def test_cells_share_random_numbers_and_seeds_do_not(name, lead):
    oracle, generator = ORACLES[name](), seeded()
    x = normal(3).expand(*lead, 3)
    g = torch.stack([oracle(x, generator) for _ in range(30)])
    assert g.shape == (30, *lead, 3)
    if len(lead) > 1:
        assert torch.allclose(g, g.flatten(1, -3)[:, :1].unflatten(1, (1,) * (len(lead) - 1)))
    if lead and name != "cyclic":
        rows = g.movedim(-2, 0).flatten(1)
        for one, other in itertools.pairwise(rows):
            assert not torch.allclose(one, other)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_minibatches_with_replacement_have_the_stated_moments(batch_size):
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


@pytest.mark.parametrize("mode", ["replacement", "reshuffle", "cyclic"])
def test_an_oracle_averages_the_gradients_of_its_indices(mode):
    f = LeastSquares.random(n=6, d=2, kappa=5, noise=1.0, seed=0)
    x = normal(3, 2)
    oracle, twin = f.samples(2, mode), f.samples(2, mode)
    generator, other = seeded(), seeded()
    for _ in range(5):
        index = twin.indices((3,), other)
        expected = f.sample_gradients(x).gather(1, index.unsqueeze(-1).expand(3, 2, 2)).mean(1)
        torch.testing.assert_close(oracle(x, generator), expected, **EXACT)


@pytest.mark.parametrize(("mode", "same_order"), [("reshuffle", False), ("cyclic", True)])
def test_a_pass_meets_every_sample_once(mode, same_order):
    oracle, generator = LeastSquares(normal(6, 2), normal(6)).samples(2, mode), seeded()
    passes = [torch.cat([oracle.indices((4,), generator) for _ in range(3)], -1) for _ in range(3)]
    for one in passes:
        assert one.sort(-1).values.tolist() == [[0, 1, 2, 3, 4, 5]] * 4
    for one, other in itertools.pairwise(passes):
        assert torch.equal(one, other) == same_order
        assert all((one[seed] == one[0]).all() == same_order for seed in (1, 2, 3))


def test_replacement_draws_every_index_equally_often():
    n, draws = 8, 80_000
    oracle = LeastSquares(normal(n, 2), normal(n)).samples(draws)
    counts = torch.bincount(oracle.indices((), seeded()), minlength=n)
    # Six standard deviations of a binomial count.
    assert (counts - draws / n).abs().max() < 6 * math.sqrt(draws / n * (1 - 1 / n))


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


def test_shuffled_rprop_sums_to_zero_in_every_ten():
    oracle, generator, x = HintonRprop(), seeded(), normal(4, 3)
    for _ in range(3):
        g = torch.stack([oracle(x, generator) for _ in range(10)])
        assert g.sum(0).abs().max() < 1e-12
        assert ((g == -0.9).sum(0) == 1).all()


def test_iid_rprop_has_the_stated_moments():
    n = 40_000
    g = HintonRprop("iid")(torch.zeros(n, 1, dtype=torch.float64), seeded())
    assert set(g.flatten().tolist()) == {0.1, -0.9}
    assert abs(g.mean()) < 6 * 0.3 / math.sqrt(n)  # six standard errors
    assert g.var().item() == pytest.approx(0.09, rel=0.05)


def test_landscapes_have_the_stated_minima_and_gradients():
    for f, minimiser in [
        (problems.rosenbrock, [1.0, 1.0]),
        (problems.ravine(50), [0.0, 0.0]),
        (problems.rastrigin, [0.0, 0.0]),
    ]:
        x = torch.tensor(minimiser, dtype=torch.float64)
        assert f(x).item() == 0
        assert problems.gradient(f)(x).abs().max() == 0
        assert bool((f(x + 0.1 * normal(5, 4, 2)) > 0).all())
    x = normal(7, 2)
    a, b = x.unbind(-1)
    expected = torch.stack([2 * (a - 1) - 400 * a * (b - a**2), 200 * (b - a**2)], -1)
    torch.testing.assert_close(problems.gradient(problems.rosenbrock)(x), expected, **EXACT)
    with torch.no_grad():
        torch.testing.assert_close(problems.gradient(problems.rosenbrock)(x), expected, **EXACT)


F = PROBLEMS["least squares"][0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Quadratic([1.0, -1.0]), "eigenvalues must be positive"),
        (lambda: Quadratic(3.0), "eigenvalues must be positive"),
        (lambda: Quadratic([]), "eigenvalues must be positive"),
        (lambda: Quadratic([1.0, 2.0], torch.ones(2, 2)), "rotation must be orthogonal"),
        (lambda: Quadratic([1.0, 2.0], torch.eye(3)), "rotation must be orthogonal"),
        (lambda: Quadratic([1.0, 2.0], minimiser=[0.0]), r"minimiser must have shape \(2,\)"),
        (lambda: Quadratic([1.0]).noisy(-1.0), "sigma must be at least 0, got -1.0"),
        (lambda: LeastSquares(torch.ones(3, 2), torch.ones(2)), "features must have shape"),
        (lambda: LeastSquares(torch.ones(3, 2), torch.ones(3)), "full column rank"),
        (lambda: LeastSquares.random(2, 3, 10, 0.1), "n=2, d=3"),
        (lambda: F.samples(3, "random"), "mode must be one of .* got 'random'"),
        (lambda: F.samples(0), "batch_size must be a whole number of at least 1, got 0"),
        (lambda: F.samples(2.5), "batch_size must be a whole number .* got 2.5"),
        (lambda: F.samples(5, "cyclic"), "batch_size must divide n = 12 .* got 5"),
        (lambda: SparseLogistic(n=0, d=3), "n, d >= 1"),
        (lambda: SparseLogistic(n=4, d=3, power=-1), "power >= 0"),
        (lambda: HintonRprop("sorted"), "order must be .* got 'sorted'"),
        (lambda: problems.ravine(0.5), "kappa must be at least 1, got 0.5"),
    ],
)
def test_errors_name_the_argument_and_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
