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
        if device.type == "cpu":  # other devices keep their state, and are not asked for it
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def mode(model, training: bool):
    """Put a model in training or evaluation mode inside, and each of its modules back as it was."""
    modules = [(m, m.training) for m in model.modules()] if hasattr(model, "modules") else []
    try:
        if modules:
            model.train(training)
        yield
    finally:
        for module, before in modules:
            module.training = before


def fields(data, name="data") -> Dataset:
    """Return the fields x and y of a data set; raise unless they hold samples."""
    x, y = getattr(data, "x", None), getattr(data, "y", None)
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        raise TypeError(
            f"{name}: expected a data set with tensors x and y, got {type(data).__name__}"
        )
    if not (x.dim() and y.dim() and len(x) == len(y) > 0):
        raise ValueError(
            f"{name}: expected as many y as x, at least one, got shapes {tuple(x.shape)} of x "
            f"and {tuple(y.shape)} of y"
        )
    return Dataset(x, y)


def to_device(data, device, name="data") -> Dataset:
    """Return the fields x and y of a data set on a device."""
    return Dataset(*(z.to(device) for z in fields(data, name)))
