"""What averaging the gradient changes: the formulas of the chapter on Adam, exactly."""

import pytest
import torch

from companion.optim import SGD
from tests.theory.cases import F64

BETAS = [0.0, 0.5, 0.9, 0.99]


@pytest.mark.parametrize("beta1", BETAS)
@pytest.mark.parametrize("a", [0.01, 0.5, 1.9])
def test_floor_of_averaged_steps_solves_the_lyapunov_equation(beta1, a):
    # z = (x, m) with s = σ = λ = 1: m ← β1 m + (1 - β1)(x + ξ), x ← x - a m.
    c = 1 - beta1
    B = torch.tensor([[1 - a * c, -a * beta1], [c, beta1]], **F64)
    b = torch.tensor([[-a * c], [c]], **F64)
    P = torch.linalg.solve(torch.eye(4, **F64) - torch.kron(B, B), (b @ b.T).flatten())
    formula = a / (2 - a * (1 - beta1) / (1 + beta1))  # eq-adam-floor
    assert P[0].item() == pytest.approx(formula, rel=1e-9)


@pytest.mark.parametrize("beta1", BETAS)
def test_averaged_steps_make_the_same_walk_but_for_the_last_average(beta1):
    generator, h = torch.Generator().manual_seed(0), SGD.hyper(lr=1.0, momentum=beta1)
    x = total = torch.zeros(1, **F64)
    s = SGD.init(x, h)
    for t in range(1, 51):
        g = torch.randn(1, generator=generator, **F64)
        total = total + g
        # The sum form with (1 - β1) g in the place of g is the average.
        x, s = SGD.update(x, (1 - beta1) * g, s, float(t), h)
    m = s.m if beta1 else g
    assert x.item() == pytest.approx(-(total - beta1 / (1 - beta1) * m).item(), rel=1e-12)


@pytest.mark.parametrize("beta1", BETAS)
def test_deviation_of_an_average_of_independent_gradients(beta1):
    weights = (1 - beta1) * beta1 ** torch.arange(5000, **F64)
    assert weights.square().sum().item() == pytest.approx((1 - beta1) / (1 + beta1), rel=1e-12)
