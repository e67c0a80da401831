"""Convolutional parts of the `VAE`: residual cells, and layers that halve and double images."""

from torch import Tensor, nn
from torch.nn import functional as F


class Cell(nn.Module):
    """A residual cell: x ↦ x + f(x)/10, with two 3×3 convolutions in f."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to itself."""
        return x + 0.1 * self.second(F.silu(self.first(F.silu(x))))


def stack(width: int, cells: int) -> nn.Sequential:
    """Return so many cells, one after the other."""
    return nn.Sequential(*(Cell(width) for _ in range(cells)))


def halve(width: int) -> nn.Conv2d:
    """Half the resolution, twice the channels."""
    return nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)


class Up(nn.Module):
    """Twice the resolution, half the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(inputs, outputs, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Map (n, inputs, r, r) to (n, outputs, 2r, 2r)."""
        return F.interpolate(self.narrow(h), scale_factor=2.0)
