"""Norms of a Hessian: closed forms, bias, coverage of the error bars, the bracket of Λ."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from companion.hessian.base import Dense, LinearOperator
from companion.hessian.blocks import block_labels
from companion.hessian.bracket import norm_inf_1, smoothness_bracket
from companion.hessian.cauchy import cauchy_median, geometric_mean, median_factor, scale_mle
from companion.hessian.norms import METHODS, norm11
from companion.hessian.operators import Hessian
from companion.hessian.rows import cauchy_rows, rademacher_rows, uniform_rows
from companion.hessian.smoothness import partition_labels, smoothness_report
from companion.models import MLP


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def symmetric(d, seed=0):
    a = normal(d, d, seed=seed)
    return a + a.T


def haar(d, seed=0):
    q, r = torch.linalg.qr(normal(d, d, seed=seed))
    return q * r.diagonal().sign()


def rotated(d):
    """Return the spectrum of §4.1, ten ones and 1/k², in a Haar-random basis."""
    spectrum = torch.cat([torch.ones(10), 1 / torch.arange(1, d - 9) ** 2]).double()
    q = haar(d)
    return (q * spectrum) @ q.T


def random_sign(d):
    s = normal(d, d).sign().triu(1)
    return s + s.T + torch.eye(d).double()


def zero_rows(d):
    h = symmetric(d)
    h[: d // 3] = h[:, : d // 3] = 0
    return h


def arrow(d):
    """Return one dense row and column: row 2-norms tell nothing about the other rows."""
    h = torch.zeros(d, d).double()
    h[0] = h[:, 0] = 1
    return h


def uneven(d):
    """Return few dense rows among many sparse ones, all of the same 2-norm."""
    h = torch.eye(d).double()
    h[:20, :20] = random_sign(20) / math.sqrt(20)
    return h


u = normal(150, seed=1)
a, b = symmetric(12, seed=2), symmetric(15, seed=3)
ORACLES = {  # matrix and its (1,1)-norm in closed form, or the definition where there is none
    "diagonal": (torch.diag(u), u.abs().sum()),
    "rank one": (torch.outer(u, u), u.abs().sum() ** 2),
    "Kronecker": (torch.kron(a, b), a.abs().sum() * b.abs().sum()),
    "random sign": (random_sign(150), torch.tensor(150.0**2)),
    "zero rows": (zero_rows(150), zero_rows(150).abs().sum()),
    "arrow": (arrow(150), torch.tensor(2.0 * 150 - 1)),
    "uneven": (uneven(300), torch.tensor(280 + 20 * math.sqrt(20))),
}
UNBIASED = {
    "median": lambda *args, **options: cauchy_median(*args, corrected=True, **options),
    "geometric mean": geometric_mean,
    "rademacher rows": rademacher_rows,
    "cauchy rows": cauchy_rows,
}


class Copies(LinearOperator):
    """Many copies of one matrix on a diagonal: independent repetitions in one product."""

    def __init__(self, matrix, copies):
        super().__init__(len(matrix) * copies, matrix.dtype, matrix.device)
        self.matrix, self.copies = matrix, copies

    def matmat(self, V):
        blocks = V.reshape(self.copies, len(self.matrix), -1)
        return (self.matrix @ blocks).reshape(V.shape)


@pytest.mark.parametrize(
    ("method", "name"),
    # Uniform rows do not see, nor have in their standard error, heavy rows that were not drawn.
    [(m, n) for m in METHODS for n in ORACLES if (m, n) != ("uniform rows", "arrow")],
)
def test_the_estimates_are_within_five_standard_errors(name, method):
    matrix, truth = ORACLES[name]
    value, stderr, products, seed = norm11(Dense(matrix), products=101, method=method, seed=3)
    slack = truth * (0.02 if method == "algorithm 4" else 1e-9)  # bias 1.2 %
    assert (value - truth).abs() <= 5 * stderr + slack
    assert value.dtype == stderr.dtype == torch.float64
    assert products <= 101
    assert seed == 3


@pytest.mark.parametrize("n", [11, 21, 51])
def test_the_papers_median_is_too_large_by_the_factor_predicted(n):
    # 20,000 rows of size 1 that share no probe. Standard error below 0.5 %.
    op = Copies(torch.ones(1, 1).double(), 20_000)
    value = cauchy_median(op, n).value / op.d
    factor = median_factor(n)
    assert factor == pytest.approx(1 + math.pi**2 / 8 / n, abs=3 / n**2)
    assert value == pytest.approx(factor, abs=4 * 1.75 / math.sqrt(n * op.d))
    assert value - 1 > 4 * 1.75 / math.sqrt(n * op.d)
    for unbiased in (UNBIASED["median"], geometric_mean):
        mean = unbiased(op, n).value / op.d
        assert mean == pytest.approx(1, abs=4 * 1.75 / math.sqrt(n * op.d))


@pytest.mark.parametrize("n", [3, 4, 11, 50])
def test_the_factor_of_the_median_is_that_of_a_simulation(n):
    x = torch.empty(200_000, n, dtype=torch.float64).cauchy_(generator=generator()).abs()
    # Against heavy tails at n = 3, 4: means of the part below 100, whose rest is known to be small.
    medians = x.quantile(0.5, dim=1)
    assert medians.clamp_max(1e4).mean() == pytest.approx(median_factor(n), rel=0.03)


def test_few_probes_have_an_infinite_mean():
    assert median_factor(1) == median_factor(2) == math.inf
    for method in (cauchy_median, geometric_mean, scale_mle):
        with pytest.raises(ValueError, match="at least 3"):
            method(Dense(torch.eye(3)), 2)


@pytest.mark.parametrize(
    ("method", "variance"), [("geometric mean", None), ("mle", 2 / 51), ("median", 2.467 / 51)]
)
def test_the_spread_of_a_row_is_what_the_formula_says(method, variance):
    n = 51
    if variance is None:
        variance = math.cos(math.pi / 2 / n) ** (2 * n) / math.cos(math.pi / n) ** n - 1
    op = Copies(torch.ones(1, 1).double(), 20_000)
    value = METHODS[method](op, n, partition=op.d).value
    assert value.var() == pytest.approx(variance, rel=0.08)
    assert value.mean() == pytest.approx(1, abs=0.006)


@pytest.mark.parametrize("matrix", ["rank one", "dense", "diagonal"])
@pytest.mark.parametrize("method", ["median", "geometric mean", "mle"])
def test_intervals_of_the_probes_cover(method, matrix):
    h = {"rank one": torch.ones(5, 5), "dense": symmetric(10), "diagonal": torch.eye(5)}[matrix]
    op = Copies(h.double(), 500)
    value, stderr, *_ = METHODS[method](op, 151, partition=500, seed=1)
    covered = (value - h.abs().sum()).abs() <= 1.96 * stderr
    assert 0.92 <= covered.double().mean() <= 0.98


@pytest.mark.parametrize(
    ("method", "name"),
    [
        *[(f"{way} rows", "Kronecker") for way in ("uniform", "rademacher", "cauchy")],
        ("cauchy rows", "zero rows"),
        ("cauchy rows", "uneven"),  # the other two rarely draw the heavy rows
    ],
)
def test_intervals_of_the_rows_cover(method, name):
    matrix, truth = ORACLES[name]
    answers = [METHODS[method](Dense(matrix), 80, seed=seed) for seed in range(500)]
    value, stderr = (torch.stack([a[i] for a in answers]) for i in (0, 1))
    assert 0.92 <= ((value - truth).abs() <= 1.96 * stderr).double().mean() <= 0.98
    assert value.mean() == pytest.approx(float(truth), abs=4 * float(value.std()) / math.sqrt(500))


@pytest.mark.parametrize("name", ORACLES)
def test_cauchy_rows_keep_below_their_bound(name):
    matrix, truth = ORACLES[name]
    k = m = 20
    bound = (math.cos(math.pi / k) ** -k - 1) / m
    value = torch.stack([cauchy_rows(Dense(matrix), k + m, seed=s).value for s in range(200)])
    # The sample variance of 200 is above 1.4 times its mean with a probability below 1e-3.
    assert (value / truth - 1).square().mean() <= 1.4 * bound


@pytest.mark.parametrize("name", ["Kronecker", "random sign", "arrow", "uneven"])
def test_the_default_reaches_its_tolerance_with_few_products(name):
    matrix, truth = ORACLES[name]
    answers = [norm11(Dense(matrix), rtol=0.1, seed=seed) for seed in range(100)]
    error = torch.stack([a.value for a in answers]) / truth - 1
    assert all(a.stderr <= 0.1 * a.value for a in answers)
    assert error.square().mean().sqrt() <= 0.125
    assert sum(a.products for a in answers) / 100 <= 1.25 * math.pi / 0.1


def test_small_operators_are_summed_exactly():
    h = symmetric(20)
    value, stderr, products, seed = norm11(Dense(h))
    torch.testing.assert_close(value, h.abs().sum())
    assert (stderr, products, seed) == (0, 20, None)
    assert norm11(Dense(h), products=20, partition=4).value.shape == (4,)


@pytest.mark.parametrize("method", ["median", "geometric mean", "mle", "cauchy rows", "adaptive"])
def test_zero_rows_and_zero_matrices_give_zero(method):
    op = Dense(zero_rows(150))
    value, stderr, *_ = norm11(op, products=100, method=method, partition=3)
    assert value[0] == stderr[0] == 0
    assert (value[1:] > 0).all()
    value, stderr, *_ = norm11(Dense(torch.zeros(200, 200)), products=20, method=method)
    assert value == stderr == 0
    assert norm11(Dense(torch.zeros(500, 500))).value == 0


@pytest.mark.parametrize("method", ["algorithm 4", "geometric mean", "mle"])
def test_rows_and_blocks_add_up_to_the_norm(method):
    op = Dense(symmetric(60))
    whole = norm11(op, products=33, method=method)
    rows = norm11(op, products=33, method=method, partition=60)
    blocks = norm11(op, products=33, method=method, partition=3)
    torch.testing.assert_close(rows.value.sum(), whole.value)
    torch.testing.assert_close(rows.value.view(3, 20).sum(1), blocks.value)
    # Errors of rows that share probes do not average out.
    assert whole.stderr > 3 * rows.stderr.square().sum().sqrt()


def test_blocks_of_drawn_rows_are_unbiased_and_say_what_they_do_not_know():
    h = symmetric(150)
    truth = h.abs().sum(1).view(3, 50).sum(1)
    answers = [cauchy_rows(Dense(h), 80, seed=s, partition=3) for s in range(400)]
    value, stderr = (torch.stack([a[i] for a in answers]) for i in (0, 1))
    z = (value.mean(0) - truth) / (value.std(0) / 20)
    assert z.abs().max() < 4
    covered = ((value - truth).abs() <= 1.96 * stderr)[stderr.isfinite()]
    assert 0.9 <= covered.double().mean() <= 0.98
    assert cauchy_rows(Dense(h), 80, partition=150).stderr.isnan().any()


def test_the_median_is_the_papers():
    h, n = symmetric(40), 20  # an even number of probes: NumPy's median, as in the paper's code
    v = torch.empty(n, 40, dtype=torch.float64).cauchy_(generator=generator(5)).T
    expected = abs((h @ v).numpy())
    value = cauchy_median(Dense(h), n, seed=5).value
    assert value == pytest.approx(np.median(expected, axis=1).sum(), rel=1e-12)


def test_a_geometric_mean_is_the_formula():
    h, n = symmetric(40), 37
    v = torch.empty(n, 40, dtype=torch.float64).cauchy_(generator=generator(5)).T
    product = ((h @ v).abs().pow(1 / n).prod(1) * math.cos(math.pi / 2 / n) ** n).sum()
    assert geometric_mean(Dense(h), n, seed=5).value == pytest.approx(float(product), rel=1e-10)


def test_the_scale_is_the_most_likely_one():
    h, n = symmetric(4), 37
    v = torch.empty(n, 4, dtype=torch.float64).cauchy_(generator=generator(5)).T
    x = (h @ v).abs().unsqueeze(1)  # (4, 1, n)
    grid = torch.logspace(-1, 2, 20_001, dtype=torch.float64).view(1, -1, 1)
    likelihood = (grid.log() - (grid**2 + x**2).log()).sum(2)  # (4, 20001)
    best = grid.flatten()[likelihood.argmax(1)] * (1 - 1 / n)
    rows = scale_mle(Dense(h), n, seed=5, partition=4).value
    torch.testing.assert_close(rows, best, rtol=1e-3, atol=0)


def test_probes_are_drawn_in_float64_for_a_float32_operator(monkeypatch):
    seen, draw = [], torch.Tensor.cauchy_

    def spy(self, *args, **options):
        seen.append(self.dtype)
        return draw(self, *args, **options)

    monkeypatch.setattr(torch.Tensor, "cauchy_", spy)
    assert geometric_mean(Dense(torch.eye(50)), 16).value.dtype == torch.float32
    assert seen == [torch.float64]


def test_a_seed_gives_the_same_answer_again():
    op = Dense(symmetric(120))
    for method in METHODS:
        one, same, other = (norm11(op, products=50, method=method, seed=s) for s in (1, 1, 2))
        assert one == same
        assert one.value != other.value


def test_uniform_rows_of_all_rows_are_exact():
    h = symmetric(30)
    value, stderr, *_ = uniform_rows(Dense(h), 30)
    torch.testing.assert_close(value, h.abs().sum())
    assert stderr == 0


def test_the_haar_formula():
    d = 300
    h = rotated(d)
    trace, squares = h.trace(), h.square().sum()
    spread = (d * squares - trace**2) / ((d - 1) * d * (d + 2))
    expected = trace + d * (d - 1) * math.sqrt(2 / math.pi) * spread.sqrt()
    assert norm11(Dense(h), rtol=0.02).value == pytest.approx(float(expected), rel=0.06)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda op: norm11(op, method="mean"), "method"),
        (lambda op: norm11(op, method="mle"), "products"),
        (lambda op: norm11(op, rtol=0.0), "rtol"),
        (lambda op: norm11(op, rtol=2.0), "rtol"),
        (lambda op: norm11(op, products=5), "products"),
        (lambda op: norm11(op, products=5, method="cauchy rows"), "products"),
        (lambda op: norm11(op, products=50, partition=7), "do not divide"),
        (lambda op: norm11(op, products=50, partition=torch.zeros(3).long()), "shape"),
        (lambda op: norm11(op, products=50, partition=torch.full((80,), 1)), "left out"),
        (lambda op: norm11(op, products=50, partition=torch.zeros(80)), "int64"),
        (lambda op: norm11(op, products=50, partition="rows"), "partition"),
        (lambda op: uniform_rows(op, 81), "m"),
        (lambda op: rademacher_rows(op, 20, floor=0.0), "floor"),
        (lambda op: norm_inf_1(op, restarts=0), "restarts"),
        (lambda op: smoothness_bracket(op, rank=0), "rank"),
        (lambda op: smoothness_bracket(op, steps=0), "steps"),
    ],
)
def test_wrong_arguments_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call(Dense(torch.eye(80)))


def test_a_product_that_is_not_finite_is_an_error():
    op = Dense(torch.full((80, 80), math.nan))
    for call in (geometric_mean, uniform_rows, cauchy_rows, rademacher_rows):
        with pytest.raises(FloatingPointError, match="NaN"):
            call(op, 20)
    for call in (norm_inf_1, smoothness_bracket):
        with pytest.raises(FloatingPointError, match="NaN"):
            call(op)


def test_labels_of_equal_blocks():
    assert block_labels(None, 3).tolist() == [0, 0, 0]
    assert block_labels(3, 6).tolist() == [0, 0, 1, 1, 2, 2]


# ∞→1 and Λ


def assert_between(bracket, truth, rtol=1e-3):
    assert bracket.lower <= truth * (1 + 1e-9)
    assert bracket.upper >= truth * (1 - 1e-9)
    assert bracket.upper <= bracket.lower * (1 + rtol)


def test_the_constant_of_a_diagonal_is_its_sum():
    assert_between(smoothness_bracket(Dense(torch.diag(u))), u.abs().sum())
    assert_between(smoothness_bracket(Dense(torch.diag(u)), 1), 150 * u.abs().max())


def test_the_constant_of_a_rank_one_matrix():
    op = Dense(torch.outer(u, u))
    assert_between(smoothness_bracket(op), u.abs().sum() ** 2)
    labels = block_labels(10, 150)
    blocks = torch.stack([u[labels == b].norm() * math.sqrt(15) for b in range(10)])
    assert_between(smoothness_bracket(op, labels), blocks.sum() ** 2)
    uneven = torch.cat([torch.full((n,), b) for b, n in enumerate((2, 28, 120))])
    blocks = [u[uneven == b].norm() * math.sqrt(n) for b, n in enumerate((2, 28, 120))]
    assert_between(smoothness_bracket(op, uneven), sum(blocks) ** 2, rtol=2e-3)


def test_one_block_is_the_spectral_norm():
    h = symmetric(100)
    bracket = smoothness_bracket(Dense(h), 1, rtol=1e-6, steps=2000)
    assert_between(bracket, 100 * torch.linalg.matrix_norm(h, 2))


@pytest.mark.parametrize("matrix", [rotated(120), random_sign(120), zero_rows(120), arrow(120)])
def test_the_constants_are_in_their_order(matrix):
    op = Dense(matrix)
    fine, *coarser = (smoothness_bracket(op, n, rtol=1e-5, steps=1000) for n in (120, 30, 4, 1))
    for coarse in coarser:  # each a refinement of the next
        assert fine.lower <= coarse.upper
        assert coarse.upper <= coarse.lower * 1.02
        fine = coarse
    infinity = norm_inf_1(op).value
    constant = smoothness_bracket(op)
    assert infinity <= constant.upper
    assert constant.lower <= matrix.abs().sum() * (1 + 1e-9)
    # Grothendieck's bound holds for ∞→1 itself, which the search nearly reaches.
    assert constant.lower <= 1.783 * 1.02 * infinity


def test_the_search_finds_the_norm_of_a_small_matrix():
    h = symmetric(10)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 10).double()
    best = (signs @ h).abs().sum(1).max()
    value, stderr, *_ = norm_inf_1(Dense(h), restarts=64)
    assert value == pytest.approx(float(best), rel=1e-12)
    assert stderr.isnan()


def test_the_bracket_contains_the_value_of_the_semidefinite_program():
    """Compare with an independent bound: gradient descent on D, made feasible by scaling."""
    h = symmetric(30)
    log_d = h.abs().sum(1).log().requires_grad_()
    optimizer = torch.optim.Adam([log_d], lr=0.05)
    best = math.inf
    for _ in range(400):
        scale = (-log_d / 2).exp()
        top = torch.linalg.eigvalsh(scale[:, None] * h * scale).abs().max()
        loss = top * log_d.exp().sum()
        best = min(best, loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    bracket = smoothness_bracket(Dense(h), rtol=1e-7, steps=3000)
    assert bracket.lower <= best
    assert bracket.upper <= best * 1.001
    assert bracket.upper <= bracket.lower * 1.001


def test_the_table_of_random_matrices():
    # Expected for other draws of the same ensembles: 0.964 and 37.3, give or take 0.01 and 1.
    bracket = smoothness_bracket(Dense(rotated(400)))
    assert bracket.lower / 400 == pytest.approx(0.9641, abs=0.01)
    bracket = smoothness_bracket(Dense(random_sign(400)))
    assert bracket.lower / 400 == pytest.approx(37.3, abs=1)
    assert bracket.upper <= bracket.lower * 1.01


def test_a_zero_matrix_has_the_constant_zero():
    op = Dense(torch.zeros(5, 5))
    lower, upper, *_ = smoothness_bracket(op)
    assert lower == upper == norm_inf_1(op).value == 0


# Networks


def network(sizes=(6, 12, 3)):
    torch.manual_seed(0)
    model = MLP(sizes, activation="tanh").double()
    return model, torch.nn.functional.cross_entropy, (normal(40, 6), torch.arange(40) % 3)


@pytest.mark.parametrize("partition", ["elements", "rows", "tensor"])
def test_the_report_of_a_network_holds_for_its_dense_hessian(partition):
    model, loss, data = network()
    op = Hessian(model, loss, data)
    h = op.dense()
    table = smoothness_report(model, loss, data, partition)
    spectral = torch.linalg.matrix_norm(h, 2).item()
    norm = h.abs().sum().item() / op.d
    assert table.lower["‖H‖₂"] <= spectral * (1 + 1e-9)
    assert table.upper["‖H‖₂"] >= spectral * (1 - 1e-9)
    assert table.value["d ‖H‖₂"] == pytest.approx(op.d * spectral, rel=1e-3)
    assert table.value["‖H‖₁,₁ / d"] == pytest.approx(norm, rel=0.2)
    assert table.upper["‖H‖₁,₁ / d"] <= norm * 1.4
    low, high = table.lower["Λ / d"], table.upper["Λ / d"]
    assert high <= low * 1.01
    assert low <= spectral
    if partition == "elements":
        assert table.value["‖H‖∞→1 / d"] <= high <= norm
    assert (table.products[:-1] > 0).all()
    assert np.isnan(table.upper["‖H‖∞→1 / d"])


def test_networks_obey_the_order_of_their_partitions():
    model, loss, data = network()
    op = Hessian(model, loss, data)
    bounds = [
        smoothness_bracket(op, partition_labels(op.parameters, name))
        for name in ("elements", "rows", "tensor")
    ] + [smoothness_bracket(op, 1)]
    for fine, coarse in pairwise(bounds):
        assert fine.lower < coarse.upper


def test_labels_of_a_partition_of_parameters():
    parameters = {"w": torch.zeros(2, 2), "b": torch.zeros(2)}
    assert partition_labels(parameters, "tensor").tolist() == [0, 0, 0, 0, 1, 1]
    assert partition_labels(parameters, "elements").tolist() == list(range(6))
    own = lambda p, name: torch.tensor([[5, 2], [5, 5]]) if name == "w" else 1  # noqa: E731
    assert partition_labels(parameters, own).tolist() == [1, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="partition"):
        partition_labels(parameters, "columns")


def test_a_hessian_in_float32_gives_the_norm():
    model, loss, (x, y) = network()
    truth = Hessian(model, loss, (x, y)).dense().abs().sum()
    op = Hessian(model.float(), loss, (x.float(), y))
    value, stderr, *_ = norm11(op, products=101)
    assert value.dtype == torch.float32
    assert (value - truth).abs() < 4 * stderr
