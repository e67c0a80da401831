"""Oracles that draw samples: one vocabulary of orders, one protocol.

An oracle is a function ``(x, generator) -> g`` from (..., seeds, d) to the same shape. Its random
numbers differ between seeds and are the same in every cell in front, whatever their number. One
that walks through data begins anew when its method ``reset()`` is called.

The orders are ``"iid"``: uniform and independent; ``"reshuffled"``: a new uniform order in every
epoch; ``"cyclic"``: 0, 1, …, n - 1 over and over.
"""

import torch
from torch import Tensor

ORDERS = ("iid", "reshuffled", "cyclic")


def check_order(order: str) -> None:
    """Raise ``ValueError`` unless this is one of the three orders."""
    if order not in ORDERS:
        raise ValueError(f"order must be one of {ORDERS}, got {order!r}")


class Samples:
    r"""An oracle that draws the indices of a minibatch for each seed and step.

    Parameters
    ----------
    gradient : callable
        ``gradient(x, i)``: the gradient of the samples i at x, from x of shape (..., seeds, d) and
        i of shape (seeds, B), int64, to the shape of x.
    n : int
        Number of samples.
    order : {"iid", "reshuffled", "cyclic"}
        See `companion.problems.oracles`.
    batch_size : int
        B; must divide n unless the order is ``"iid"``.

    Notes
    -----
    Cost: B random numbers a seed and step, or n a seed and epoch; memory: n indices a seed when
    reshuffled. An x with other seeds than the last begins a new epoch.

    Examples
    --------
    >>> oracle = Samples(lambda x, i: x - i, n=3, order="cyclic")
    >>> [oracle(torch.zeros(1, 1)).item() for _ in range(4)]
    [0.0, -1.0, -2.0, 0.0]
    """

    def __init__(self, gradient, n: int, order: str = "iid", batch_size: int = 1):
        check_order(order)
        for name, value in (("n", n), ("batch_size", batch_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if order != "iid" and n % batch_size:
            raise ValueError(
                f"batch_size must divide n = {n} for order={order!r}, got {batch_size}"
            )
        self.gradient, self.n, self.order, self.batch_size = gradient, n, order, batch_size
        self.reset()

    def reset(self) -> None:
        """Begin a new epoch."""
        self.place, self.drawn = 0, None

    def indices(self, seeds: tuple, generator=None, device=None) -> Tensor:
        """Return the next indices of each seed, of shape (*seeds, B)."""
        shape = (*seeds, self.batch_size)
        if self.order == "iid":
            return torch.randint(self.n, shape, generator=generator, device=device)
        start, self.place = self.place, (self.place + self.batch_size) % self.n
        if self.order == "cyclic":
            return torch.arange(start, start + self.batch_size, device=device).expand(shape)
        if start == 0 or self.drawn.shape[:-1] != seeds:
            numbers = torch.rand(*seeds, self.n, generator=generator, device=device)
            start, self.place, self.drawn = 0, self.batch_size % self.n, numbers.argsort(-1)
        return self.drawn[..., start : start + self.batch_size]

    def __call__(self, x: Tensor, generator=None) -> Tensor:
        """Return the gradients of the next samples, from (..., seeds, d) to the same shape."""
        return self.gradient(x, self.indices(tuple(x.shape[-2:-1]), generator, x.device))
