"""The direction in which an optimizer walks on gradients that do not depend on x, by simulation."""

from typing import NamedTuple

import torch
from torch import Tensor

from companion.optim import Adam
from companion.problems.oracles import Samples
from companion.simulate import iterates


class Drift(NamedTuple):
    """Mean normalised step with its standard error over the seeds, each of the cells' shape."""

    mean: Tensor
    standard_error: Tensor


class Threshold(NamedTuple):
    """β2* with its standard error, each of the shape of beta1; NaN where there is none."""

    beta2: Tensor
    standard_error: Tensor


def drift(
    beta1,
    beta2,
    gradients,
    order: str = "iid",
    steps: int = 20_000,
    seeds: int = 64,
    *,
    burn: int | None = None,
    seed: int = 0,
    optimizer=Adam,
    progress: bool = False,
    **hyper,
) -> Drift:
    r"""Estimate the mean normalised step E[m̂/√v̂] on gradients that do not depend on x.

    The optimizer's own rule runs with step size 1 and without ε; the estimate is the distance that
    it walks downwards after a burn-in, divided by the steps. The mean of the gradients drawn, whose
    expectation is known, serves as a control variate: what it explains of the differences between
    seeds is taken out.

    Parameters
    ----------
    beta1, beta2 : float or Tensor
        Decay rates; tensors broadcast to the shape of the cells.
    gradients : sequence of float
        The n gradients, equally frequent: ``[n] + [-1] * (n - 1)`` for function (2).
    order : {"iid", "reshuffled", "cyclic"}
        How they come.
    steps, seeds : int
        Length of each run, and how many; every cell sees the same draws.
    burn : int, optional
        Steps before the measurement; a quarter if left out. Must exceed a few 1/(1 - β2).
    seed : int
        Seeds the draws.
    optimizer : type
        A class of `companion.optim` with ``beta1`` and ``beta2``.
    progress : bool
        Show a progress bar.
    **hyper
        Further options of the optimizer, such as ``clip_lambda=None``.

    Returns
    -------
    Drift
        Positive where x falls, as it should when the mean gradient is positive. The cyclic order
        has no randomness and a standard error of zero.

    Notes
    -----
    Cost: ``steps`` steps of cells × seeds numbers; memory: a few such arrays and 256 draws a seed.
    ε is 1e-30, so that 0/0 counts as 0.

    Examples
    --------
    >>> estimate = drift(0.0, torch.tensor([0.9, 0.99]), [10.0] + [-1.0] * 9, "cyclic", steps=800)
    >>> estimate.mean.sign()
    tensor([-1.,  1.], dtype=torch.float64)
    """
    gradients = torch.as_tensor(gradients, dtype=torch.float64)
    if gradients.dim() != 1 or len(gradients) < 2:
        raise ValueError(f"gradients must have shape (n,), n >= 2, got {tuple(gradients.shape)}")
    beta1, beta2 = (torch.as_tensor(b, dtype=torch.float64) for b in (beta1, beta2))
    cells = torch.broadcast_shapes(beta1.shape, beta2.shape)
    burn = steps // 4 if burn is None else burn
    if not 0 <= burn < steps:
        raise ValueError(f"burn must be at least 0 and below steps={steps}, got {burn}")
    if order == "cyclic":  # whole cycles only, and one seed tells all
        n = len(gradients)
        seeds, burn, steps = 1, burn // n * n, steps // n * n
    total = torch.zeros(())

    def steady(x, i):
        nonlocal total
        g = gradients[i]  # (seeds, 1), whatever x is
        total = total + g
        return g.expand(x.shape)

    def option(beta):  # a number makes for fewer operations a step than a tensor
        return beta.reshape(*beta.shape, 1, 1) if beta.dim() else beta.item()

    walk = iterates(
        optimizer,
        Samples(steady, len(gradients), order),
        torch.zeros(*cells, seeds, 1, dtype=torch.float64),
        steps,
        seed=seed,
        progress=progress,
        **{
            "lr": 1.0,
            "eps": 1e-30,
            "beta1": option(beta1),
            "beta2": option(beta2),
            **hyper,
        },
    )
    for t, x in walk:
        if t == burn:
            start, before = x.clone(), total
    walked = (start - x).squeeze(-1) / (steps - burn)  # (cells..., seeds)
    drawn = ((total - before) / (steps - burn)).flatten()  # (seeds,) or (1,)
    spread = drawn - drawn.mean()
    if spread.abs().max() > 1e-3 * (gradients.std() / (steps - burn) ** 0.5):
        slope = (walked * spread).sum(-1, keepdim=True) / spread.square().sum()
        walked = walked - slope * (drawn - gradients.mean())
    error = walked.std(-1, correction=0) / max(seeds - 2, 1) ** 0.5
    return Drift(walked.mean(-1), error)


def threshold(
    beta1,
    gradients,
    order: str = "iid",
    steps: int = 20_000,
    seeds: int = 64,
    *,
    bracket: tuple = (0.0, 0.9999),
    points: int = 16,
    rounds: int = 3,
    **options,
) -> Threshold:
    r"""Estimate β2*, the largest β2 at which the `drift` is not positive.

    Multisection with common random numbers: each round measures the drift at ``points`` values of
    β2, evenly spaced in log(1 - β2), and keeps the last interval that begins below zero; the last
    round ends with a linear interpolation.

    Parameters
    ----------
    beta1 : float or Tensor
        Any shape; all thresholds are sought together.
    gradients, order, steps, seeds
        As for `drift`; the mean of the gradients must be positive.
    bracket : (float, float)
        Where to look for β2*. At its upper end the drift has to be clearly positive.
    points, rounds : int
        The last interval is (points - 1)^rounds times shorter than the bracket.
    **options
        Passed on to `drift`.

    Returns
    -------
    Threshold
        With the standard error of the drift at β2*, divided by the slope in the last interval but
        one. Where no point of the first round has a negative drift: NaN.

    Notes
    -----
    Cost: ``rounds`` calls of `drift` with ``points`` times the cells of ``beta1``. Derived here.

    Examples
    --------
    >>> found = threshold(0.0, [5.0] + [-1.0] * 4, "cyclic", steps=400)
    >>> round(found.beta2.item(), 3)
    0.811
    """
    beta1 = torch.as_tensor(beta1, dtype=torch.float64)
    gradients = torch.as_tensor(gradients, dtype=torch.float64)
    if not gradients.mean() > 0:
        raise ValueError(f"the mean of the gradients must be positive, got {gradients.mean()}")
    ends = torch.log1p(-torch.tensor(bracket, dtype=torch.float64))
    low, high = ends[0].expand(beta1.shape), ends[1].expand(beta1.shape)
    fraction = torch.linspace(0, 1, points, dtype=torch.float64)
    none = torch.zeros_like(beta1, dtype=torch.bool)
    for turn in range(rounds):
        s = low[..., None] + (high - low)[..., None] * fraction  # (..., points)
        found = drift(beta1[..., None], -torch.expm1(s), gradients, order, steps, seeds, **options)
        # The last point but one at most, so that there is an interval to its right.
        last = torch.where(found.mean[..., :-1] <= 0, torch.arange(points - 1), -1).amax(-1)
        if turn == 0:
            none = last < 0
        left = last.clamp(min=0)[..., None]
        low, high = (s.gather(-1, left + i).squeeze(-1) for i in (0, 1))
        d_low, d_high = (found.mean.gather(-1, left + i).squeeze(-1) for i in (0, 1))
        error = found.standard_error.gather(-1, left).squeeze(-1)
        if turn == max(rounds - 2, 0):  # finer intervals are too short to tell the slope
            slope = (d_high - d_low) / (torch.exp(low) - torch.exp(high))
    share = (d_low / (d_low - d_high)).clamp(0, 1)
    root = -torch.expm1(low + share * (high - low))
    return Threshold(
        root.masked_fill(none, torch.nan), (error / slope.abs()).masked_fill(none, torch.nan)
    )
