"""Operators equal dense matrices of torch.func; estimators equal closed forms."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacrev
from torch.nn import functional as F

from companion.hessian import (
    Dense,
    GaussNewton,
    Hessian,
    diagonal,
    extreme_eigenvalues,
    frobenius_norm,
    hutchpp,
    spectral_norm,
    spectrum,
    trace,
    tridiagonal,
)
from companion.hessian.linearize import Linearized
from companion.models import MLP

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Embedding(6, 4), nn.LayerNorm(4)
        self.qkv, self.head = nn.Linear(4, 12), nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight  # tied

    def forward(self, x):
        q, k, v = self.qkv(self.norm(self.embed(x))).unsqueeze(1).chunk(3, -1)
        return self.head(F.scaled_dot_product_attention(q, k, v, is_causal=True).squeeze(1))


def conv():
    norm = nn.BatchNorm2d(3, track_running_stats=False)
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(3, 2, 3, 2), pool, nn.Flatten()
    )


def frozen():
    model = MLP([4, 5, 3])
    model.layers[0].bias.requires_grad_(False)
    return model


def tokens(z, y):
    return F.cross_entropy(z.flatten(0, 1), y.flatten())


def classes(n, c, seed=1):
    return torch.randint(c, (n,), generator=torch.Generator().manual_seed(seed))


CASES = {  # model, loss, x, y
    "tanh mlp": (lambda: MLP([4, 5, 3], "tanh"), F.cross_entropy, normal(7, 4), classes(7, 3)),
    "relu mlp": (lambda: MLP([4, 5, 2]), F.mse_loss, normal(7, 4), normal(7, 2, seed=1)),
    "frozen": (frozen, F.cross_entropy, normal(7, 4), classes(7, 3)),
    "linear": (lambda: nn.Linear(4, 2), F.mse_loss, normal(7, 4), normal(7, 2, seed=1)),
    "conv net": (conv, F.cross_entropy, normal(6, 2, 6, 6), classes(6, 2)),
    "attention": (
        Attention,
        tokens,
        classes(15, 6).view(3, 5),
        classes(15, 6, seed=2).view(3, 5),
    ),
}


def case(name):
    make, loss, x, y = CASES[name]
    torch.manual_seed(0)
    return make().double(), loss, x, y


def flat_network(model):
    """Return θ, flat, and the network as a function of θ and x."""
    params = {k: p.detach() for k, p in model.named_parameters() if p.requires_grad}
    theta = torch.cat([p.flatten() for p in params.values()])

    def network(theta, x):
        parts = theta.split([p.numel() for p in params.values()])
        point = {k: t.view_as(p) for (k, p), t in zip(params.items(), parts, strict=True)}
        return functional_call(model, point, (x,))

    return theta, network


def dense_hessian(model, loss, x, y):
    theta, network = flat_network(model)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        # One row at a time: under vmap, torch's second derivative of layer and batch norm is wrong.
        gradient = grad(lambda theta: loss(network(theta, x), y))
        return jacrev(gradient, chunk_size=1)(theta)


def dense_gauss_newton(model, loss, x, y):
    theta, network = flat_network(model)
    z = network(theta, x).detach()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        J = jacrev(lambda theta: network(theta, x).flatten())(theta)
    H = hessian(lambda z: loss(z, y))(z).reshape(z.numel(), z.numel())
    return J.T @ H @ J


DENSE = {Hessian: dense_hessian, GaussNewton: dense_gauss_newton}


@pytest.mark.parametrize("trace", [True, False], ids=["traced", "untraced"])
@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("name", CASES)
def test_products_equal_the_dense_matrix(name, kind, trace):
    model, loss, x, y = case(name)
    op, dense = kind(model, loss, (x, y), trace=trace), DENSE[kind](model, loss, x, y)
    assert op.shape == dense.shape
    v, V = normal(op.d, seed=3), normal(op.d, 5, seed=4)
    torch.testing.assert_close(op @ v, dense @ v, **EXACT)
    torch.testing.assert_close(op @ V, dense @ V, **EXACT)
    torch.testing.assert_close(op.dense(), dense, **EXACT)


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("max_bytes", [1, 2**31])  # at 1, nothing is kept and columns go singly
def test_ragged_batches_weigh_by_their_size(kind, trace, max_bytes):
    model, loss, x, y = case("tanh mlp")
    batches = list(zip(x.split([3, 3, 1]), y.split([3, 3, 1]), strict=True))
    op = kind(model, loss, batches, max_bytes=max_bytes, trace=trace)
    torch.testing.assert_close(op.dense(), DENSE[kind](model, loss, x, y), **EXACT)


def test_batches_come_in_any_iterable():
    model, loss, x, y = case("tanh mlp")
    batches, v = list(zip(x.split(3), y.split(3), strict=True)), normal(43)
    for data in (batches, iter(batches), [list(b) for b in batches]):
        op = Hessian(model, loss, data, trace=False)
        torch.testing.assert_close(op @ v, dense_hessian(model, loss, x, y) @ v, **EXACT)


def test_gradient_and_loss_are_those_of_all_data():
    model, loss, x, y = case("tanh mlp")
    op = Hessian(model, loss, list(zip(x.split(3), y.split(3), strict=True)))
    value = loss(model(x), y)
    gradient = torch.autograd.grad(value, list(model.parameters()))
    torch.testing.assert_close(op.loss(), value.detach(), **EXACT)
    torch.testing.assert_close(op.gradient(), torch.cat([g.flatten() for g in gradient]), **EXACT)


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_chunks_do_not_change_the_product(chunk):
    model, loss, x, y = case("tanh mlp")
    op = Hessian(model, loss, (x, y), chunk=chunk)
    torch.testing.assert_close(op.dense(), dense_hessian(model, loss, x, y), **EXACT)


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_any_scalar_function_has_a_hessian(shape, trace):
    x = normal(*shape)

    def f(x):
        return (x**4).sum() + x.sum() ** 2

    dense = torch.diag(12 * x.flatten() ** 2) + 2
    torch.testing.assert_close(Hessian.of(f, x, trace=trace).dense(), dense, **EXACT)


def test_least_squares_is_its_closed_form():
    x, y = normal(9, 4), normal(9, 3, seed=1)
    op = Hessian(nn.Linear(4, 3, bias=False).double(), F.mse_loss, (x, y))
    expected = torch.kron(torch.eye(3).double(), 2 * x.T @ x / y.numel())
    torch.testing.assert_close(op.dense(), expected, **EXACT)


def test_operator_does_not_follow_later_training():
    model, loss, x, y = case("tanh mlp")
    op, dense = Hessian(model, loss, (x, y)), dense_hessian(model, loss, x, y)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    torch.testing.assert_close(op.dense(), dense, **EXACT)


def test_splits_name_the_parameters_in_order():
    model, loss, x, y = case("frozen")
    op = Hessian(model, loss, (x, y))
    assert op.names == [n for n, p in model.named_parameters() if p.requires_grad]
    parts = op.unflatten(torch.cat([p.flatten() for p in model.parameters() if p.requires_grad]))
    for name, p in model.named_parameters():
        if p.requires_grad:
            torch.testing.assert_close(parts[name], p, rtol=0, atol=0)
    assert op.unflatten(torch.zeros(op.d, 2).double())["layers.1.weight"].shape == (3, 5, 2)


def test_float32_stays_float32():
    model, loss, x, y = case("tanh mlp")
    op = Hessian(model.float(), loss, (x.float(), y))
    assert op.dtype == op.dense().dtype == torch.float32


def test_scipy_finds_the_same_eigenvalues():
    from scipy.sparse.linalg import eigsh

    model, loss, x, y = case("tanh mlp")
    op = Hessian(model, loss, (x, y))
    largest = eigsh(op.to_scipy(), k=2, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(largest, torch.linalg.eigvalsh(op.dense())[-2:].numpy(), rtol=1e-8)
    V = np.ones((op.d, 3))
    np.testing.assert_allclose(op.to_scipy() @ V, (op.dense() @ torch.tensor(V)).numpy())


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.rand(())


def dropout():
    return nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))


def running():
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


XY = (torch.ones(3, 2), torch.zeros(3, 2))
PARTS = {"model": lambda: nn.Linear(2, 2), "loss": F.mse_loss, "data": XY}


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": dropout}, r"1 drops activations .* call model.eval\(\)"),
        ({"model": running}, r"1 updates running statistics .* track_running_stats=False"),
        ({"model": lambda: Noisy(2, 2)}, "two evaluations .* deterministic"),
        ({"model": nn.Identity}, "no parameters"),
        ({"model": lambda: lambda x: x}, r"expected a torch.nn.Module.*Hessian.of"),
        ({"model": lambda: nn.Linear(2, 2, dtype=torch.cfloat)}, "weight: expected a dense real"),
        ({"model": lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())}, "one dtype"),
        ({"loss": lambda z, y: (z - y) ** 2}, r"scalar.*shape \(3, 2\)"),
        ({"loss": lambda z, y: 1.0}, "scalar.*got 1.0"),
        ({"loss": lambda z, y: z.sum() / 0}, "batch 0 gives -?inf"),
        ({"data": []}, "at least one sample"),
        ({"data": (torch.ones(0, 2), torch.ones(0, 2))}, "at least one sample"),
        ({"data": [(torch.ones(3, 2),)]}, "batch 0 is no pair"),
        ({"data": (torch.ones(3, 2), torch.ones(2, 2))}, "lengths 3 and 2"),
        ({"chunk": 0}, "chunk: .*got 0"),
        ({"max_bytes": 0}, "max_bytes: .*got 0"),
    ],
)
def test_refuses(kind, change, message):
    torch.manual_seed(0)
    parts = PARTS | change
    with pytest.raises(ValueError, match=message):
        kind(parts.pop("model")(), **parts)


def branching(z, y):
    return (z - y).square().mean() * (2 if z.sum() > 0 else 1)


def test_a_loss_that_looks_at_values_is_refused_or_run_untraced():
    model, _, x, y = case("tanh mlp")
    y, v = model(x).detach() + 1, normal(43)
    with pytest.raises(RuntimeError, match="trace=False"):
        Hessian(model, branching, (x, y)) @ v
    product = Hessian(model, branching, (x, y), trace=False) @ v
    torch.testing.assert_close(product, dense_hessian(model, branching, x, y) @ v, **EXACT)


def test_a_wrong_trace_is_refused(monkeypatch):
    model, loss, x, y = case("tanh mlp")
    linear = Linearized.linear
    monkeypatch.setattr(
        Linearized, "linear", lambda *inputs: [1.01 * product for product in linear(*inputs)]
    )
    with pytest.raises(RuntimeError, match="not the derivative"):
        Hessian(model, loss, (x, y)) @ normal(43)


@pytest.mark.parametrize("make", [dropout, running])
def test_takes_what_it_refused_once_mended(make):
    op = Hessian(make().eval(), F.mse_loss, XY)
    assert op.dense().isfinite().all()


@pytest.mark.parametrize(
    ("v", "message"),
    [
        (torch.ones(3), r"shape \(4,\) or \(4, k\), got \(3,\)"),
        (torch.ones(4, 1, 1), r"got \(4, 1, 1\)"),
        ([1.0] * 4, "got list"),
        (torch.ones(4), "float64 on cpu.*got torch.float32"),
    ],
)
def test_products_refuse_what_does_not_fit(v, message):
    with pytest.raises(ValueError, match=message):
        Dense(torch.eye(4, dtype=torch.float64)) @ v


def rotated(values, seed=5):
    """Return the symmetric matrix of given eigenvalues in a random basis."""
    Q = torch.linalg.qr(normal(len(values), len(values), seed=seed)).Q
    return (Q * torch.tensor(values, dtype=torch.float64)) @ Q.T


def rank_one(d=12):
    u = normal(d, seed=6)
    return torch.outer(u, u)


def kronecker():
    return torch.kron(
        rotated([1.0, 2.0, 3.0, 4.0, 5.0]), rotated([2.0, -1.0, 1.5, 1.0, 0.8], seed=7)
    )


ORACLES = {
    "rank one": rank_one(),
    "kronecker": kronecker(),
    "decay": rotated([1 / k**2 for k in range(1, 21)]),
    "indefinite": rotated([-4.0, -1.0, 0.0, 0.5, 1.0, 2.0, 2.0, 8.0]),
}


@pytest.mark.parametrize("name", ORACLES)
def test_lanczos_finds_the_extreme_eigenvalues_within_its_bound(name):
    A = ORACLES[name]
    true = torch.linalg.eigvalsh(A)
    smallest, largest, vectors = extreme_eigenvalues(Dense(A), tolerance=1e-8)
    for found, value, v in zip((smallest, largest), (true[0], true[-1]), vectors.T, strict=True):
        error = (found.value[0] - value).abs()
        assert error <= found.stderr[0] + 1e-12
        assert error <= 1e-8 * true.abs().max()
        torch.testing.assert_close(A @ v, value * v, rtol=0, atol=3e-8 * true.abs().max().item())
    norm = spectral_norm(Dense(A), tolerance=1e-8)
    torch.testing.assert_close(norm.value, true.abs().max(), rtol=1e-8, atol=0)
    assert norm.products <= len(A)


def test_lanczos_finds_several_eigenvalues_and_keeps_its_basis_orthonormal():
    A = rotated([1 / k for k in range(1, 201)])
    smallest, largest, vectors = extreme_eigenvalues(Dense(A), k=3, tolerance=1e-3)
    top = torch.tensor([1 / 3, 1 / 2, 1.0], dtype=torch.float64)
    assert ((largest.value - top).abs() <= largest.stderr + 1e-12).all()
    assert largest.products < 100
    assert largest.stderr.max() <= 1e-3
    assert smallest.value.shape == (3,)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(6).double(), **EXACT)
    alpha, beta, Q = tridiagonal(Dense(A), normal(200), 150)
    T = torch.diag(alpha) + torch.diag(beta[:-1], 1) + torch.diag(beta[:-1], -1)
    torch.testing.assert_close(Q.T @ Q, torch.eye(150).double(), **EXACT)
    torch.testing.assert_close(Q.T @ A @ Q, T, **EXACT)


def test_lanczos_says_how_far_it_came_when_products_end():
    A = rotated([1 / k for k in range(1, 201)])
    found = spectral_norm(Dense(A), tolerance=0, max_products=4)
    assert found.products == 4
    assert 0 < 1 - found.value <= found.stderr


@pytest.mark.parametrize("name", ORACLES)
def test_spectrum_of_all_steps_has_the_moments_of_each_probe(name):
    A = ORACLES[name]
    found = spectrum(Dense(A), probes=4, steps=len(A), seed=3)
    generator = torch.Generator().manual_seed(3)
    v = torch.randn(4, len(A), generator=generator, dtype=torch.float64)
    v = v / v.norm(dim=1, keepdim=True)
    assert found.products == 4 * len(A)
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


RUNS = 500
ESTIMATES = {  # name: estimate of (op, seed), truth of A, degrees of freedom
    "trace": (lambda op, s: trace(op, 20, seed=s), torch.trace, 19),
    "trace by block": (
        lambda op, s: trace(op, 20, [slice(0, 3), slice(3, op.d)], seed=s),
        lambda A: torch.stack([A.diag()[:3].sum(), A.diag()[3:].sum()]),
        19,
    ),
    "hutch++": (lambda op, s: hutchpp(op, 45, seed=s), torch.trace, 14),
    "diagonal": (lambda op, s: diagonal(op, 20, seed=s), torch.diag, 19),
    "frobenius": (lambda op, s: frobenius_norm(op, 40, seed=s), torch.linalg.norm, 39),
    "second moment": (
        lambda op, s: spectrum(op, 20, 3, seed=s).mean(torch.square),
        lambda A: (A @ A).trace() / len(A),
        19,
    ),
}


@pytest.mark.parametrize("oracle", ["kronecker", "dense"])
@pytest.mark.parametrize("name", ESTIMATES)
def test_intervals_cover_at_their_level(name, oracle):
    estimate, truth, freedom = ESTIMATES[name]
    A = kronecker() if oracle == "kronecker" else rotated(list(range(-10, 30)))
    op, true = Dense(A), truth(A)
    quantile = scipy.stats.t.ppf(0.975, freedom)
    runs = [estimate(op, seed) for seed in range(RUNS)]
    covered = [((r.value - true).abs() <= quantile * r.stderr).double().mean() for r in runs]
    # 500 independent intervals of level .95 cover .92 to .98 with probability .998.
    assert 0.92 <= sum(covered) / RUNS <= 0.98
    values = torch.stack([r.value for r in runs])
    bias = (values.mean(0) - true).abs() / (values.std(0) / RUNS**0.5)
    assert bias.max() < 4.5
    assert all(r.seed == seed for seed, r in enumerate(runs))


def test_standard_errors_are_those_of_the_formula():
    A = kronecker()
    off = A - torch.diag(A.diag())
    several = [(trace(Dense(A), 50, seed=s), diagonal(Dense(A), 50, seed=s)) for s in range(100)]
    of_trace = torch.stack([t.stderr**2 for t, _ in several]).mean()
    of_diagonal = torch.stack([t.stderr**2 for _, t in several]).mean(0)
    torch.testing.assert_close(of_trace, 2 * off.square().sum() / 50, rtol=0.1, atol=0)
    torch.testing.assert_close(of_diagonal, off.square().sum(1) / 50, rtol=0.15, atol=0)


def test_diagonal_matrices_and_low_rank_are_exact():
    A = Dense(torch.diag(normal(9)))
    for found, true in (
        (trace(A, 3), A.matrix.trace()),
        (diagonal(A, 3), A.matrix.diag()),
        (frobenius_norm(A, 3), A.matrix.norm()),
    ):
        torch.testing.assert_close(found.value, true, **EXACT)
        assert found.stderr.max() < 1e-12
    low = Dense(rank_one(30))
    found = hutchpp(low, 6)
    torch.testing.assert_close(found.value, low.matrix.trace(), **EXACT)
    assert found.stderr < 1e-10
    found = hutchpp(A, 27)
    assert (found.products, found.stderr.item()) == (9, 0)
    torch.testing.assert_close(found.value, A.matrix.trace(), **EXACT)


def test_hutchpp_beats_hutchinson_where_few_eigenvalues_dominate():
    op = Dense(rotated([1 / k**2 for k in range(1, 101)]))
    true = op.matrix.trace()
    errors = [
        torch.stack([(f(op, 60, seed=s).value - true) ** 2 for s in range(20)]).mean().sqrt()
        for f in (trace, hutchpp)
    ]
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda A: trace(A, 1), "n: expected at least two products, got 1"),
        (lambda A: hutchpp(A, 7), "multiple of three products, at least 6, got 7"),
        (lambda A: spectrum(A, probes=1), "probes >= 2 and steps >= 1, got 1"),
        (lambda A: spectrum(A).density(torch.zeros(1), 0), "width: .*got 0"),
        (lambda A: spectral_norm(A, tolerance=-1), "tolerance: .*got -1"),
        (lambda A: extreme_eigenvalues(A, k=0), "k: .*got 0"),
        (lambda A: extreme_eigenvalues(A, max_products=0), "max_products: .*got 0"),
        (lambda A: tridiagonal(A, torch.zeros(4).double(), 3), "start: .*norm 0"),
        (lambda A: trace(Dense(A.matrix * float("nan"))), "not finite"),
        (lambda A: spectral_norm(Dense(A.matrix * float("nan"))), "not finite"),
        (lambda A: spectrum(Dense(A.matrix * float("nan"))), "not finite"),
        (lambda A: Dense(A.matrix[:2]), r"square matrix, got the shape \(2, 4\)"),
    ],
)
def test_estimators_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call(Dense(torch.eye(4, dtype=torch.float64)))


def test_estimators_of_a_network_agree_with_its_dense_hessian():
    model, loss, x, y = case("tanh mlp")
    op = Hessian(model, loss, (x, y))
    A = op.dense()
    for found, true in (
        (trace(op, 400), A.trace()),
        (hutchpp(op, 42), A.trace()),
        (frobenius_norm(op, 400), A.norm()),
    ):
        assert (found.value - true).abs() < 4 * found.stderr
    torch.testing.assert_close(spectral_norm(op, 1e-9).value, torch.linalg.norm(A, 2))
    blocks = trace(op, 400, list(op.splits.values()))
    true = torch.stack([A.diag()[s].sum() for s in op.splits.values()])
    assert ((blocks.value - true).abs() < 4.5 * blocks.stderr + 1e-12).all()
