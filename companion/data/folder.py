"""Photographs in a folder, decoded and cropped when a batch asks for them."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

SUFFIXES = {".jpeg", ".jpg", ".png"}
SHORT = 0.875  # side of the centre crop, as a part of the image's shorter side
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of a random crop: part of the image; width over height
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours, as torchvision's


class ImageFolder:
    """Images in one sub-folder a class, as a function of tickets that batches can carry.

    A ticket is an image's number and the seed of its random crop, or -1 for the crop of its centre.
    So a batch is small until the process that trains on it asks for the images themselves.

    Parameters
    ----------
    root : path
        Holds CLASS/NAME.jpeg (or .jpg, .png); ImageNet's ``train`` or ``val``, sorted into classes.
    size : int, default 224
        Pixels a side of what is returned.
    workers : int, default 16
        Threads that decode.

    Attributes
    ----------
    paths : list of Path
        By class, then by name.
    x, y : Tensor
        Tickets without random crops, (n, 2), and class numbers, (n,), both int64.

    Raises
    ------
    FileNotFoundError
        No such folder, or no images in it.
    """

    def __init__(self, root, size: int = 224, workers: int = 16) -> None:
        root = Path(root)
        folders = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        self.size, self.pool = size, ThreadPoolExecutor(workers)
        self.paths, labels = [], []
        for label, folder in enumerate(folders):
            found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
            self.paths += found
            labels += [label] * len(found)
        if not self.paths:
            raise FileNotFoundError(
                f"{root}: expected a folder of images, {root.name}/CLASS/NAME.jpeg. ImageNet is "
                "not downloaded: place your own copy there, sorted into a folder a class"
            )
        self.y = torch.tensor(labels)
        self.x = torch.stack([torch.arange(len(labels)), torch.full((len(labels),), -1)], 1)

    @staticmethod
    def reseed(tickets: Tensor, generator: torch.Generator) -> Tensor:
        """Return tickets (n, 2) of the same images with new random crops."""
        seeds = torch.randint(2**31, (len(tickets),), generator=generator)
        return torch.stack([tickets[:, 0], seeds.to(tickets.device)], 1)

    def __call__(self, tickets: Tensor) -> Tensor:
        """Return the images of tickets (n, 2), normalised: (n, 3, size, size) on their device."""
        images = torch.stack(list(self.pool.map(self.image, tickets.tolist())))
        mean, std = (torch.tensor(z).view(3, 1, 1) for z in (MEAN, STD))
        return ((images / 255 - mean) / std).to(tickets.device)

    def image(self, ticket) -> Tensor:
        """Return one image, (3, size, size), 0 to 255."""
        from PIL import Image

        number, seed = ticket
        with Image.open(self.paths[number]) as file:
            image = file.convert("RGB")
        box = centre(*image.size) if seed < 0 else anywhere(*image.size, seed)
        size = (self.size, self.size)
        image = image.resize(size, Image.Resampling.BICUBIC, box=box)
        if seed >= 0 and seed % 2:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        return pixels.view(*size, 3).permute(2, 0, 1)


def centre(width: int, height: int) -> tuple:
    """Return the square in the middle: left, top, right, bottom."""
    side = SHORT * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def anywhere(width: int, height: int, seed: int) -> tuple:
    """Return a random rectangle: left, top, right, bottom; shrunk where it does not fit."""
    generator = torch.Generator().manual_seed(seed)
    area, ratio, left, top = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    area = (AREA[0] + (AREA[1] - AREA[0]) * area) * width * height
    low, high = map(math.log, RATIO)
    ratio = math.exp(low + (high - low) * ratio)
    w, h = min(math.sqrt(area * ratio), width), min(math.sqrt(area / ratio), height)
    left, top = left * (width - w), top * (height - h)
    return left, top, left + w, top + h
