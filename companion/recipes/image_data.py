"""Images of an experiment: which are learnt from, how a batch changes them, what is measured."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.data import (
    Augmented,
    Batches,
    Dataset,
    ImageFolder,
    cache_dir,
    cifar10,
    crop,
    digits,
    flip,
)
from companion.train import evaluate


class Images(NamedTuple):
    """Images or tickets x, labels y, and what makes images of x."""

    x: Tensor
    y: Tensor
    decode: Callable


@cache
def parts(name: str, pool: int, held: int) -> tuple:
    """Return the images to learn from and those to measure on.

    The latter are the test images or, where ``held`` is not 0, so many of the training images, the
    same ones always.
    """
    if name == "imagenet":
        folders = (ImageFolder(cache_dir() / "imagenet" / split) for split in ("train", "val"))
        learn, test = (Images(f.x, f.y, f) for f in folders)
    else:
        learn, test = tensors(name, pool)
    if not held:
        return learn, test
    order = torch.randperm(len(learn.y), generator=torch.Generator().manual_seed(0))
    kept, held = order[held:], order[:held]
    return tuple(Images(learn.x[part], learn.y[part], learn.decode) for part in (kept, held))


@cache
def tensors(name: str, pool: int) -> tuple:
    """Return training and test images that fit into memory, normalised, then averaged."""
    source = {"digits": digits, "cifar10": cifar10}[name]
    both = (source(split, normalize=True) for split in ("train", "test"))
    return tuple(Images(F.avg_pool2d(x, pool) if pool > 1 else x, y, same) for x, y in both)


def same(x):
    """Return images as they are."""
    return x


def batches(images: Images, size: int, pad: int, mirror: bool, seed: int) -> Augmented:
    """Return batches of changed images or of tickets, and labels."""

    def change(x, generator):
        if images.decode is not same:
            return ImageFolder.reseed(x, generator)
        x = crop(x, pad, generator) if pad else x
        return flip(x, generator) if mirror else x

    drawn = Batches((images.x, images.y), size, seed=seed)
    return Augmented(drawn, change, seed)


def measured(images: Images, count: int, model: nn.Module) -> dict:
    """Return loss and accuracy on the first ``count`` images."""
    device = next(model.parameters()).device
    data = Dataset(images.x[:count].to(device), images.y[:count].to(device))
    found = evaluate(lambda x: model(images.decode(x)), data)
    return {f"test_{name}": value for name, value in found.items()}
