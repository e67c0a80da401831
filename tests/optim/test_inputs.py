"""No engine keeps or changes what it is given: gradients may come in one buffer for ever."""

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from companion.optim import steps as engine
from companion.problems import LeastSquares
from companion.simulate import run, trajectory
from tests.cases import CALLS, cases, draw


def pieces(monkeypatch):
    monkeypatch.setattr(engine, "PIECE", 5)


ENGINES = {"eager": {}, "fused": {"fused": True}, "pieces": {}}


def memories(*tensors):
    return [z.untyped_storage().data_ptr() for z in tensors if z.numel()]


def walk(cls, options, gradients, give):
    """Step from ones; ``give`` makes of a gradient the tensor that the optimizer gets."""
    params = [nn.Parameter(torch.ones(g.shape, dtype=g.dtype)) for g in gradients[0]]
    optimizer = cls(params, lr=0.01, **options)
    path = []
    for call, row in enumerate(gradients):
        for index, (p, g) in enumerate(zip(params, row, strict=True)):
            p.grad = give(index, g)
        optimizer.step()
        given = [p.grad for p in params]
        assert all(torch.equal(p.grad, g) for p, g in zip(params, row, strict=True))
        states = [z for p in params for k, z in optimizer.state[p].items() if k != "blocks"]
        held = memories(*params, *(z for z in tree_leaves(states) if isinstance(z, torch.Tensor)))
        assert len(set(held)) == len(held), f"two tensors share memory after call {call}"
        assert not set(held) & set(memories(*given)), f"a gradient is kept after call {call}"
        path += [p.detach().clone() for p in params]
    return path


@pytest.mark.parametrize("name", ENGINES)
@cases
def test_gradients_in_one_buffer_are_as_good_as_fresh_ones(cls, options, name, monkeypatch):
    options = {**options, **ENGINES[name]}
    if name == "pieces":
        pieces(monkeypatch)
    _, rows = draw(((4, 3), (5,)), seed=2)
    rows = [[torch.tensor(g) for g in row] for row in rows if all(g is not None for g in row)]
    buffers = [torch.empty_like(g) for g in rows[0]]
    fresh = walk(cls, options, rows, lambda index, g: g.clone())
    reused = walk(cls, options, rows, lambda index, g: buffers[index].copy_(g))
    assert all(torch.equal(a, b) for a, b in zip(fresh, reused, strict=True))


@cases
def test_an_oracle_may_fill_one_buffer_for_ever(cls, options):
    f = LeastSquares.random(n=12, d=4, kappa=20, noise=1.0, seed=0)
    x0 = torch.linspace(-1, 1, 8, dtype=torch.float64).view(2, 4)
    held, before = {}, x0.clone()

    def reusing(x):
        return held.setdefault(x.shape, torch.empty_like(x)).copy_(f.grad(x))

    paths = [trajectory(cls, grad, x0, CALLS, lr=0.01, **options) for grad in (f.grad, reusing)]
    assert torch.equal(*paths)
    settings = {"lr": 0.01, "kernel": False, "progress": False, **options}
    ends = [run(cls, grad, x0, CALLS, **settings).x for grad in (f.grad, reusing)]
    assert torch.equal(*ends)
    assert torch.equal(x0, before)


@pytest.mark.parametrize("fused", [False, True])
@cases
def test_a_parameter_may_be_its_own_gradient(cls, options, fused):
    """The gradient of |x|²/2 is x itself, in the same memory."""
    ends = []
    for own in (False, True):
        p = nn.Parameter(torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3))
        optimizer = cls([p], lr=0.01, fused=fused, **options)
        for _ in range(12):
            p.grad = p.detach() if own else p.detach().clone()
            optimizer.step()
        ends.append(p.detach())
    torch.testing.assert_close(*ends, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ENGINES)
@cases
def test_a_gradient_may_be_a_view_of_other_memory(cls, options, name, monkeypatch):
    """Every second row of a matrix, or one number in the shape of the parameter."""
    if name == "pieces":
        pieces(monkeypatch)
    ends = []
    for view in (False, True):
        params = [nn.Parameter(torch.linspace(-1, 1, 12).double().view(4, 3)) for _ in range(2)]
        optimizer = cls(params, lr=0.01, **options, **ENGINES[name])
        for call in range(12):
            whole = torch.full((8, 3), 1.0 + call, dtype=torch.float64)
            for p, g in zip(params, (whole[::2], whole[0, :1].expand(4, 3)), strict=True):
                p.grad = g if view else g.clone()
            optimizer.step()
            assert (whole == 1.0 + call).all()
        ends.append([p.detach() for p in params])
    torch.testing.assert_close(*ends, rtol=1e-13, atol=1e-13)
