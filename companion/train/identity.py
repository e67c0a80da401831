"""What makes two runs the same run: settings in words, and the digest of what is too long for that.

`describe` turns a setting into plain values that can be saved, compared and shown. A function is
its code: its instructions and constants, and what it reads from outside itself. So a loss that was
edited is noticed, and one that merely moved to another line is not.
"""

import hashlib
import inspect
import re
import types
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

PLAIN = (str, int, float, bool, type(None))
# What an object's attributes are compared by, beside their class.
READ = (*PLAIN, list, tuple, dict, set, Tensor, partial, types.FunctionType)
LIBRARIES = ("torch", "companion")  # their functions are known by name
# What a scheduler counts and learns on the way; the rest of its attributes are settings.
PROGRESS = {
    "optimizer", "last_epoch", "_step_count", "_last_lr", "_is_initial", "T_cur", "T_i", "verbose",
    "_get_lr_called_within_step", "best", "num_bad_epochs", "cooldown_counter",
}  # fmt: skip


def digest(*values) -> str:
    """Return the SHA-256 of tensors, plain values, and dictionaries, lists and tuples of them."""
    state = hashlib.sha256()
    for value in values:
        _feed(state, value)
    return state.hexdigest()


def _feed(state, value) -> None:
    if isinstance(value, Tensor):
        state.update(f"{value.dtype}{tuple(value.shape)}".encode())
        flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous().flatten()
        state.update(flat.view(torch.uint8).numpy().data)
    elif isinstance(value, (dict, list, tuple)):
        state.update(f"{type(value).__name__}{len(value)}".encode())
        for part in value.items() if isinstance(value, dict) else value:
            _feed(state, part)
    else:
        state.update(repr(value).encode() + b";")


def describe(value, seen=frozenset(), depth=10):
    """Return plain values that tell this setting from others; see the module.

    Parameters
    ----------
    value : object
    seen : set of int
        Addresses of what is not to be described: what is trained, and what holds this value.
    depth : int
        How far objects within objects are followed.
    """
    if id(value) in seen or not depth:
        return "..."
    below = partial(describe, seen=seen | {id(value)}, depth=depth - 1)
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1):
        return value.item()
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}, {digest(value)[:12]}"
    if isinstance(value, dict):
        return {str(k): below(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(below(v) for v in value)
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(map(repr, value)))
    if isinstance(value, (complex, bytes, torch.dtype, torch.device)) or value is Ellipsis:
        return repr(value)
    if isinstance(value, partial):
        parts = below(value.func), below(value.args), below(value.keywords)
        return f"partial of {parts[0]}, {digest(*parts)[:12]}"
    if isinstance(value, types.MethodType):
        return (below(value.__func__), below(value.__self__))
    if isinstance(value, types.FunctionType):
        return f"{value.__qualname__}, {digest(_code(value, below))[:12]}"
    if isinstance(value, types.CodeType):
        return (value.co_code.hex(), value.co_names, below(value.co_consts))
    if hasattr(value, "__qualname__"):  # a class, or a function that is not Python's
        return f"{value.__module__}.{value.__qualname__}"
    return {"class": type(value).__qualname__, **_attributes(value, below)}


def _attributes(value, below) -> dict:
    """Describe an object by its attributes: all of a scheduler's, the plain ones of others."""
    own = getattr(value, "__dict__", {})
    if isinstance(value, LRScheduler):
        return {k: below(v) for k, v in own.items() if k not in PROGRESS}
    described = {k: below(v) for k, v in own.items() if isinstance(v, READ)}
    if isinstance(value, nn.Module):
        described |= {"state": below(value.state_dict()), "modules": architecture(value)}
    return described


def _code(function, below) -> tuple:
    """Return what a function does, and what it reads from outside itself but modules."""
    code, outside = function.__code__, {}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        outside[name] = getattr(cell, "cell_contents", None)
    if (function.__module__ or "").partition(".")[0] in LIBRARIES:
        instructions = (function.__module__, function.__qualname__)
    else:
        instructions = below(code)
        outside |= {name: function.__globals__.get(name) for name in code.co_names}
    read = {k: below(v) for k, v in outside.items() if not isinstance(v, types.ModuleType)}
    return (instructions, below(function.__defaults__), below(function.__kwdefaults__), read)


def architecture(model: nn.Module) -> dict:
    """Return what a model prints, by line, and the plain attributes of its modules."""
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(model))
    lines = {f"line {i}": line.strip() for i, line in enumerate(text.splitlines(), start=1)}
    held = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            plain = isinstance(value, (*PLAIN, partial)) or inspect.isroutine(value)
            if plain and key[0] != "_" and key != "training":
                held[f"{name}.{key}"] = describe(value)
    return lines | held


def cycles_momentum(scheduler) -> bool:
    """Say whether a scheduler, or one that it is made of, moves the momentum as well as the lr."""
    parts = getattr(scheduler, "_schedulers", [])
    return bool(getattr(scheduler, "cycle_momentum", False)) or any(map(cycles_momentum, parts))


def options(optimizer, scheduler) -> dict:
    """Return the options of an optimizer as they were before a scheduler moved them.

    Those are what stands in its groups, and attributes of its own such as a partition.
    """
    moved = {"momentum"} if cycles_momentum(scheduler) else set()
    result = {
        name: describe(value)
        for name, value in vars(optimizer).items()
        if (isinstance(value, PLAIN) or callable(value)) and name[0] != "_" and name != "step"
    }
    for number, group in enumerate(optimizer.param_groups):
        group = {**group, "lr": group.get("initial_lr", group["lr"])}
        if moved and "betas" in group:
            group["betas"] = (None, *group["betas"][1:])
        for name, value in group.items():
            if name not in {"params", "param_names", "initial_lr", *moved}:
                result[f"{name} of group {number}"] = describe(value)
    return result
