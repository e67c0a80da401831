"""What a rule declares, and what follows from it: checks, one kernel for all numbers, grids."""

from typing import ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor

from companion import optim
from companion.kernels import group
from companion.optim.optimizer import Optimizer
from companion.optim.options import Number
from companion.optim.rule import descend
from companion.simulate import trajectory


class Readers(Optimizer):
    """A reader's rule with an option of its own: x − lr g / (ρ + |g|)."""

    elementwise = True
    options: ClassVar = {"rho": Number(0, 1)}

    class State(NamedTuple):
        m: Tensor | None = None

    def __init__(self, params, lr=0.1, rho=0.5, **options):
        super().__init__(params, {"lr": lr, "rho": rho}, **options)

    @staticmethod
    def unused(h):
        return ("m",)

    @staticmethod
    def rule(x, g, s, t, h):
        return descend(x, h.lr, g, h.rho + g.abs()), s


RHOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def fused(rho, gradients):
    p = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = Readers([p], rho=rho, fused=True)
    for g in gradients:
        p.grad = g.clone()
        optimizer.step()
    return p.detach()


def test_six_values_of_a_readers_number_are_one_kernel_and_one_grid():
    group._kernels.clear()
    gradients = torch.tensor([[1.0, -2.0], [3.0, 0.5]], dtype=torch.float64)
    ends = torch.stack([fused(rho, gradients) for rho in RHOS])
    assert len(group._kernels) == 1
    rho = torch.tensor(RHOS, dtype=torch.float64).unsqueeze(-1)
    expected = -0.1 * (gradients / (rho.unsqueeze(-1) + gradients.abs())).sum(1)
    torch.testing.assert_close(ends, expected, rtol=1e-12, atol=0)
    walk = iter(gradients)
    start = torch.zeros(2, dtype=torch.float64)
    path = trajectory(Readers, lambda x: next(walk).expand_as(x), start, 2, rho=rho)
    torch.testing.assert_close(path[-1], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("rho", [-3, 1.0, float("nan")])
def test_a_readers_number_out_of_range_is_refused(rho):
    with pytest.raises(ValueError, match=r"Readers: rho must be in \[0, 1\), got"):
        Readers([torch.zeros(1)], rho=rho)


def test_an_option_that_is_not_declared_is_named_with_the_remedy():
    class Undeclared(optim.SGD):
        def __init__(self, params, lr=0.1, sigma=1.0):
            Optimizer.__init__(self, params, {"lr": lr, "sigma": sigma})

    with pytest.raises(TypeError, match=r"what sigma may be; declare it.*'sigma': Number"):
        Undeclared([torch.zeros(1)])


def test_momentum_over_one_gradient_buffer_equals_torch():
    ends = {}
    for cls in (optim.SGD, torch.optim.SGD):
        p = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = cls([p], lr=1.0, momentum=0.9)
        p.grad = torch.zeros_like(p)
        for g in (1.0, 2.0, 3.0):
            p.grad.fill_(g)
            optimizer.step()
        ends[cls] = p.item()
    assert ends[optim.SGD] == ends[torch.optim.SGD] == pytest.approx(-9.51)


@pytest.mark.parametrize("is_fused", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (optim.Adam, torch.optim.Adam),
        (optim.AdamW, torch.optim.AdamW),
        (optim.Adamax, torch.optim.Adamax),
        (optim.RMSprop, torch.optim.RMSprop),
        (optim.AdaGrad, torch.optim.Adagrad),
        (optim.AMSGrad, lambda p, **o: torch.optim.Adam(p, amsgrad=True, **o)),
    ],
)
def test_a_huge_gradient_freezes_its_entry_as_in_torch_and_nothing_becomes_nan(
    ours, theirs, is_fused
):
    ends = []
    for make, flags in ((ours, {"fused": is_fused}), (theirs, {})):
        p = torch.nn.Parameter(torch.zeros(2))
        optimizer = make([p], lr=0.1, **flags)
        for g in (1.0, 1e25, 1.0, -2.0, 3.0):
            p.grad = torch.tensor([g, 1.0])  # its square overflows in float32
            optimizer.step()
        ends.append(p.detach())
    assert ends[0].isfinite().all()
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("huge", [1e20, 1e25])
@pytest.mark.parametrize("is_fused", [False, True])
@pytest.mark.parametrize("name", [n for n in optim.__all__ if n != "SGD"])
def test_a_huge_gradient_makes_nothing_nan(name, is_fused, huge):
    p = torch.nn.Parameter(torch.zeros(2))
    optimizer = getattr(optim, name)([p], lr=0.1, fused=is_fused)
    for g in (1.0, huge, 1.0, -2.0, 3.0):
        p.grad = torch.tensor([g, 1.0])
        optimizer.step()
    assert p.isfinite().all()
