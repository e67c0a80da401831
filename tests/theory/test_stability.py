"""Mean-square limits and floors against moments that are written out, and against runs."""

import itertools

import pytest
import torch

from companion import theory
from companion.optim import SGD
from companion.problems import LeastSquares
from companion.simulate import trajectory

F64 = {"dtype": torch.float64}
BATCHES = (1, 2, 4, 16, 64)


def problem(noise=1.0):
    return LeastSquares.random(n=64, d=4, kappa=4, noise=noise)


def random_features(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), **F64)


@pytest.mark.parametrize("B", [1, 2, 3])
def test_the_operator_is_the_mean_over_all_minibatches(B):
    a, lr = random_features(4, 3), 0.3
    mean = torch.zeros(9, 9, **F64)
    for index in itertools.product(range(4), repeat=B):
        step = torch.eye(3, **F64) - lr * a[list(index)].T @ a[list(index)] / B
        mean += torch.kron(step, step) / 4**B
    torch.testing.assert_close(theory.second_moment_operator(a, lr, B), mean)


@pytest.mark.parametrize("B", BATCHES)
def test_the_spectral_radius_crosses_one_at_the_limit(B):
    a = problem().features
    limit = theory.mean_square_limit(a, B)
    for factor, sign in ((0.2, -1), (0.9, -1), (0.999, -1), (1.001, 1), (1.2, 1)):
        values = torch.linalg.eigvals(theory.second_moment_operator(a, factor * limit, B))
        assert (values.abs().max() - 1).sign() == sign


def test_the_limits_of_the_chapter_rise_to_that_of_the_function():
    f = problem()
    top = 2 / f.eigenvalues[-1].item()
    shares = [theory.mean_square_limit(f.features, B) / top for B in BATCHES]
    assert shares == pytest.approx([0.2735, 0.4432, 0.6309, 0.8849, 0.9699], abs=1e-4)
    assert theory.mean_square_limit(f.features, 10**9) == pytest.approx(top)


def test_one_dimension_is_as_written_by_hand():
    a = random_features(7, 1, seed=3)
    square, fourth = a.square().mean().item(), a.pow(4).mean().item()
    for B in (1, 5):
        expected = 2 * square / (fourth / B + (1 - 1 / B) * square**2)
        assert theory.mean_square_limit(a, B) == pytest.approx(expected)


@pytest.mark.parametrize(("share", "grows"), [(0.85, False), (1.15, True)])
def test_runs_grow_in_mean_square_above_the_limit_only(share, grows):
    f = problem(noise=0.0)
    lr = share * theory.mean_square_limit(f.features, 4)
    T = theory.second_moment_operator(f.features, lr, 4)
    # From the slowest mode of T, which is a covariance, a step multiplies the mean of |z|² by ρ.
    rho, C = torch.linalg.eigvalsh(T)[-1], torch.linalg.eigh(T).eigenvectors[:, -1].reshape(4, 4)
    values, vectors = torch.linalg.eigh(C * C.trace().sign())
    assert values.min() > 0
    root = vectors * values.sqrt()
    # 200,000 draws: the ratio's standard error is below 2 %.
    z = torch.randn(200_000, 4, generator=torch.Generator().manual_seed(0), **F64) @ root.T
    before, after = trajectory(SGD, f.samples(4), f.minimiser + z, 1, lr=lr) - f.minimiser
    ratio = (after.square().sum(-1).mean() / before.square().sum(-1).mean()).item()
    assert ratio == pytest.approx(rho.item(), rel=0.05)
    assert (rho > 1) == grows


@pytest.mark.parametrize(("share", "B"), [(0.1, 1), (0.5, 1), (0.5, 16)])
def test_the_floor_is_where_runs_settle(share, B):
    f = problem()
    lr = share * theory.mean_square_limit(f.features, B)
    path = trajectory(SGD, f.samples(B), f.minimiser.expand(500, 4), 500, lr=lr)[100:]
    measured = (f.loss(path) - f.loss(f.minimiser)).mean().item()
    assert measured == pytest.approx(theory.minibatch_floor(f, lr, B), rel=0.05)


def test_the_floor_for_short_steps_is_that_of_constant_noise_and_infinite_at_the_limit():
    f = problem()
    lr, trace = 1e-6, f.gradient_covariance(f.minimiser).trace().item()
    assert theory.minibatch_floor(f, lr, 2) == pytest.approx(lr * trace / 2 / 4, rel=1e-4)
    limit = theory.mean_square_limit(f.features, 2)
    assert theory.minibatch_floor(f, limit, 2) == float("inf")
    assert theory.minibatch_floor(f, 0.99 * limit, 2) > 10 * theory.minibatch_floor(
        f, 0.5 * limit, 2
    )


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("mu", [0.01, 0.3, 0.9])
def test_momentum_is_stable_up_to_its_limit(mu, nesterov):
    limit = theory.momentum_limit(mu, nesterov)
    for factor, shrinks in ((0.98, True), (1.02, False)):
        options = {"lr": factor * limit, "momentum": mu, "nesterov": nesterov}
        x = trajectory(SGD, lambda x: x, torch.ones(1, **F64), 1_000, **options)
        assert (x[-200:].abs().max() < 1e-3) == shrinks


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.mean_square_limit(torch.ones(3), 1), "features must have shape"),
        (lambda: theory.mean_square_limit(torch.ones(3, 2), 1), "full column rank"),
        (lambda: theory.mean_square_limit(torch.ones(3, 1), 0), "batch_size must be"),
        (lambda: theory.second_moment_operator(torch.ones(3, 1), 0.1, 1.5), "batch_size must be"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("B", [1, 2])
def test_the_gap_of_minibatches_is_the_mean_over_all_that_can_be_drawn(B):
    f = LeastSquares(random_features(3, 2), random_features(3, 1, seed=1)[:, 0])
    x0, lr, steps = torch.tensor([2.0, -1.0], **F64), 0.4, 3
    batches = torch.tensor(list(itertools.product(range(3), repeat=B)))  # (3**B, B)
    x, want = x0[None], [f.loss(x0)]
    for _ in range(steps):  # every run so far goes on with every batch
        gradients = [f.batch_gradient(x, index.expand(len(x), B)) for index in batches]
        x = torch.cat([x - lr * g for g in gradients])
        want.append(f.loss(x).mean())
    got = theory.minibatch_gap(f, x0, lr, B, steps)
    torch.testing.assert_close(got, torch.stack(want) - f.loss(f.minimiser))
