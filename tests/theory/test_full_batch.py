"""The proof for the whole batch, inequality by inequality; what a shuffled epoch does to v."""

import math

import pytest
import torch

from companion import theory
from tests.theory.cases import F64

BETAS = [(0.0, 0.5), (0.5, 0.9), (0.9, 0.99), (0.8, 0.7)]


@pytest.mark.parametrize(("beta1", "beta2"), BETAS)
def test_the_step_bound_is_attained(beta1, beta2):
    bound = theory.step_bound(beta1, beta2).item()
    s = torch.arange(600, **F64)
    worst = (beta1 / beta2) ** s  # the latest gradient first
    noise = torch.randn(600, generator=torch.Generator().manual_seed(0), **F64)
    for g, reached in ((worst, True), (noise, False)):
        m = ((1 - beta1) * beta1**s * g).sum()
        v = ((1 - beta2) * beta2**s * g.square()).sum()
        assert m.abs() / v.sqrt() <= bound * (1 + 1e-12)
        if reached:
            assert (m / v.sqrt()).item() == pytest.approx(bound)
    assert theory.step_bound(0.9, 0.81).isinf()
    assert theory.step_bound(0.0, 0.0).item() == 1


def slopes(x):
    """Return the gradient of Σ log cosh(A x): a rotated pair of valleys, L = 4."""
    turn = math.sqrt(0.5) * torch.tensor([[1.0, -1.0], [1.0, 1.0]], **F64)
    scales = torch.tensor([2.0, 0.5], **F64)
    return ((x @ turn * scales).tanh() * scales) @ turn.T


@pytest.mark.parametrize(("beta1", "beta2"), BETAS[:3])
def test_every_step_of_full_batch_adam_obeys_the_proof(beta1, beta2):
    d, L, lr, T = 2, 4.0, 0.3, 4000
    x, m, v = torch.tensor([3.0, -1.0], **F64), torch.zeros(2, **F64), torch.zeros(2, **F64)
    turn = math.sqrt(0.5) * torch.tensor([[1.0, -1.0], [1.0, 1.0]], **F64)
    gap = (x @ turn * torch.tensor([2.0, 0.5], **F64)).cosh().log().sum().item()
    bound, error = theory.step_bound(beta1, beta2).item(), theory.goal_error(beta1, beta2)
    moved = L * math.sqrt(d) * bound * lr
    best, norms = math.inf, []
    for k in range(1, T + 1):
        g = slopes(x)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g.square()
        step = m / v.sqrt()
        assert (step.abs() <= bound + 1e-12).all()
        low = (1 - beta1) * g.abs() - error * moved / math.sqrt(k)
        assert (g * step >= low - 1e-12).all()
        x = x - lr / math.sqrt(k) * step
        best = min(best, g.abs().sum().item())
        norms.append(best)
    T = torch.arange(1, T + 1, **F64)
    rate = theory.full_batch_rate(T, beta1, beta2, lr, L, gap, d)
    assert (torch.tensor(norms, **F64) <= rate).all()
    assert best < 1e-2


@pytest.mark.parametrize("beta2", [0.5, 0.9, 0.99])
def test_v_at_the_end_of_an_epoch_lies_in_a_narrow_band(beta2):
    squares = torch.tensor([49.0, 1.0, 0.25, 4.0, 0.04], **F64)
    n, generator = len(squares), torch.Generator().manual_seed(0)
    still = squares.sum() * (1 - beta2) / (1 - beta2**n)
    v, seen, steps = torch.zeros(200, **F64), [], []
    for epoch in range(round(60 / (1 - beta2) / n) + 400):
        order = torch.rand(200, n, generator=generator).argsort(1)
        for i in range(n):
            v = beta2 * v + (1 - beta2) * squares[order[:, i]]
            steps.append(v / still)
        if epoch > 60 / (1 - beta2) / n:
            seen.append(v / still)
    seen = torch.stack(seen)
    assert seen.min() >= beta2 ** (n - 1)
    assert seen.max() <= 1 + 1e-12
    assert (seen.max() - seen.min()) > 0.4 * (1 - beta2 ** (n - 1))  # not an idle bound
    steps = torch.stack(steps[-1000:])  # within the epochs too
    assert steps.min() >= beta2 ** (2 * n - 1)
    assert steps.max() <= 2 - beta2**n
    assert steps.max() > 1 + 0.2 * (1 - beta2**n)
    # The upper end for any noise: √v² ≤ mean of g² times β2^(1-n).
    assert still <= squares.mean() * beta2 ** (1 - n)


def test_the_condition_is_demanded():
    with pytest.raises(ValueError, match="beta1 < sqrt"):
        theory.goal_error(0.9, 0.81)
