"""Theory against enumeration, against Adam's own rule, and against measured curves."""

import math

import pytest
import torch

from companion import theory
from companion.optim import ADOPT, SGD, Adam
from companion.problems import AdoptToy
from companion.simulate import trajectory

F64 = {"dtype": torch.float64}
BETA1 = torch.tensor([0.0, 0.5, 0.9, 0.97], **F64)[:, None]
BETA2 = torch.tensor([0.0, 0.5, 0.9, 0.99], **F64)


def function_2(n):
    return [float(n)] + [-1.0] * (n - 1)


# -- drifts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "rare", "common"), [(3, 4.0, -1.0), (10, 10.0, -1.0), (7, 9.0, 0.5)])
def test_cyclic_drift_is_what_adam_walks_in_a_cycle(n, rare, common):
    # After 1000 steps of burn-in the start has decayed by .99^1000 = 4e-5; it was corrected, too.
    walked = theory.drift(
        BETA1, BETA2, [rare] + [common] * (n - 1), "cyclic", steps=1000 + 2 * n, burn=1000
    )
    exact = theory.cyclic_drift(BETA1, BETA2, n, rare, common)
    torch.testing.assert_close(n * walked.mean, exact, rtol=1e-4, atol=1e-4)
    assert not walked.standard_error.any()


def test_cyclic_drift_without_memory_of_v():
    # β2 = 0: each step is m/|g|, and the sum is negative as the closed form says.
    for n in (4, 5, 10, 50):
        share = (1 - BETA1) / (1 - BETA1**n)
        wrong = share > (2 * n - 1) / (n**2 - 1)
        assert torch.equal(theory.cyclic_drift(BETA1, 0.0, n) < 0, wrong)
    # β2 = 1: v is the mean of g², and the sum is the mean gradient's.
    exact = 10 * (1 / 10) / math.sqrt(10 + 1 - 1 / 10)
    assert theory.cyclic_drift(0.5, 1.0, 10).item() == pytest.approx(exact, rel=1e-12)


CYCLIC = [
    (5, 0.0, 0.811),
    (5, 0.9, math.nan),
    (10, 0.0, 0.955),
    (10, 0.9, 0.7747),
    (20, 0.0, 0.989),
    (20, 0.9, 0.970),
    (50, 0.0, 0.9984),
    (50, 0.9, 0.9975),
]


@pytest.mark.parametrize(("n", "beta1", "expected"), CYCLIC)
def test_cyclic_thresholds_of_function_2(n, beta1, expected):
    found = theory.cyclic_threshold(beta1, n).item()
    assert found == pytest.approx(expected, abs=6e-4 if n < 50 else 6e-5, nan_ok=True)
    if not math.isnan(found):
        around = torch.tensor([found - 1e-9, found + 1e-9], **F64)
        assert (theory.cyclic_drift(beta1, around, n) < 0).tolist() == [True, False]


def test_cyclic_thresholds_of_reddis_problems():
    for C, expected in ((3.0, 0.472), (4.0, 0.317), (10.0, 0.098)):
        assert theory.cyclic_threshold(0.0, 3, C).item() == pytest.approx(expected, abs=5e-4)
    last = theory.cyclic_threshold(0.9, 101, 1010.0, -10.0).item()
    assert last == pytest.approx(0.99952, abs=5e-6)


def test_thresholds_come_for_a_whole_grid():
    grid = torch.linspace(0, 0.95, 6, **F64).reshape(2, 3)
    found = theory.cyclic_threshold(grid, 10)
    assert found.shape == (2, 3)
    for beta1, one in zip(grid.flatten(), found.flatten(), strict=True):
        torch.testing.assert_close(theory.cyclic_threshold(beta1, 10), one, equal_nan=True)


def test_the_bound_holds_in_every_order():
    for n in (5, 10):
        bound = theory.drift_bound(BETA1, BETA2, n)
        assert (theory.cyclic_drift(BETA1, BETA2, n) <= bound).all()
        for order in ("iid", "reshuffled"):
            found = theory.drift(BETA1, BETA2, function_2(n), order, 600, 32)
            # Five standard errors: a false alarm in any cell has probability below 1e-3.
            assert (n * (found.mean - 5 * found.standard_error) <= bound).all()
    assert (theory.drift_bound(torch.tensor([0.0, 0.5], **F64), 0.5, 50) < 0).all()  # not void
    # β1 = 0 leaves one term.
    one = 11 / math.sqrt(1 + 0.5 * 99) - 10 / math.sqrt(10.9)
    assert theory.drift_bound(0.0, 0.5, 10).item() == pytest.approx(one, rel=1e-12)


SIMULATED = [
    (5, "reshuffled", 0.829),
    (5, "iid", 0.898),
    (10, "reshuffled", 0.958),
    (10, "iid", 0.978),
]


@pytest.mark.parametrize(("n", "order", "expected"), SIMULATED)
def test_simulated_thresholds_of_function_2(n, order, expected):
    found = theory.threshold(
        0.0, function_2(n), order, 1600, 128, bracket=(0.7, 0.99), points=7, rounds=2
    )
    assert found.standard_error.item() < 0.002
    # Three standard errors beside the resolution of the table.
    assert abs(found.beta2.item() - expected) < 0.001 + 3 * found.standard_error.item()


def test_a_rule_that_never_errs_has_no_threshold():
    found = theory.threshold(0.9, function_2(5), "reshuffled", 600, 8, points=6, rounds=1)
    assert found.beta2.isnan()
    assert found.standard_error.isnan()


def test_control_variate_leaves_the_mean_and_lowers_the_error():
    gradients, beta2 = function_2(10), torch.tensor([0.9, 0.99], **F64)
    short = theory.drift(0.0, beta2, gradients, "iid", 1000, 256)
    other = theory.drift(0.0, beta2, gradients, "iid", 1000, 256, seed=1)
    error = torch.hypot(short.standard_error, other.standard_error)
    assert ((short.mean - other.mean).abs() < 4 * error).all()
    # Without it the error at large β2 is that of the mean of 750 normalised gradients.
    plain = math.sqrt(1 / (750 * 256))
    assert short.standard_error[1] < 0.5 * plain


# -- skewness -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["iid", "reshuffled", "cyclic"])
@pytest.mark.parametrize("optimizer", [Adam, ADOPT])
def test_skewness_gives_the_drift_for_large_beta2(optimizer, order):
    n, beta2 = 5, 0.995
    g = torch.tensor(function_2(n), **F64)
    second, third = g.square().mean(), g.pow(3).mean()
    options = {"clip_lambda": None} if optimizer is ADOPT else {}
    found = theory.drift(0.0, beta2, g, order, 3000, 128, burn=1500, optimizer=optimizer, **options)
    kappa = theory.skewness_factor(optimizer.__name__, order)
    bias = theory.skewness_bias(beta2, second, third, kappa)
    predicted = (g.mean() - bias) / second.sqrt()
    unit = theory.skewness_bias(beta2, second, third, 1.0) / second.sqrt()
    assert abs(found.mean - predicted) < 0.15 * unit + 4 * found.standard_error


def test_skewness_threshold_is_the_limit_of_the_exact_one():
    for n, tolerance in ((20, 0.1), (50, 0.03), (100, 0.015)):
        g = torch.tensor(function_2(n), **F64)
        moments = g.mean(), g.square().mean(), g.pow(3).mean()
        expansion = theory.skewness_threshold(*moments, theory.skewness_factor("Adam", "cyclic"))
        exact = theory.cyclic_threshold(0.0, n)
        assert ((1 - expansion) / (1 - exact)).item() == pytest.approx(1, abs=tolerance)
        assert (1 - expansion).item() == pytest.approx(4 * (n + 1) / n**3, rel=0.01)


def test_skewness_bias_of_the_two_panels():
    # E[g²] = 4a²/9 and E[g³] = -.7901 a³ at x* = 0; the mean loss has curvature 1/50.
    a = 3.0
    g = torch.tensor([-2 * a] + [2 * a / 9] * 9, **F64)
    bias = theory.skewness_bias(0.999, g.square().mean(), g.pow(3).mean()) * 50
    assert bias.item() == pytest.approx(-44.4 * 0.001 * a, rel=2e-3)


# -- colour balls ---------------------------------------------------------------------------------

LABELS = {1: [2.5], 2: [1.0, -3.0], 3: [4.0, 0.5, -2.0], 4: [1.0, 2.0, -7.0, 3.0]}
BALLS = [(n, k) for n, k in ((1, 3), (2, 1), (2, 2), (2, 6), (3, 1), (3, 3), (4, 2))]


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("n", "k"), BALLS)
def test_lemma_a1_and_the_variance_equal_their_enumeration(n, k, beta):
    c = LABELS[n]
    for order in ("reshuffled", "iid"):
        assert theory.momentum_error(c, beta, k, order) == pytest.approx(
            theory.lemma_a1(c, beta, k), abs=1e-12
        )
        variance = theory.momentum_sum(c, beta, k, order).var(correction=0).item()
        assert theory.momentum_sum_variance(c, beta, k, order) == pytest.approx(
            variance, abs=1e-12, rel=1e-12
        )


def test_reshuffling_buys_variance():
    c, table = LABELS[2], {0.5: (1.6, 16.0), 0.9: (3.5, 73)}
    for beta, expected in table.items():
        for order, value in zip(("reshuffled", "iid"), expected, strict=True):
            assert theory.momentum_sum_variance(c, beta, 6, order) == pytest.approx(value, rel=0.02)


def late(signs):
    """Return a weight that knows the last two earlier epochs."""
    return 2 + (signs[:, -3:-1] * torch.tensor([0.3, -1.1], **F64)).sum(-1)


@pytest.mark.parametrize("r", [theory.wandering, late])
@pytest.mark.parametrize("beta", [0.3, 0.9])
@pytest.mark.parametrize("k", [3, 6, 11])
def test_lemma_a2_equals_its_enumeration(k, beta, r):
    for c in ([1.0, -3.0], [2.0, 5.0]):
        enumerated = theory.weighted_momentum_error(c, beta, k, r)
        assert enumerated == pytest.approx(theory.lemma_a2(c, beta, k, r), abs=1e-12)


def test_lemma_a2_decays_like_one_over_root_k():
    c = [1.0, -1.0]  # no first term
    scaled = [theory.lemma_a2(c, 0.5, k) * math.sqrt(k) for k in (7, 10, 13)]
    # δ (1 - β²)/β Σ_j β^{2j} / √k, Σ = β²/(1 - β²): -β
    assert scaled[-1] == pytest.approx(-0.5, rel=0.06)
    assert abs(scaled[2] + 0.5) < abs(scaled[0] + 0.5)


def test_a_constant_weight_turns_a2_into_a1():
    ones = lambda s: torch.ones(len(s), dtype=s.dtype)  # noqa: E731
    for k in (1, 4):
        a1 = theory.lemma_a1(LABELS[2], 0.7, k)
        assert theory.lemma_a2(LABELS[2], 0.7, k, ones) == pytest.approx(a1, abs=1e-14)


# -- rates ----------------------------------------------------------------------------------------


def test_absolute_value_attains_the_rate_of_sgd_and_adopt():
    T, G, R = 110, 3.0, 2.0  # √T is near a half, so that x ends up straddling the kink

    def f(x):
        return G * x.sign()

    x0 = torch.tensor([R], **F64)
    path = trajectory(SGD, f, x0, T, lr=R / (G * math.sqrt(T)))
    share = (G * path[:T].abs()).mean() / theory.sgd_rate(T, G, R)
    assert 0.95 < share < 1
    lr = R / G * math.sqrt(G**2 / T)
    path = trajectory(ADOPT, f, x0, T + 1, lr=lr, betas=(0.0, 0.5), clip_lambda=None)
    share = (G * path[1 : T + 1].abs()).mean() / theory.adopt_rate(T, G, R, G**2, G**2)
    assert 0.95 < share < 1


def test_measured_gaps_on_the_toy_stay_below_the_rates():
    k, T, x0 = 4, 2000, torch.zeros(64, 1, **F64)
    f, G = AdoptToy(k), math.sqrt(k**3 + k**2 - k)
    assert f.moments(x0[0]).second.item() == pytest.approx(G**2)

    def gap(optimizer, start, **options):
        path = trajectory(optimizer, f, x0, T + start, project=f.project, **options)
        return (path[start : T + start] + 1).mean().item()

    assert gap(SGD, 0, lr=1 / (G * math.sqrt(T))) < theory.sgd_rate(T, G, 1)
    measured = gap(SGD, 0, lr=lambda t: 0.1 / math.sqrt(t))
    assert measured < theory.sgd_decaying_rate(T, G, 2, 0.1)
    beta2 = torch.tensor([0.1, 0.9, 0.999], **F64).view(-1, 1, 1)
    lr = k / (G * math.sqrt(T))
    measured = gap(ADOPT, 1, lr=lr, beta1=0.0, beta2=beta2, clip_lambda=None)
    assert measured < theory.adopt_rate(T, G, 1, k**2, k**4)


def test_measured_gradients_stay_below_the_smooth_rates():
    # f = √(1 + x²): L = 1, |f'| < 1; noise ±1 with equal probability: G² = 2.
    T, G, start, eps = 1000, math.sqrt(2), 3.0, 0.5
    delta, x0 = math.sqrt(1 + start**2) - 1, torch.full((64, 1), start, **F64)

    def slope(x):
        return x / (1 + x.square()).sqrt()

    def oracle(x, generator):
        flip = torch.rand(x.shape[-2:], generator=generator) < 0.5
        return slope(x) + torch.where(flip, 1.0, -1.0).to(x)

    path = trajectory(SGD, oracle, x0, T, lr=math.sqrt(2 * delta / (G**2 * T)))
    assert slope(path[:T]).square().mean() < theory.sgd_smooth_rate(T, G, 1, delta)
    options = {"lr": math.sqrt(2 * delta * eps**2 / (G**2 * T)), "eps": eps, "clip_lambda": None}
    path = trajectory(ADOPT, oracle, x0, T + 1, betas=(0.0, 0.9), **options)
    measured = (slope(path[1 : T + 1]).abs() ** (4 / 3)).mean((1, 2)) ** 1.5
    assert measured.mean() < theory.adopt_smooth_rate(T, G, 1, delta, eps**2)


def test_rates_minimise_the_bounds_of_their_proofs():
    T, G, R, L, delta, low, high = 400, 3.0, 2.0, 1.5, 0.7, 0.5, 4.0
    lr = torch.logspace(-5, 2, 200_001, **F64)
    convex = R**2 / (2 * lr * T) + lr * G**2 / 2
    smooth = delta / (lr * T) + lr * L * G**2 / 2
    convex_adopt = math.sqrt(high) * (R**2 / (2 * lr * T) + lr * G**2 / (2 * low))
    smooth_adopt = math.sqrt(G**2 + low) * (delta / (lr * T) + lr * L * G**2 / (2 * low))
    for bounds, rate in (
        (convex, theory.sgd_rate(T, G, R)),
        (smooth, theory.sgd_smooth_rate(T, G, L, delta)),
        (convex_adopt, theory.adopt_rate(T, G, R, low, high)),
        (smooth_adopt, theory.adopt_smooth_rate(T, G, L, delta, low)),
    ):
        assert bounds.min().item() == pytest.approx(rate, rel=1e-6)


WRONG = [
    (lambda: theory.cyclic_drift(1.5, 0.5, 10), "beta1 must lie"),
    (lambda: theory.cyclic_drift(0.5, 0.5, 1), "n >= 2"),
    (lambda: theory.cyclic_threshold(0.5, 3, 1.0), "mean gradient must be positive"),
    (lambda: theory.drift_bound(1.0, 0.5, 10), "beta1 must be below 1"),
    (lambda: theory.drift(0.0, 0.5, [1.0, -1.0], "random"), "order must be one of"),
    (lambda: theory.drift(0.0, 0.5, [1.0]), "gradients must have shape"),
    (lambda: theory.drift(0.0, 0.5, [1.0, -1.0], steps=10, burn=10), "burn must be"),
    (lambda: theory.threshold(0.0, [1.0, -1.0]), "mean of the gradients must be positive"),
    (lambda: theory.skewness_factor("SGD"), "optimizer and order"),
    (lambda: theory.draws(9, 9), "take fewer"),
    (lambda: theory.draws(0, 1), "n >= 1"),
    (lambda: theory.draws(2, 2, "cyclic"), "order must be"),
    (lambda: theory.momentum_sum_variance([1.0, 2.0], 0.5, 1, "cyclic"), "order must be"),
    (lambda: theory.lemma_a1([[1.0]], 0.5, 1), "c must have shape"),
    (lambda: theory.lemma_a2([1.0, 2.0, 3.0], 0.5, 1), "c must have shape"),
    (lambda: theory.lemma_a2([1.0, 2.0], 0.5, 3, lambda s: s.sum(-1)), "before the last"),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
