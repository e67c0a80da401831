"""What is kept of a run over a grid, taken on the way."""

import math
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from companion.simulate.tidy import tidy

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass
class Result:
    """Summaries of a run. NaN (-1 in whole numbers) stands for what was not reached.

    Attributes
    ----------
    times : list of int
        Steps at which the quantiles were taken.
    quantiles : Tensor
        Quantiles 0.1, 0.25, 0.5, 0.75, 0.9 over seeds of what is observed, of shape (times,
        cells..., 5).
    x : Tensor
        The last iterate, of shape (cells..., seeds, d).
    drift : Tensor
        Median over seeds of (y_T - y_{T/4}) / (T - T/4) for the observed y, of shape (cells...).
    growth : Tensor or None
        Whether median(‖x_T - x*‖ - ‖x_{T/4} - x*‖) > 0, of shape (cells...): the criterion of
        divergence. ``None`` without a minimiser; False where T was not reached.
    first_passage : Tensor or None
        The first step t at which x reached ``level``, of shape (cells..., seeds), int64; -1 where
        it did not.
    steps : Tensor
        Steps made, of shape (cells...), int64.
    interrupted : bool
        Whether the run was cut short from the keyboard.
    """

    times: list
    quantiles: Tensor
    x: Tensor
    drift: Tensor
    growth: Tensor | None
    first_passage: Tensor | None
    steps: Tensor
    interrupted: bool

    def frame(self, **cells) -> pd.DataFrame:
        """Return the quantiles as a table: columns t, one a cell dimension, quantile, value.

        Parameters
        ----------
        **cells : sequence
            One a dimension of the cells, in order: its name and the labels along it, such as
            ``beta2=[0.9, 0.99]``. Left out: ``cell0``, ``cell1``, … and the index.
        """
        shape = self.quantiles.shape[1:-1]
        cells = cells or {f"cell{i}": range(n) for i, n in enumerate(shape)}
        return tidy(self.quantiles, "value", t=self.times, **cells, quantile=QUANTILES)


def quantiles(values: Tensor, levels=QUANTILES) -> Tensor:
    """Return linearly interpolated quantiles over the last dimension, from (..., n) to (..., q).

    Infinite values are kept, and NaN counts as the largest: a few diverged seeds do not blot out
    the rest.

    Examples
    --------
    >>> quantiles(torch.tensor([0.0, 1.0, 2.0, 3.0, float("inf")]), (0.25, 0.5, 1.0))
    tensor([1., 2., inf])
    """
    ordered = values.sort(-1).values
    at = torch.tensor(levels, dtype=torch.float64) * (values.shape[-1] - 1)
    below = at.floor()
    weight = (at - below).to(ordered)
    low = ordered[..., below.long().to(ordered.device)]
    high = ordered[..., at.ceil().long().to(ordered.device)]
    return torch.where((low == high) | (weight == 0), low, (1 - weight) * low + weight * high)


class Summary:
    """The summaries of some cells after the other; see `Result` for what they are.

    Parameters
    ----------
    x : Tensor
        Where the cells start, of shape (cells, seeds, d).
    steps : int
        The T of a whole run.
    times, observe, level, minimiser
        As for `companion.simulate.run`.
    """

    def __init__(self, x: Tensor, steps: int, times, observe, level, minimiser):
        cells, seeds, d = x.shape
        self.steps, self.times, self.observe = steps, _times(times, steps), observe
        self.rows = {t: i for i, t in enumerate(self.times)}
        self.marks = {*self.times, steps // 4, steps}
        if level is not None and d != 1:
            raise ValueError(f"level needs problems of one coordinate, got d = {d}")
        self.level, self.minimiser = level, minimiser
        if minimiser is not None:
            self.minimiser = torch.as_tensor(minimiser, dtype=x.dtype, device=x.device)
            if self.minimiser.shape not in ((), (d,)):
                raise ValueError(f"minimiser must have shape ({d},), got {minimiser!r}")
        self.x = x.contiguous()
        self.quantiles = x.new_full((len(self.times), cells, len(QUANTILES)), math.nan)
        self.drift, self.growth = (x.new_full((cells,), math.nan) for _ in range(2))
        self.done = torch.zeros(cells, dtype=torch.int64, device=x.device)
        self.before = self.done.new_zeros(cells, seeds)  # steps before x reaches the level

    def size(self, x: Tensor) -> int:
        """Return the bytes that one cell takes whose x is of shape (1, seeds, d)."""
        numbers = len(QUANTILES) * len(self.times) + x.numel()
        return x.element_size() * numbers + 8 * x.shape[-2]

    def take(self, cells: slice, t: int, x: Tensor) -> None:
        """Look at the iterates of some cells at step t, for t = 0, 1, 2, …."""
        if self.level is not None:
            if t == 0:
                self.sign = torch.where(x[..., 0] <= self.level, 1.0, -1.0).to(x)
                self.goal, self.counts = self.sign * self.level, self.before[cells]
                self.waiting = torch.ones_like(self.sign, dtype=torch.bool)
            else:
                self.waiting &= (self.sign * x[..., 0] >= self.goal).logical_not_()
                self.counts += self.waiting
        if t == 0 or t in self.marks:
            self._record(cells, t, x)

    def _record(self, cells, t, x) -> None:
        y = self._observed(x)
        if t in self.rows:
            self.quantiles[self.rows[t], cells] = quantiles(y)
        away = None if self.minimiser is None else (x - self.minimiser).norm(dim=-1)
        if t == self.steps // 4:
            self.early = y.clone(), away
        if t == self.steps > 0:
            y_early, away_early = self.early
            span = self.steps - self.steps // 4
            self.drift[cells] = quantiles(y - y_early, (0.5,))[:, 0] / span
            if away is not None:
                self.growth[cells] = quantiles(away - away_early, (0.5,))[:, 0]

    def _observed(self, x):
        if self.observe is not None:
            y = self.observe(x)
            if y.shape != x.shape[:-1]:
                raise ValueError(
                    f"observe must return {tuple(x.shape[:-1])} for x of shape {tuple(x.shape)}, "
                    f"got {tuple(y.shape)}"
                )
            return y
        if x.shape[-1] == 1:
            return x[..., 0]
        return (x if self.minimiser is None else x - self.minimiser).norm(dim=-1)

    def close(self, cells: slice, t: int, x: Tensor) -> None:
        """Keep the last iterate of some cells."""
        self.x[cells], self.done[cells] = x, t

    def result(self, shape: tuple, interrupted: bool) -> Result:
        """Return what was taken, with the cells in their shape (cells..., seeds, d)."""
        cells = shape[:-2]
        first = torch.where(self.before < self.done[:, None], self.before + 1, -1)
        growth = (self.done == self.steps) & ~(self.growth <= 0)  # NaN: it left the numbers
        return Result(
            times=self.times,
            quantiles=self.quantiles.view(-1, *cells, len(QUANTILES)),
            x=self.x.view(shape),
            drift=self.drift.view(cells),
            growth=None if self.minimiser is None else growth.view(cells),
            first_passage=None if self.level is None else first.view(shape[:-1]),
            steps=self.done.view(cells),
            interrupted=interrupted,
        )


def _times(times, steps: int) -> list:
    """Return the steps at which to take quantiles, ascending."""
    if times is None:
        spaced = torch.logspace(0, math.log10(max(steps, 1)), 64, dtype=torch.float64)
        return sorted({min(round(t), steps) for t in spaced.tolist()})
    given = list(times)
    if not all(0 <= t <= steps and t == int(t) for t in given):
        raise ValueError(f"times must be whole numbers from 0 to steps = {steps}, got {times!r}")
    return sorted({int(t) for t in given})
