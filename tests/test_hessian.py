"""Operators equal dense matrices of torch.func; estimators equal closed forms."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacrev
from torch.nn import functional as F

from companion.hessian import (
    Dense,
    GaussNewton,
    Hessian,
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
