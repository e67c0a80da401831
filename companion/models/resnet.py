"""ResNet-18 for small images."""

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from companion.arguments import whole

GROUPS = 8  # of channels that norm="group" normalises together


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut: x ↦ relu(shortcut(x) + f(x))."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm) -> None:
        super().__init__()
        conv = partial(nn.Conv2d, kernel_size=3, padding=1, bias=False)
        self.conv1, self.norm1 = conv(inputs, outputs, stride=stride), norm(outputs)
        self.conv2, self.norm2 = conv(outputs, outputs), norm(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h/stride, w/stride), sizes rounded up."""
        y = F.relu(self.norm1(self.conv1(x)))  # (n, outputs, h/stride, w/stride)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """The network that `resnet18` builds: a 3×3 stem, four stages of two blocks, a linear head."""

    def __init__(self, classes: int, channels: int, width: int, norm) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, width, 3, padding=1, bias=False), norm(width)
        stages, inputs = [], width
        for stage in range(4):
            outputs, stride = width * 2**stage, 1 if stage == 0 else 2
            first = Block(inputs, outputs, stride, norm)
            stages.append(nn.Sequential(first, Block(outputs, outputs, 1, norm)))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, channels, h, w) to logits (n, classes)."""
        if x.dim() != 4:
            raise ValueError(f"x: expected images (n, channels, h, w), got shape {tuple(x.shape)}")
        x = F.relu(self.norm(self.conv(x)))  # (n, width, h, w)
        for stage in self.stages:
            x = stage(x)  # (n, width·2^s, h/2^s, w/2^s), s = 0, 1, 2, 3
        return self.head(x.mean((2, 3)))  # (n, 8·width) → (n, classes)


def resnet18(
    classes: int = 10, channels: int = 3, width: int = 64, norm: str = "batch"
) -> ResNet18:
    r"""Return a ResNet-18 in its form for small images: no pooling before the blocks.

    .. math:: x \mapsto \operatorname{relu}\big(s(x) + f(x)\big)

    eight times, where f is convolution, normalisation, relu, convolution, normalisation, and the
    shortcut s is the identity, or a strided 1×1 convolution where the number of channels doubles.

    Parameters
    ----------
    classes : int, default 10
        Length of the output.
    channels : int, default 3
        Of the images: 3 for colours, 1 for grey values.
    width : int, default 64
        Channels of the first stage; the others have 2, 4 and 8 times as many. 8 or 16 make a
        small one for a CPU.
    norm : {"batch", "group"}, default "batch"
        Batch normalisation *without running statistics*: training and evaluation both normalise by
        the batch at hand, so that the loss is a function of parameters and batch and of nothing
        else. Or group normalisation, 8 groups, where samples do not see each other.

    Raises
    ------
    ValueError
        A size below 1, an unknown norm, a width that 8 groups do not divide.
    TypeError
        A size that is no whole number.

    Notes
    -----
    11,173,962 parameters at the defaults, otherwise about 2,730 · width². Weights start as torch's
    layers start them. Batch normalisation needs more than one value a channel: images of 8×8 shrink
    to 1×1, so give it two samples or more.

    References
    ----------
    He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016.

    Examples
    --------
    >>> import torch
    >>> model = resnet18(width=8)
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    >>> sum(p.numel() for p in model.parameters())
    176402
    """
    sizes = {"classes": classes, "channels": channels, "width": width}
    classes, channels, width = (whole(name, value, least=1) for name, value in sizes.items())
    norms = {
        "batch": partial(nn.BatchNorm2d, track_running_stats=False),
        "group": partial(nn.GroupNorm, GROUPS),
    }
    if norm not in norms:
        raise ValueError(f"norm: expected 'batch' or 'group', got {norm!r}")
    if norm == "group" and width % GROUPS:
        raise ValueError(f"width: norm='group' needs a multiple of {GROUPS}, got {width}")
    return ResNet18(classes, channels, width, norms[norm])
