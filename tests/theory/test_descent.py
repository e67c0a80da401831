"""The bound of the descent lemma, and averaged iterates, against runs and hand computations."""

import pytest
import torch

from companion import theory
from companion.optim import SGD
from companion.problems import Quadratic
from companion.simulate import trajectory

F64 = {"dtype": torch.float64}


def slope(x):
    """Return the gradient of ½ log(1 + x²): between -⅛ and 1 curved, so 1-smooth."""
    return x / (1 + x.square())


@pytest.mark.parametrize("lr", [lambda t: 1.0, lambda t: 0.05, lambda t: 0.5 / t**0.5])
def test_the_bound_holds_at_every_step_where_f_is_not_convex(lr):
    T, sigma = 400, 0.5

    def oracle(x, generator):
        return slope(x) + sigma * torch.randn(x.shape[-2:], generator=generator, **F64)

    x0 = torch.full((2_000, 1), 8.0, **F64)
    path = trajectory(SGD, oracle, x0, T, lr=lr)[:-1]
    lrs = torch.tensor([lr(t) for t in range(1, T + 1)], **F64)
    weighted = (lrs * slope(path).square().mean((1, 2))).cumsum(0) / lrs.cumsum(0)
    bound = theory.gradient_bound(lrs, 1.0, 0.5 * torch.log1p(x0[0, 0] ** 2).item(), sigma)
    assert (weighted < bound).all()
    assert weighted[-1] > 0.02 * bound[-1]  # not an idle bound


def test_the_bound_is_that_of_constant_steps():
    got = theory.gradient_bound([0.1] * 50, L=2.0, gap=3.0, sigma=0.5)
    T = torch.arange(1, 51, **F64)
    torch.testing.assert_close(got, 2 * 3.0 / (0.1 * T) + 0.1 * 2.0 * 0.25)


@pytest.mark.parametrize("lr", [0.1, 0.7, 1.9])
def test_the_average_is_as_far_as_a_sum_over_all_noises_says(lr):
    lam, sigma, start = 0.8, 0.3, 2.0
    for T in (1, 2, 7, 60):
        rho = 1 - lr * lam
        mean, weights = 0.0, torch.zeros(T, **F64)
        z, memory = start, torch.zeros(T, **F64)  # z_t = z + memory @ ξ
        for t in range(T):
            mean, weights = mean + z / T, weights + memory / T
            z, memory = rho * z, rho * memory
            memory[t] = -lr * sigma
        expected = mean**2 + weights.square().sum().item()
        assert theory.average_error(T, lam, lr, sigma, start) == pytest.approx(expected)


def test_averages_of_runs_have_that_error_whatever_the_step():
    f, T = Quadratic([0.5]), 4_000
    x0 = torch.full((3_000, 1), 1.0, **F64)
    lr = torch.tensor([0.2, 2.0], **F64)[:, None, None]
    path = trajectory(SGD, f.noisy(1.0), x0, T - 1, lr=lr)
    measured = path.mean(0).square().mean((1, 2))
    for i, eta in enumerate((0.2, 2.0)):
        expected = theory.average_error(T, 0.5, eta, 1.0, 1.0)
        assert measured[i].item() == pytest.approx(expected, rel=0.1)
        assert expected == pytest.approx(1 / (0.25 * T), rel=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.gradient_bound([0.1, 0.6], 2.0, 1.0, 1.0), r"\(0, 0.5\], got 0.6"),
        (lambda: theory.gradient_bound([0.0], 2.0, 1.0, 1.0), "lrs must lie in"),
        (lambda: theory.average_error(5, 1.0, 2.0, 1.0, 1.0), r"\(0, 2\), got 2"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
