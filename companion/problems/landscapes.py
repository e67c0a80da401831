"""Losses in the plane, to look at; functions from (..., 2) to (...)."""

import math

import torch
from torch import Tensor


def rosenbrock(x: Tensor) -> Tensor:
    """Return (1 - x₁)² + 100 (x₂ - x₁²)²: a curved valley; minimum 0 at (1, 1).

    Examples
    --------
    >>> rosenbrock(torch.tensor([[1.0, 1.0], [0.0, 0.0]])).tolist()
    [0.0, 1.0]
    """
    x1, x2 = x.unbind(-1)
    return (1 - x1).square() + 100 * (x2 - x1.square()).square()


def ravine(kappa: float):
    """Return the function (x₁² + κ x₂²) / 2: a straight valley; minimum 0 at (0, 0).

    Parameters
    ----------
    kappa : float
        Condition number, at least 1.

    Examples
    --------
    >>> ravine(100)(torch.tensor([2.0, 0.1])).item()
    2.5
    """
    if not kappa >= 1:
        raise ValueError(f"kappa must be at least 1, got {kappa!r}")

    def f(x):
        x1, x2 = x.unbind(-1)
        return (x1.square() + kappa * x2.square()) / 2

    return f


def rastrigin(x: Tensor) -> Tensor:
    """Return 20 + Σ (x_i² - 10 cos 2π x_i): many local minima; the lowest is 0 at (0, 0).

    Examples
    --------
    >>> rastrigin(torch.zeros(2)).item()
    0.0
    """
    return (10 + x.square() - 10 * torch.cos(2 * math.pi * x)).sum(-1)


def beale(x: Tensor) -> Tensor:
    """Return Beale's function: flat ground with a curved, narrow valley; minimum 0 at (3, ½).

    Examples
    --------
    >>> beale(torch.tensor([[3.0, 0.5], [0.0, 0.0]])).tolist()
    [0.0, 14.203125]
    """
    x1, x2 = x.unbind(-1)
    return sum((c - x1 + x1 * x2**k).square() for k, c in ((1, 1.5), (2, 2.25), (3, 2.625)))


def saddle(x: Tensor) -> Tensor:
    """Return x₁² - x₂² + x₂⁴/4 + 1: a saddle at (0, 0) between two minima 0 at (0, ±√2).

    Examples
    --------
    >>> saddle(torch.tensor([[0.0, 0.0], [0.0, 2.0**0.5]])).round(decimals=6).tolist()
    [1.0, 0.0]
    """
    x1, x2 = x.unbind(-1)
    return x1.square() - x2.square() + x2**4 / 4 + 1


def turned(f):
    """Return the function f of the plane turned by 45°: f((x₁ + x₂)/√2, (x₂ - x₁)/√2).

    Examples
    --------
    >>> round(turned(ravine(100))(torch.tensor([1.0, 1.0])).item(), 6)
    1.0
    """

    def g(x):
        x1, x2 = x.unbind(-1)
        return f(torch.stack([x1 + x2, x2 - x1], -1) / math.sqrt(2))

    return g


def gradient(f):
    """Return the gradient of f as a function from (..., d) to (..., d), by autograd.

    Parameters
    ----------
    f : callable
        From (..., d) to (...), each leading index on its own.

    Examples
    --------
    >>> gradient(ravine(10))(torch.tensor([1.0, 1.0])).tolist()
    [1.0, 10.0]
    """

    def grad(x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (g,) = torch.autograd.grad(f(x).sum(), x)
        return g

    return grad
