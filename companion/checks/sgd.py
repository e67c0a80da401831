"""Checks of the exercises of the chapter on SGD."""

import math

import torch

from companion.checks import against, agree, check, expect, fail, numbers
from companion.optim import SGD
from companion.problems import LeastSquares, Quadratic
from companion.simulate import trajectory
from companion.theory import mean_square_limit


@check
def check_minibatch(minibatch_gradient, gradient_variance):
    """Exercise 1: the gradient of a minibatch, and its variance with replacement."""
    f = LeastSquares.random(n=6, d=3, kappa=4, noise=1.0)
    data = f.features, f.targets, torch.arange(3, dtype=torch.float64)
    agree(
        minibatch_gradient,
        lambda a, b, x, index: f.sample_gradients(x)[index].mean(0),
        {
            f"gradient of the minibatch {index}": (*data, torch.tensor(index))
            for index in ([4], [0, 2, 5], [1, 1, 3, 3])
        },
        hint="average residual times feature over the rows in index",
    )
    agree(
        gradient_variance,
        lambda a, b, x, B: f.gradient_covariance(x).trace() / B,
        {f"variance for B = {B}": (*data, B) for B in (1, 4)},
        hint="sum the variances of all coordinates, average over n samples, divide by B",
    )


@against(
    [
        (0.1, [1.0], 1.0),
        (0.5, [1.0, 2.0], 3.0),
        (1.9, [0.1, 1.0], 0.1),
        (2.5, [0.1, 1.0], 1.0),
        (2.0, [1.0, 0.1], 1.0),
    ],
    hint="½ Σ λ e, where e is the variance that a step preserves; no approximation; infinity if "
    "it preserves none",
)
def check_noise_floor(lr, eigenvalues, sigma):
    """Exercise 2: ``noise_floor(lr, eigenvalues, sigma)``, exact, infinite where unstable."""
    if lr * max(eigenvalues) >= 2:
        return math.inf
    return sum(lr * sigma**2 / (2 - lr * lam) for lam in eigenvalues) / 2


@check
def check_schedule(schedule):
    """Exercise 6: steps for f(x) = x²/4, σ = 1, x₀ = 10 that leave no floor."""
    lam, error, steps = 0.5, 100.0, 100_000
    bounds = {1_000: 0.05, steps: 0.005}  # no constant step keeps both
    rates = numbers([schedule(t) for t in range(1, steps + 1)])
    if rates.numel() != steps or rates.dtype != torch.float64:
        fail("expected one number a step")
    for t, lr in enumerate(rates.flatten().tolist(), 1):
        if not 0 < lr <= 2 / lam:
            fail(f"step {t} is {lr:.4g}, outside (0, {2 / lam:g}]")
        error = (1 - lr * lam) ** 2 * error + lr**2
        if t in bounds and not error <= bounds[t]:
            fail(
                f"the mean squared error after {t:,} steps is {error:.3g}, above {bounds[t]}",
                "a constant step keeps its floor; one that shrinks too fast never arrives",
            )


@check
def check_condition_number(condition_number):
    """Exercise 3: κ from the losses of gradient descent with step 1/L, within two per cent."""
    for kappa, L in ((10.0, 1.0), (40.0, 3.0)):
        f = Quadratic([L / kappa, L / 3, L])
        x0 = torch.ones(3, dtype=torch.float64)
        gaps = f.loss(trajectory(SGD, f.grad, x0, 300, lr=1 / L)).tolist()
        hint = "the loss falls by ρ², and ρ = 1 - μ/L; measure late"
        expect(condition_number(gaps), kappa, rtol=0.02, hint=hint, what="condition number")


@check
def check_limit(limit):
    """Exercise 4: ``limit(a, B)``, the mean-square limit of minibatches in one dimension."""
    features = torch.tensor([0.5, -1.0, 2.0, 1.5, -0.25], dtype=torch.float64)
    agree(
        limit,
        lambda a, B: mean_square_limit(a[:, None], B),
        {f"B = {B}": (features, B) for B in (1, 3, 40)},
        hint="2 E[h] / E[h²] for the mean h of B squares; in h² a sample meets itself B times "
        "among B² pairs",
    )
