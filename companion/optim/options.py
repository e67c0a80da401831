"""What the options of an optimizer may be, and the errors for those that may not."""

import math

import torch
from torch import Tensor

# Numbers that a rule computes with: lower end (allowed), upper end (excluded). All other options
# are structure: a rule may branch on them.
RANGES = {
    "lr": (0, math.inf),
    "base_lr": (0, math.inf),
    "beta1": (0, 1),
    "beta2": (0, 1),
    "alpha": (0, 1),
    "momentum": (0, math.inf),
    "dampening": (-math.inf, math.inf),
    "eps": (0, math.inf),
    "weight_decay": (0, math.inf),
    "lr_decay": (0, math.inf),
    "initial_accumulator_value": (0, math.inf),
    "final_lr": (0, math.inf),
    "gamma": (0, math.inf),
}
BOOLEANS = ("decoupled", "maximize", "differentiable", "fused", "nesterov", "centered")
# What schedulers write into a group: never a misspelt option.
SCHEDULERS = ("initial_lr", "max_lr", "min_lr", "base_lr", "max_momentum", "base_momentum")


def check(name: str, value, owner: str) -> None:
    """Raise ``ValueError`` or ``TypeError`` unless ``value`` is one that ``name`` may take."""
    if name == "betas":
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise ValueError(f"{owner}: betas must be a pair (beta1, beta2), got {value!r}")
        for index, beta in enumerate(value, start=1):
            check(f"beta{index}", beta, owner)
    elif name in BOOLEANS:
        if not isinstance(value, bool):
            raise TypeError(f"{owner}: {name} must be True or False, got {value!r}")
    elif name in RANGES:
        low, high = RANGES[name]
        if isinstance(value, bool) or not isinstance(value, (int, float, Tensor)):
            raise TypeError(f"{owner}: {name} must be a number, got {value!r}")
        numbers = torch.as_tensor(value, dtype=torch.float64).detach()
        # NaN fails both comparisons, so it is refused here too.
        if not bool(((numbers >= low) & (numbers < high)).all()):
            raise ValueError(f"{owner}: {name} must be in [{low}, {high}), got {value!r}")


def is_zero(value) -> bool:
    """Say whether a number is zero for good: a tensor may hold any, so it never is."""
    return isinstance(value, float) and value == 0
