"""Two gradients, one of them rare: the mechanism behind every counterexample to Adam."""

from typing import NamedTuple

import torch
from torch import Tensor

from companion.problems.oracles import check_order


class Moments(NamedTuple):
    """Exact moments of an oracle's gradient at x, each of the shape of x."""

    mean: Tensor
    variance: Tensor
    second: Tensor
    third: Tensor


class RareGradient:
    r"""An oracle that returns a rare gradient with frequency p and a common one otherwise.

    .. math::

        f(x) = p \, f_{\text{rare}}(x) + (1 - p) \, f_{\text{common}}(x)

    Subclasses write the two gradients and the two losses. A problem has one parameter; along the
    last dimension of x stand independent copies, each with its own draws, whose losses add up.

    Parameters
    ----------
    frequency : float
        p, between 0 and 1.
    order : {"iid", "reshuffled", "cyclic"}
        ``"iid"``: each gradient is the rare one with probability p, independently.
        ``"reshuffled"``: once in every 1/p gradients, at a random place. ``"cyclic"``: at the
        steps t = 1, 1 + 1/p, 1 + 2/p, …, so that nothing is random. The last two need a whole 1/p.

    Attributes
    ----------
    minimiser : float
        x*, the minimiser of f (on the interval, where there is one).
    interval : tuple of float or None
        What x is confined to; `project` does it.
    period : int or None
        1/p where that is a whole number.

    Notes
    -----
    One call costs the two gradients and, unless the order is cyclic, at most one random number for
    each seed and coordinate.

    Examples
    --------
    >>> from companion.problems import ReddiMod3
    >>> oracle, x = ReddiMod3(C=4.0), torch.zeros(1)
    >>> [oracle(x).item() for _ in range(4)]
    [4.0, -1.0, -1.0, 4.0]
    """

    minimiser: float
    interval: tuple | None = None

    def __init__(self, frequency: float, order: str = "iid"):
        check_order(order)
        if not 0 < frequency < 1:
            raise ValueError(f"frequency must lie between 0 and 1, got {frequency!r}")
        whole = round(1 / frequency)
        self.frequency, self.order = float(frequency), order
        self.period = whole if abs(whole * frequency - 1) < 1e-12 else None
        if order != "iid" and self.period is None:
            raise ValueError(
                f"order={order!r} needs a frequency of 1/n, got {frequency!r}; use order='iid'"
            )
        self.reset()

    def rare(self, x: Tensor) -> Tensor:
        """Return the rare gradient at x, of the shape of x."""
        raise NotImplementedError

    def common(self, x: Tensor) -> Tensor:
        """Return the common gradient at x, of the shape of x."""
        raise NotImplementedError

    def losses(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rare and the common loss of each coordinate, of the shape of x."""
        raise NotImplementedError

    def loss(self, x: Tensor) -> Tensor:
        """Return f(x), from (..., d) to (...)."""
        rare, common = self.losses(x)
        return (self.frequency * rare + (1 - self.frequency) * common).sum(-1)

    def grad(self, x: Tensor) -> Tensor:
        """Return ∇f(x), the mean of the oracle, of the shape of x."""
        return self.moments(x).mean

    def moments(self, x: Tensor) -> Moments:
        """Return mean, variance and the raw moments E[g²] and E[g³] of the oracle at x."""
        p, rare, common = self.frequency, self.rare(x), self.common(x)
        mean, second, third = (p * rare**k + (1 - p) * common**k for k in (1, 2, 3))
        return Moments(mean, p * (1 - p) * (rare - common).square(), second, third)

    def project(self, x: Tensor) -> Tensor:
        """Return the nearest point of the interval; x itself if there is none."""
        return x if self.interval is None else x.clamp(*self.interval)

    def reset(self) -> None:
        """Begin a new period."""
        self.count = 0

    def __call__(self, x: Tensor, generator=None) -> Tensor:
        """Return the next gradient at x, of the shape of x."""
        like = {"generator": generator, "device": x.device}
        seeds = x.shape[-2:]
        if self.order == "iid":
            now = torch.rand(seeds, dtype=torch.float64, **like) < self.frequency
        else:
            step = self.count % self.period
            if self.order == "cyclic":
                now = torch.tensor(step == 0, device=x.device)
            else:
                if step == 0 or self.place.shape != seeds:
                    self.place = torch.randint(self.period, seeds, **like)
                now = self.place == step
        self.count += 1
        return self.either(now, x)

    def either(self, now: Tensor, x: Tensor) -> Tensor:
        """Return the rare gradient at x where ``now`` holds, else the common one."""
        return torch.where(now, self.rare(x), self.common(x))


class Linear(RareGradient):
    """Two linear losses on an interval: the gradients do not depend on x.

    Parameters
    ----------
    slopes : (float, float)
        The rare and the common gradient.
    frequency, order
        As for `RareGradient`.
    interval : (float, float)
        Where x may be; the minimiser is one of its ends.

    Examples
    --------
    >>> f = Linear((3.0, -1.0), frequency=0.5)
    >>> f.minimiser, f.moments(torch.zeros(1)).mean.item()
    (-1.0, 1.0)
    """

    def __init__(self, slopes, frequency: float, order: str = "iid", interval=(-1.0, 1.0)):
        super().__init__(frequency, order)
        self.slopes, self.interval = tuple(float(s) for s in slopes), tuple(interval)
        mean = self.frequency * self.slopes[0] + (1 - self.frequency) * self.slopes[1]
        self.minimiser = self.interval[0] if mean > 0 else self.interval[1]

    def rare(self, x):
        return torch.full_like(x, self.slopes[0])

    def common(self, x):
        return torch.full_like(x, self.slopes[1])

    def losses(self, x):
        return self.slopes[0] * x, self.slopes[1] * x
