"""A Swin transformer: attention in windows, which every other block shifts by half a window."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class SwinConfig:
    """Sizes of a `Swin`; the defaults are Swin-T's on ImageNet.

    Attributes
    ----------
    image, channels, classes : int
        Pixels a side and colours of the input; length of the output.
    patch : int
        Pixels a side of what becomes one token.
    dim : int
        Length of a token in the first stage; each later stage has twice the one before.
    depths, heads : tuple of int
        Blocks, and heads of attention, a stage.
    window : int
        Tokens a side of a window; a stage that is smaller is one window.
    ratio : int
        Hidden units of a block's two layers, as a multiple of its tokens' length.
    """

    image: int = 224
    channels: int = 3
    classes: int = 1000
    patch: int = 4
    dim: int = 96
    depths: tuple = (2, 2, 6, 2)
    heads: tuple = (3, 6, 12, 24)
    window: int = 7
    ratio: int = 4


class Attention(nn.Module):
    """Attention among the tokens of a window, with a bias for each relative position."""

    def __init__(self, dim: int, heads: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        self.register_buffer("place", places(window), persistent=False)  # (L, L), L = window²
        self.register_buffer("mask", mask(side, window, shift), persistent=False)  # (nW, L, L)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, side, side, dim) to the same shape."""
        n, side, _, dim = x.shape
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        x = windows(x, self.window)  # (n, nW, L, dim)
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (n, nW, L, 3, heads, d)
        q, k, v = parts.permute(3, 0, 1, 4, 2, 5)  # (n, nW, heads, L, d) each
        scores = q @ k.mT * q.shape[-1] ** -0.5 + self.bias[self.place].permute(2, 0, 1)
        if self.shift:
            scores = scores.masked_fill(self.mask[:, None], float("-inf"))
        x = (scores.softmax(-1) @ v).transpose(2, 3).reshape(n, -1, self.window**2, dim)
        x = unwindows(self.out(x), side)
        return x.roll((self.shift, self.shift), (1, 2)) if self.shift else x


class Block(nn.Module):
    """x ↦ x + attention(norm(x)), then x ↦ x + two layers with GELU(norm(x))."""

    def __init__(self, dim: int, heads: int, side: int, window: int, shift: int, ratio: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, side, window, shift)
        self.up, self.down = nn.Linear(dim, ratio * dim), nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, side, side, dim) to the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Merge(nn.Module):
    """Make one token of length 2·dim of each 2×2 tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm, self.reduce = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, side, side, dim) to (n, side/2, side/2, 2·dim)."""
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduce(self.norm(torch.cat(corners, -1)))


class Swin(nn.Module):
    r"""A Swin transformer for square images.

    A token is a patch of pixels. A block attends within windows of M×M tokens, so that its cost
    grows with the number of tokens and not with its square:

    .. math:: \operatorname{softmax}\big(Q K^\top / \sqrt d + B\big) V,

    where B depends on the relative position of two tokens alone. Every other block shifts the
    windows by M/2, which lets neighbours see each other. Between stages 2×2 tokens become one.

    Parameters
    ----------
    config : SwinConfig

    Raises
    ------
    ValueError
        Sizes that do not divide each other: an image by its patch, a stage by its window or by
        two, a token by its heads.

    Notes
    -----
    28,288,354 parameters at the defaults. Weights start as N(0, .02²) cut at ±2, biases at 0. The
    original drops whole blocks at random while it trains (stochastic depth); this one does not.

    References
    ----------
    Liu, Lin, Cao, Hu, Wei, Zhang, Lin, Guo, "Swin transformer: hierarchical vision transformer
    using shifted windows", ICCV 2021.

    Examples
    --------
    >>> model = Swin(SwinConfig(16, 3, 10, patch=2, dim=16, depths=(2, 2), heads=(2, 4), window=4))
    >>> model(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 10])
    """

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = c = config
        check(c)
        dim, side = c.dim, c.image // c.patch
        self.embed = nn.Conv2d(c.channels, dim, c.patch, stride=c.patch)
        self.embed_norm, stages = nn.LayerNorm(dim), []
        for stage, (depth, heads) in enumerate(zip(c.depths, c.heads, strict=True)):
            if stage:
                stages.append(Merge(dim))
                dim, side = 2 * dim, side // 2
            window = min(c.window, side)
            shifts = (window // 2 if i % 2 and window < side else 0 for i in range(depth))
            stages += [Block(dim, heads, side, window, shift, c.ratio) for shift in shifts]
        self.stages = nn.ModuleList(stages)
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, c.classes)
        for name, p in self.named_parameters():
            if name.endswith("attention.bias") or p.dim() == 2:
                nn.init.trunc_normal_(p, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, channels, image, image) to logits (n, classes)."""
        expected = (self.config.channels, self.config.image, self.config.image)
        if x.shape[1:] != expected:
            raise ValueError(f"x: expected images (n, *{expected}), got shape {tuple(x.shape)}")
        x = self.embed_norm(self.embed(x).permute(0, 2, 3, 1))  # (n, side, side, dim)
        for stage in self.stages:
            x = stage(x)
        return self.head(self.norm(x).mean((1, 2)))  # (n, classes)


def windows(x: Tensor, size: int) -> Tensor:
    """Cut (n, side, side, dim) into (n, windows, size², dim), row by row."""
    x = x.unflatten(2, (-1, size)).unflatten(1, (-1, size))  # (n, rows, size, columns, size, dim)
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def unwindows(x: Tensor, side: int) -> Tensor:
    """Undo `windows`."""
    count = int(x.shape[1] ** 0.5)
    x = x.unflatten(2, (side // count, -1)).unflatten(1, (count, count))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def places(window: int) -> Tensor:
    """Return for each two tokens of a window which bias is theirs, (window², window²)."""
    steps = torch.arange(window)
    row, column = (z.flatten() for z in torch.meshgrid(steps, steps, indexing="ij"))
    down, right = row[:, None] - row, column[:, None] - column  # each from 1 - window on
    return (down + window - 1) * (2 * window - 1) + right + window - 1


def mask(side: int, window: int, shift: int) -> Tensor:
    """Return which tokens of shifted windows must not see each other, (windows, window², window²).

    The image is rolled, so the last windows hold parts that are no neighbours.
    """
    parts = torch.zeros(side, dtype=torch.int64)  # 0, then 1 and 2 on the two sides of the seam
    parts[side - window :] += 1
    parts[side - shift :] += 1
    labels = 3 * parts[:, None] + parts
    labels = windows(labels[None, :, :, None], window)[0, :, :, 0]  # (windows, window²)
    return labels[:, :, None] != labels[:, None]


def check(c: SwinConfig) -> None:
    """Raise ``ValueError`` unless the sizes divide each other."""
    if c.image % c.patch:
        raise ValueError(f"image: {c.image} pixels are no whole number of patches of {c.patch}")
    side, dim = c.image // c.patch, c.dim
    for stage, heads in enumerate(c.heads):
        if side % min(c.window, side) or dim % heads:
            raise ValueError(
                f"stage {stage}: {side} tokens a side and length {dim} need a window that divides "
                f"the former and heads that divide the latter, got {c.window} and {heads}"
            )
        if stage + 1 < len(c.heads) and side % 2:
            raise ValueError(f"stage {stage}: {side} tokens a side cannot be merged by twos")
        side, dim = side // 2, 2 * dim
