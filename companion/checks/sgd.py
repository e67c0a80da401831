"""Checks of the exercises of the chapter on SGD."""

import math

import torch

from companion.checks import check, expect, fail
from companion.optim import SGD
from companion.problems import LeastSquares, Quadratic
from companion.simulate import trajectory


@check
def check_best_step(best_step):
    """Exercise 1: ``best_step(eigenvalues)`` returns 2/(L + μ) and (κ - 1)/(κ + 1)."""
    for eigenvalues in ([1.0, 3.0], [5.0, 0.5, 2.0], [2.0, 2.0]):
        answer = best_step(eigenvalues)
        if not isinstance(answer, (tuple, list)) or len(answer) != 2:
            expect(answer, torch.zeros(2), what="step size and rate")
        mu, L = min(eigenvalues), max(eigenvalues)
        for got, want, what, hint in (
            (answer[0], 2 / (L + mu), "step size", "make |1 - ημ| and |1 - ηL| equal"),
            (answer[1], (L - mu) / (L + mu), "rate", "put the best step into |1 - ημ|"),
        ):
            expect(got, want, hint=hint, what=f"{what} for the eigenvalues {eigenvalues}")


@check
def check_minibatch(minibatch_gradient, gradient_variance):
    """Exercise 2: the gradient of a minibatch, and its variance with replacement."""
    f = LeastSquares.random(n=6, d=3, kappa=4, noise=1.0)
    a, b, x = f.features, f.targets, torch.arange(3, dtype=torch.float64)
    for index in ([4], [0, 2, 5], [1, 1, 3, 3]):
        expect(
            minibatch_gradient(a, b, x, torch.tensor(index)),
            f.sample_gradients(x)[index].mean(0),
            hint="average residual times feature over the rows in index",
            what=f"gradient of the minibatch {index}",
        )
    for B in (1, 4):
        expect(
            gradient_variance(a, b, x, B),
            f.gradient_covariance(x).trace() / B,
            hint="sum the variances of all coordinates, average over n samples, divide by B",
            what=f"variance for B = {B}",
        )


@check
def check_noise_floor(noise_floor):
    """Exercise 3: ``noise_floor(lr, eigenvalues, sigma)``, exact, infinite where unstable."""
    for lr, eigenvalues, sigma in (
        (0.1, [1.0], 1.0),
        (0.5, [1.0, 2.0], 3.0),
        (1.9, [0.1, 1.0], 0.1),
    ):
        expect(
            noise_floor(lr, eigenvalues, sigma),
            sum(lr * sigma**2 / (2 - lr * lam) for lam in eigenvalues) / 2,
            hint="½ Σ λ e, where e is the variance that a step preserves; no approximation",
            what=f"floor for lr = {lr}, eigenvalues {eigenvalues}, sigma = {sigma}",
        )
    if not math.isinf(noise_floor(2.5, [0.1, 1.0], 1.0)):
        fail("for lr = 2.5 and a largest eigenvalue of 1 the iterates diverge; return infinity")


@check
def check_schedule(schedule):
    """Exercise 4: steps for f(x) = x²/4, σ = 1, x₀ = 10 that leave no floor."""
    lam, error = 0.5, 100.0
    for t in range(1, 100_001):
        lr = schedule(t)
        if t == 1:
            expect(lr, lr, hint="return a number")
        if not 0 < lr <= 2 / lam:
            fail(f"step {t} is {lr:.4g}, outside (0, {2 / lam:g}]")
        error = (1 - lr * lam) ** 2 * error + lr**2
        bound = {10_000: 0.03, 100_000: 0.01}.get(t, math.inf)
        if not error <= bound:
            fail(
                f"the mean squared error after {t:,} steps is {error:.3g}, above {bound}",
                "a constant step keeps its floor; one that shrinks too fast never arrives",
            )


@check
def check_condition_number(condition_number):
    """Exercise 5: κ from the losses of gradient descent with step 1/L, within two per cent."""
    for kappa, L in ((10.0, 1.0), (40.0, 3.0)):
        f = Quadratic([L / kappa, L / 3, L])
        x0 = torch.ones(3, dtype=torch.float64)
        gaps = f.loss(trajectory(SGD, f.grad, x0, 300, lr=1 / L)).tolist()
        expect(
            condition_number(gaps),
            kappa,
            rtol=0.02,
            hint="the loss falls by ρ², and ρ = 1 - μ/L; measure late",
            what="condition number",
        )
