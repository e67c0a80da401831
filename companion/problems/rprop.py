"""Hinton's example of why rprop needs care with small batches."""

import torch


class HintonRprop:
    """Gradients of +0.1 nine times in ten and -0.9 once: their sum is zero, the signs' is not.

    SGD stays where it is on average. A method that looks at signs alone moves eight steps out of
    ten in one direction. Every coordinate has its own draws.

    Parameters
    ----------
    order : {"shuffled", "iid"}
        ``"shuffled"``: each ten gradients in a row hold the -0.9 exactly once, at a random place.
        ``"iid"``: each gradient is -0.9 with probability 1/10, independently. Mean 0 and variance
        0.09 in both.

    References
    ----------
    Hinton, Srivastava and Swersky (2012), Neural networks for machine learning, lecture 6.

    Examples
    --------
    >>> oracle, x = HintonRprop(), torch.zeros(1, dtype=torch.float64)
    >>> total = sum(oracle(x) for _ in range(10))
    >>> abs(total.item()) < 1e-12
    True
    """

    def __init__(self, order: str = "shuffled"):
        if order not in ("shuffled", "iid"):
            raise ValueError(f"order must be 'shuffled' or 'iid', got {order!r}")
        self.order = order
        self.reset()

    def reset(self) -> None:
        """Begin a new ten."""
        self.count = 0

    def __call__(self, x, generator=None):
        """Return gradients of the shape of x, which does not matter otherwise."""
        if self.count % 10 == 0 or self.order == "iid":
            shape = x.shape[-2:]
            self.place = torch.randint(10, shape, generator=generator, device=x.device)
        now = 0 if self.order == "iid" else self.count % 10
        self.count += 1
        rare, common = x.new_tensor(-0.9), x.new_tensor(0.1)
        return torch.where(self.place == now, rare, common).expand(x.shape)
