"""Products equal dense matrices made of differences of gradients, whatever the network."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from companion.hessian import Dense, Hessian
from companion.hessian.curvature import Curvature
from tests.hessian.matrices import normal
from tests.hessian.networks import CASES, KINDS, assert_same, case, dense, dense_hessian, gradient

EXACT = {"rtol": 1e-10, "atol": 1e-10}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_products_equal_the_dense_matrix(name, kind):
    model, loss, x, y = case(name)
    op, expected = kind(model, loss, (x, y)), dense(kind, model, loss, x, y)
    assert op.shape == expected.shape
    v, V = normal(op.d, seed=3), normal(op.d, 5, seed=4)
    assert_same(op @ v, expected @ v)
    assert_same(op @ V, expected @ V)
    assert_same(op.dense(), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_bytes", [1, 40_000, 2**31])  # none, one or all graphs are kept
def test_what_is_kept_does_not_change_the_product(kind, max_bytes):
    model, loss, x, y = case("tanh mlp")
    batches = list(zip(x.split([3, 2, 1]), y.split([3, 2, 1]), strict=True))
    op = kind(model, loss, batches, max_bytes=max_bytes)
    assert_same(op.dense(), dense(kind, model, loss, x, y))
    assert sum(size for _, size in op._kept.values()) <= max_bytes
    assert len(op._kept) == {1: 0, 2**31: 3}.get(max_bytes, len(op._kept))


@pytest.mark.parametrize(("name", "batched"), [("tanh mlp", True), ("layer norm", False)])
def test_columns_go_together_only_where_that_is_right(name, batched):
    model, loss, x, y = case(name)
    op = Hessian(model, loss, (x, y))
    single = torch.stack([op @ e for e in torch.eye(op.d).double()], 1)
    torch.testing.assert_close(op.dense(), single, **EXACT)
    assert op._batched or not batched


def test_gradient_and_loss_are_those_of_all_data():
    model, loss, x, y = case("tanh mlp")
    op = Hessian(model, loss, list(zip(x.split(4), y.split(4), strict=True)))
    torch.testing.assert_close(op.loss(), loss(model(x), y).detach(), **EXACT)
    expected = gradient(model, lambda model: loss(model(x), y))
    torch.testing.assert_close(op.gradient(), expected, **EXACT)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_any_scalar_function_has_a_hessian(shape):
    x = normal(*shape)

    def f(x):
        return (x**4).sum() + x.sum() ** 2

    expected = torch.diag(12 * x.flatten() ** 2) + 2
    torch.testing.assert_close(Hessian.of(f, x).dense(), expected, **EXACT)
    assert not Hessian.of(torch.sum, x).dense().any()
    still = Hessian.of(lambda x: x.square().sum(), torch.zeros_like(x))  # no gradient there
    torch.testing.assert_close(still.dense(), 2 * torch.eye(still.d).double(), **EXACT)


def test_least_squares_is_its_closed_form():
    x, y = normal(9, 4), normal(9, 3, seed=1)
    op = Hessian(nn.Linear(4, 3, bias=False).double(), F.mse_loss, (x, y))
    expected = torch.kron(torch.eye(3).double(), 2 * x.T @ x / y.numel())
    torch.testing.assert_close(op.dense(), expected, **EXACT)


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


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_context_does_not_matter(context):
    model, loss, x, y = case("tanh mlp")
    with context(), torch.autocast("cpu"):
        op = Hessian(model, loss, (x, y))
        found = op.dense()
    assert not found.requires_grad
    assert_same(found.clone(), dense(Hessian, model, loss, x, y))
    torch.testing.assert_close(copy.deepcopy(op).dense(), found.clone(), **EXACT)


def test_a_padding_row_counts_as_fixed():
    torch.manual_seed(0)
    padded = nn.Sequential(
        nn.Embedding(6, 2, padding_idx=1), nn.Flatten(), nn.Tanh(), nn.Linear(10, 3)
    ).double()
    _, loss, x, y = case("embedding, flat")
    plain = copy.deepcopy(padded)
    plain[0].padding_idx = None
    expected = dense_hessian(plain, lambda model: loss(model(x), y))
    assert expected[2:4].any()
    expected[2:4] = expected[:, 2:4] = 0
    assert_same(Hessian(padded, loss, (x, y)).dense(), expected)
    assert_same(Hessian(padded, loss, (x, y)).gradient()[2:4], torch.zeros(2).double())


@pytest.mark.parametrize("options", [{"sparse": True}, {"scale_grad_by_freq": True}])
def test_options_of_gradients_are_no_part_of_the_loss(options):
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Tanh(), nn.Linear(10, 3)
    model = nn.Sequential(nn.Embedding(6, 2, **options), *layers).double()
    plain = nn.Sequential(nn.Embedding(6, 2), *layers).double()
    plain.load_state_dict(model.state_dict())
    _, loss, x, y = case("embedding, flat")
    expected = dense_hessian(plain, lambda model: loss(model(x), y))
    assert_same(Hessian(model, loss, (x, y)).dense(), expected)


class Reversed(torch.autograd.Function):
    """The identity, with the gradient turned round."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return -g


class Lopsided(torch.autograd.Function):
    """A product with a matrix, right once and wrong twice."""

    A = normal(4, 4)

    @staticmethod
    def forward(ctx, x):
        return x @ Lopsided.A

    @staticmethod
    def backward(ctx, g):
        back = g @ Lopsided.A.T
        return back + (g - g.detach()) @ Lopsided.A


def hooked(h):
    h.register_hook(lambda g: 3 * g)
    return h


def straight_through(h):
    return h + (h.round() - h).detach()


def altered(change):
    model, loss, x, y = case("layer norm")
    model.insert(1, nn.Module())
    model[1].forward = lambda h: torch.sin(change(h) + h**2)
    return model, loss, (x, y)


@pytest.mark.parametrize("change", [Reversed.apply, hooked, torch.detach, straight_through])
def test_altered_gradients_are_refused(change):
    with pytest.raises(ValueError, match="changes gradients"):
        Hessian(*altered(change))


@pytest.mark.parametrize("number", [0, 20, -1])
def test_wrong_second_derivatives_are_refused_at_the_first_product(number):
    op = Hessian(*altered(Lopsided.apply))
    v = normal(op.d) if number < 0 else torch.eye(op.d).double()[number]
    with pytest.raises(RuntimeError, match="not symmetric"):
        op @ v


def test_a_second_derivative_that_torch_lacks_is_named():
    model, _, x, y = case("tanh mlp")
    op = Hessian(model, F.multi_margin_loss, (x, y))
    with pytest.raises(RuntimeError, match=r"no second derivative: .*multi_margin"):
        op @ normal(op.d)


def test_a_wrong_batched_product_is_noticed(monkeypatch):
    model, loss, x, y = case("tanh mlp")
    op, columns = Hessian(model, loss, (x, y)), Curvature._columns

    def wrong(self, product, rows):
        return columns(
            self, lambda v, batched: [(1 + batched) * g for g in product(v, batched)], rows
        )

    monkeypatch.setattr(Curvature, "_columns", wrong)
    assert_same(op.dense(), dense(Hessian, model, loss, x, y))
    assert op._batched is False


def test_scipy_finds_the_same_eigenvalues():
    from scipy.sparse.linalg import eigsh

    model, loss, x, y = case("tanh mlp")
    op = Hessian(model, loss, (x, y))
    largest = eigsh(op.to_scipy(), k=2, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(largest, torch.linalg.eigvalsh(op.dense())[-2:].numpy(), rtol=1e-8)
    V = np.ones((op.d, 3))
    np.testing.assert_allclose(op.to_scipy() @ V, (op.dense() @ torch.tensor(V)).numpy())


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
