"""A frequent and a rare coordinate whose minimum jumps, and whose loss becomes flatter, halfway."""

import torch
from torch import Tensor


class RareJump:
    r"""Gradients of a quadratic in two coordinates, of which the second is seen now and then.

    .. math::

        g_{t,j} = \begin{cases} r_t \, (x_j - c_t + \xi_{t,j}) & \text{j is seen at t} \\
        0 & \text{else} \end{cases}

    with c = 1 and r = 1 in the first half of the steps, then c = -1 and r = 1/flatter.

    Parameters
    ----------
    seen : Tensor of bool, shape (steps,)
        At which steps the rare coordinate has a gradient; the first one always counts as such. The
        frequent coordinate has one at each step.
    noise : Tensor, shape (steps, 2)
        ξ, in units of x.
    flatter : float
        By how much gradients shrink at the jump.

    Attributes
    ----------
    seen : Tensor of bool, shape (steps, 2)
    minimum : Tensor, shape (steps,)
        c.

    Examples
    --------
    >>> f = RareJump(torch.tensor([True, False, True, False]), torch.zeros(4, 2), flatter=10.0)
    >>> [f(torch.zeros(2)).tolist() for _ in range(3)]
    [[-1.0, -1.0], [-1.0, 0.0], [0.10000000149011612, 0.10000000149011612]]
    """

    def __init__(self, seen: Tensor, noise: Tensor, flatter: float):
        if noise.shape != (len(seen), 2):
            raise ValueError(f"noise must have shape {(len(seen), 2)}, got {tuple(noise.shape)}")
        if not flatter > 0:
            raise ValueError(f"flatter must be above 0, got {flatter!r}")
        self.seen = torch.stack([torch.ones_like(seen), seen], 1)
        self.seen[0] = True
        late = torch.arange(len(seen)) >= len(seen) // 2
        self.noise, self.minimum = noise, 1 - 2 * late.to(noise)
        self.slope = torch.ones_like(self.minimum).masked_fill(late, 1 / flatter)
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.t = 0

    def at(self, x: Tensor, t) -> Tensor:
        """Return the gradients at x, of shape (..., 2), of the steps t, counted from 0."""
        far = x - self.minimum[t, None] + self.noise[t]
        return torch.where(self.seen[t], self.slope[t, None] * far, 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the next gradient at x, of the shape of x."""
        self.t += 1
        return self.at(x, torch.tensor(self.t - 1))
