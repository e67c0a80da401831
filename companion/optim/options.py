"""What the options of a rule may be: each rule declares its own."""

import math
import numbers
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Number:
    """A number that a rule computes with, in [low, high); kernels leave it open.

    Tensors are taken too: the engines of grids have one value a cell.
    """

    low: float = 0.0
    high: float = math.inf

    def check(self, name: str, value) -> None:
        """Raise ``TypeError`` or ``ValueError`` unless ``value`` is such a number."""
        if isinstance(value, bool) or not isinstance(value, (numbers.Real, Tensor)):
            raise TypeError(f"{name} must be a number, got {value!r}")
        # NaN fails both comparisons, so it is refused here too.
        if isinstance(value, Tensor):
            if value.is_complex() or value.dtype == torch.bool:
                raise TypeError(f"{name} must be a real number, got {value!r}")
            ends = [z.item() for z in value.detach().aminmax()] if value.numel() else [self.low] * 2
            inside = self.low <= ends[0] and ends[1] < self.high
        else:
            inside = self.low <= float(value) < self.high
        if not inside:
            raise ValueError(f"{name} must be in [{self.low:g}, {self.high:g}), got {value!r}")


@dataclass(frozen=True)
class Count:
    """A whole number of at least ``low``. A rule may branch on it, so it makes its own kernel."""

    low: int = 0

    def check(self, name: str, value) -> None:
        """Raise ``ValueError`` unless ``value`` is such a number."""
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < self.low:
            raise ValueError(f"{name} must be a whole number of at least {self.low}, got {value!r}")


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple

    def check(self, name: str, value) -> None:
        """Raise ``ValueError`` unless ``value`` is one of them."""
        if not any(value is v or (type(value) is type(v) and value == v) for v in self.values):
            raise ValueError(f"{name} must be one of {self.values}, got {value!r}")


class Flag:
    """True or False."""

    @staticmethod
    def check(name: str, value) -> None:
        """Raise ``TypeError`` unless ``value`` is a bool."""
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {value!r}")


class Anything:
    """What only the rule itself can judge, in its ``check_options``."""

    @staticmethod
    def check(name: str, value) -> None:
        """Let every value pass."""


UNIT = Number(0, 1)  # decay rates
REAL = Number(-math.inf)


def checked(group: dict, options: dict, owner: str) -> dict:
    """Return a group after a check of its options, with NumPy's numbers as Python's.

    Parameters
    ----------
    group : dict
        Options by name, ``betas`` as a pair; what is not declared passes.
    options : dict
        What each may be, with ``beta1`` and ``beta2`` for ``betas``.
    owner : str
        Whose options they are, for the errors.
    """
    result = dict(group)
    for name, value in group.items():
        if name == "betas" and (not isinstance(value, (tuple, list)) or len(value) != 2):
            raise ValueError(f"{owner}: betas must be a pair (beta1, beta2), got {value!r}")
    for name, value in flat(group).items():
        if name in options:
            options[name].check(f"{owner}: {name}", value)
            if name in group:
                result[name] = plain(value)
    if "betas" in group:
        result["betas"] = tuple(plain(beta) for beta in group["betas"])
    return result


def flat(group: dict) -> dict:
    """Return a group's options with ``betas`` apart, as ``beta1`` and ``beta2``."""
    result = {name: value for name, value in group.items() if name != "betas"}
    return result | {f"beta{i}": beta for i, beta in enumerate(group.get("betas", ()), start=1)}


def plain(value):
    """Return a number as Python's own, whole or not; all else as it is."""
    if isinstance(value, (bool, Tensor)) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)
