"""Random crops and mirror images of whole batches, drawn by a seed."""

import torch
from torch import Tensor
from torch.nn import functional as F

from companion.arguments import whole


def crop(x: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Return images moved by up to ``pad`` pixels each way, zeros where they moved away from.

    Each image draws its move alone: as if it were padded by ``pad`` zeros on all sides, and a part
    of the old size were cut out anywhere. Zero is the mean of normalised images.

    Parameters
    ----------
    x : Tensor
        Images (n, c, h, w).
    pad : int
        Pixels.
    generator : Generator
        On the CPU, so that a seed gives the same moves on every device.

    Examples
    --------
    >>> x = torch.arange(1.0, 4).expand(1, 1, 3, 3)
    >>> crop(x, 1, torch.Generator().manual_seed(1))[0, 0]
    tensor([[2., 3., 0.],
            [2., 3., 0.],
            [2., 3., 0.]])
    """
    if x.dim() != 4:
        raise ValueError(f"x: expected images (n, c, h, w), got shape {tuple(x.shape)}")
    n, _, height, width = x.shape
    pad = whole("pad", pad)
    start = torch.randint(2 * pad + 1, (2, n, 1), generator=generator).to(x.device)
    rows = start[0] + torch.arange(height, device=x.device)  # (n, h), of the padded images
    columns = start[1] + torch.arange(width, device=x.device)  # (n, w)
    padded = F.pad(x, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
    image = torch.arange(n, device=x.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2).contiguous()


def flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (n, c, h, w), each mirrored left to right with probability one half.

    Examples
    --------
    >>> x = torch.arange(3.0).expand(2, 1, 1, 3)
    >>> flip(x, torch.Generator().manual_seed(0))[:, 0, 0]
    tensor([[2., 1., 0.],
            [0., 1., 2.]])
    """
    if x.dim() != 4:
        raise ValueError(f"x: expected images (n, c, h, w), got shape {tuple(x.shape)}")
    mirrored = torch.rand((len(x), 1, 1, 1), generator=generator).to(x.device) < 0.5
    return torch.where(mirrored, x.flip(-1), x)


class Augmented:
    """Batches whose first tensor is changed at random; they are saved and resumed like `Batches`.

    Parameters
    ----------
    batches : iterator
        Of tuples of tensors, with ``state_dict``.
    change : callable
        (first tensor, generator) → what takes its place.
    seed : int, default 0
        Of the changes.

    Examples
    --------
    >>> from companion.data import Batches
    >>> data = torch.arange(3.0).expand(4, 1, 1, 3), torch.arange(4)
    >>> batches = Augmented(Batches(data, 2), flip)
    >>> x, y = next(batches)
    >>> x.shape, y.shape
    (torch.Size([2, 1, 1, 3]), torch.Size([2]))
    """

    def __init__(self, batches, change, seed: int = 0) -> None:
        self.batches, self.change = batches, change
        self.generator = torch.Generator().manual_seed(whole("seed", seed))

    def __iter__(self):
        return self

    def __next__(self):
        first, *others = next(self.batches)
        return self.change(first, self.generator), *others

    def state_dict(self) -> dict:
        """State from which `load_state_dict` continues the same batches, bit for bit."""
        return {"batches": self.batches.state_dict(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        """Continue where `state_dict` was called."""
        self.batches.load_state_dict(state["batches"])
        self.generator.set_state(state["generator"].cpu())
