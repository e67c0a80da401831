"""Where a run computes, and what random numbers it draws."""

import contextlib

import torch
from torch import Tensor

from companion.data import Dataset


def choose_device(device=None) -> torch.device:
    """Return the device that is asked for, else the first GPU, else the CPU."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


@contextlib.contextmanager
def random_state(seed: int, device: torch.device):
    """Seed torch inside, and give the caller's random state back."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def to_device(data, device, name="data") -> Dataset:
    """Return the fields x and y of a data set on a device; TypeError where there are none."""
    x, y = getattr(data, "x", None), getattr(data, "y", None)
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        raise TypeError(
            f"{name}: expected a data set with tensors x and y, got {type(data).__name__}"
        )
    return Dataset(x.to(device), y.to(device))
