"""The printed solutions against independent truths: theory, enumeration, simulation."""

import itertools
import math

import pytest
import torch

from companion.checks import adam, symmetric
from companion.hessian import Dense, smoothness_bracket
from companion.hessian.cauchy import median_factor
from companion.optim import Adam, RMSprop
from companion.optim.blocks import AdamMini, divide
from companion.problems import HintonRprop, TenParabolas
from companion.rotation import haar
from companion.simulate import trajectory
from companion.theory import cyclic_drift, skewness_bias
from tests.checks.printed import namespace

float64 = torch.float64


@pytest.fixture(autouse=True)
def _default_dtype():
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


def generator():
    return torch.Generator().manual_seed(0)


def test_longest_step_tends_to_the_limit_in_the_chapter():
    beta1, beta2 = 0.9, 0.999
    limit = (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))
    assert adam.longest_step(30_000, beta1, beta2) == pytest.approx(limit, rel=1e-9)


def test_no_random_gradients_exceed_the_longest_step():
    random = generator()
    for beta1, beta2 in adam.BETAS:
        for _ in range(10):
            g = torch.randn(50, generator=random, dtype=float64)
            assert abs(adam.last_step(g, beta1, beta2)) <= adam.longest_step(50, beta1, beta2)
    bound = namespace("networks")["longest_step"]
    for beta1, beta2, t in ((0.9, 0.99, 12), (0.9, 0.5, 12), (0.0, 0.9, 5)):
        s = torch.arange(t, dtype=float64)
        w1, w2 = beta1**s, beta2**s
        # Heavy tails, so that some of the sequences have one large entry.
        g = torch.randn(20_000, t, generator=random, dtype=float64).pow(5)
        ratio = (g @ w1 / w1.sum()).abs() / (g.square() @ w2 / w2.sum()).sqrt()
        assert ratio.max() <= bound(beta1, beta2, t) * (1 + 1e-12)


def test_drift_of_the_proposition_is_that_of_rmsprop():
    # Independent draws of Hinton's gradients, 400 seeds: the mean step within five standard errors
    # plus the next order, which is below a tenth of the prediction at this memory.
    alpha, steps, lead = 0.99, 2_000, 1_000
    x0 = torch.zeros(400, 1, dtype=float64)
    x = trajectory(RMSprop, HintonRprop("iid"), x0, steps, every=lead, lr=1.0, alpha=alpha)
    rate = (x[2] - x[1])[:, 0] / (steps - lead)
    gradients = torch.tensor([0.1] * 9 + [-0.9], dtype=float64)
    predicted = namespace("adaptive")["predicted_drift"](gradients, alpha).item()
    error = rate.std().item() / len(rate) ** 0.5
    assert abs(rate.mean().item() - predicted) < 5 * error + 0.1 * abs(predicted)


@pytest.mark.parametrize(("k", "call"), [(3, 13), (10, 6530)])
def test_the_first_right_call_is_where_the_enumerated_mean_turns_positive(k, call):
    """All pairs of a gradient and the one before, with their probabilities."""

    def mean(clip):
        toy = ((float(k**2), 1 / k), (-float(k), 1 - 1 / k))
        return sum(
            p * q * max(-clip, min(clip, g / abs(before))) for g, p in toy for before, q in toy
        )

    assert namespace("adopt")["first_right_call"](k) == call
    assert mean((call - 2) ** 0.25) <= 0 < mean((call - 1) ** 0.25)


def test_the_constant_of_a_diagonal_matrix_is_that_of_the_bracket():
    h = torch.tensor([100.0, 1.0, -3.0, 2.0], dtype=float64)
    labels = torch.tensor([1, 0, 1, 0])
    constant = namespace("blockwise")["constant"](h, labels)
    for bound in smoothness_bracket(Dense(torch.diag(h)), labels)[:2]:
        torch.testing.assert_close(bound, constant, rtol=1e-3, atol=0)


def test_adam_mini_keeps_the_moments_of_the_exercise():
    C, n = 16, 4
    weights = {name: torch.zeros(C, C) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}
    kept = [divide(AdamMini(n), p, name) for name, p in weights.items()]
    assert sum(kept) == namespace("blockwise")["moments"](C, n)


def test_the_sum_over_a_cycle_and_its_sign_at_the_edge_are_those_of_the_theory():
    for beta2 in (0.0, 0.3, 0.99):
        printed = namespace("counterexample")["cycle_sum"]([4.0, -1.0, -1.0], beta2)
        assert printed == pytest.approx(cyclic_drift(0.0, beta2, 3, rare=4.0).item())
    for n in (3, 5, 10, 50):
        edge = namespace("phase_transition")["escape_beta1"](n)
        assert cyclic_drift(edge - 1e-6, 0.0, n) < 0 < cyclic_drift(edge + 1e-6, 0.0, n)


def test_the_estimates_are_unbiased():
    """Within four standard errors of the truth, which chance breaks once in 16,000 seeds."""
    printed, random, H = namespace("estimators"), generator(), symmetric(6, 0)
    V = torch.randint(2, (6, 4000), generator=random).double() * 2 - 1
    value, stderr = printed["hutchinson"](lambda v: H @ v, V)
    assert abs(value - H.trace()) < 4 * stderr
    p = torch.rand(6, generator=random, dtype=float64) + 0.1
    draws = torch.multinomial(p, 4000, replacement=True, generator=random)
    value, stderr = printed["importance"](lambda v: H @ v, p / p.sum(), draws)
    assert abs(value - H.abs().sum()) < 4 * stderr
    v = torch.empty(4000, 6, 11, dtype=float64).cauchy_(generator=random)
    # One matrix of 4000 blocks of rows: the median is a row's, and the sum of all is linear.
    X = (H @ v).flatten(0, 1)
    found = X.abs().median(1).values.view(4000, 6).sum(1) / median_factor(11)
    assert torch.allclose(printed["corrected_median"](X), found.sum())
    assert abs(found.mean() - H.abs().sum()) < 4 * found.std() / len(found) ** 0.5


def test_the_spread_is_that_of_many_rotations():
    """Over 20,000 diagonals the empirical value has a standard error of about 2 %."""
    A = torch.randn(5, 8, generator=generator(), dtype=float64)
    G = A @ A.T
    Q = torch.stack([haar(5, seed=i, dtype=float64).dense() for i in range(4000)])
    diagonals = torch.einsum("nji,jk,nki->ni", Q, G, Q)
    found = diagonals.var() / diagonals.mean() ** 2
    torch.testing.assert_close(found, namespace("network_geometry")["spread"](G), rtol=0.08, atol=0)


def test_the_block_step_is_the_minimum():
    """No other step makes ⟨g, s⟩ + ½‖s‖²_Φ smaller."""
    labels, random = torch.tensor([0, 1, 0, 2, 1, 0]), generator()
    g = torch.randn(6, generator=random, dtype=float64)

    def value(s):
        means = torch.stack([s[..., labels == b].square().mean(-1) for b in range(3)])
        return s @ g + means.amax(0) / 2

    best = namespace("norms")["block_step"](g, labels)
    noise = torch.randn(5000, 6, generator=random, dtype=float64)
    others = best + noise * torch.logspace(-4, 1, 5000, dtype=float64).unsqueeze(-1)
    assert (value(others) >= value(best) - 1e-12).all()


def test_the_resting_point_is_that_of_the_theory():
    moments = TenParabolas(a=3.0).moments(torch.zeros((), dtype=float64))
    bias = skewness_bias(0.999, moments.second, moments.third, 0.5)
    h, c = [2.0] + [-0.2] * 9, [3.0] + [10 / 3] * 9
    printed = namespace("phase_transition")["resting_point"](h, c, 0.999, 0.5)
    torch.testing.assert_close(printed, bias / 0.02)


def test_the_formula_of_a_random_rotation_agrees_with_one():
    """One Haar rotation of k ones in 400 dimensions is within 2 % of the formula."""
    d, k = 400, 12
    Q, R = torch.linalg.qr(torch.randn(d, d, dtype=float64, generator=generator()))
    Q = Q * R.diagonal().sign()
    measured = (Q[:k].T @ Q[:k]).abs().sum().item() / d
    assert measured == pytest.approx(namespace("quadratics")["ones"](k, d), rel=0.02)


def test_a_matrix_is_tight_where_a_flip_of_signs_attains_its_sum():
    flips = torch.tensor(list(itertools.product((1.0, -1.0), repeat=3)), dtype=float64)
    for seed in range(50):
        H = symmetric(3, seed)
        attained = (flips @ H @ flips.T).max() >= H.abs().sum() - 1e-12
        assert namespace("smoothness")["tight"](H) == bool(attained)


def test_the_constant_lies_between_the_answers():
    H, printed = symmetric(5, 0), namespace("smoothness")
    V = torch.randn(5, 3, generator=generator(), dtype=float64)
    lower, upper, *_ = smoothness_bracket(Dense(H), 5)
    assert printed["lower_bound"](H, V, 20) <= upper * (1 + 1e-9)
    assert printed["certificate"](H, H.abs().sum(1)) >= lower * (1 - 1e-9)


def test_the_step_of_adam_on_a_scaled_loss_is_that_with_eps_over_the_scale():
    batch, random = 64, generator()
    lr, eps = namespace("tuning")["same_run"](0.01, 1e-3, batch)
    x, y = (torch.nn.Parameter(torch.zeros(5, dtype=float64)) for _ in range(2))
    old, new = Adam([x], lr=0.01, eps=1e-3), Adam([y], lr=lr, eps=eps)
    for _ in range(20):
        x.grad = torch.randn(5, dtype=float64, generator=random)
        y.grad = x.grad / batch
        old.step()
        new.step()
    torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("betas", [(0.9, 0.5), (0.9, 0.98), (0.5, 0.25)])
def test_where_the_gradient_stops_the_steps_of_adam_are_geometric(betas):
    x = torch.nn.Parameter(torch.zeros(1, dtype=float64))
    optimizer, path = Adam([x], lr=0.01, betas=betas, eps=0.0), []
    for t in range(1_020):  # so long that bias correction is over
        x.grad = torch.full_like(x, 3.0 if t < 1_000 else 0.0)
        optimizer.step()
        path.append(x.item())
    steps = torch.tensor(path[999:], dtype=float64).diff()
    ratio = betas[0] / betas[1] ** 0.5
    expected = -0.01 * ratio ** torch.arange(1, 21, dtype=float64)
    torch.testing.assert_close(steps, expected, rtol=1e-5, atol=1e-12)
