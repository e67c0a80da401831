"""The state of a parameter: its precision, and whether a loaded one fits."""

from itertools import chain

import torch
from torch import Tensor

from companion.optim.options import checked
from companion.optim.shards import local


def real(x: Tensor) -> Tensor:
    """Return a complex tensor's view as pairs of reals, and a real tensor as it is."""
    return torch.view_as_real(x) if x.is_complex() else x


def precise(x: Tensor) -> Tensor:
    """Return half-precision tensors in float32: rules and their state never run in less."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def fitting(optimizer, state_dict: dict) -> tuple[dict, dict]:
    """Return the states of a dictionary by parameter, in the precision that their rule runs in.

    Parameters
    ----------
    optimizer : Optimizer
    state_dict : dict
        As of ``Optimizer.state_dict``; it is left as it is.

    Returns
    -------
    states : dict
        Parameter → its state, copied.
    rest : dict
        What belongs to no parameter.

    Raises
    ------
    ValueError
        A state that the parameter could not have made.
    """
    groups = state_dict["param_groups"]
    _check_options(optimizer, groups)
    for group in groups:
        given = {k: v for k, v in group.items() if v is not None}  # torch's "as you like"
        group = checked(given, optimizer.options, type(optimizer).__name__)
        optimizer.check_options({**optimizer.defaults, **group})
    saved = list(chain.from_iterable(group["params"] for group in groups))
    params = list(chain.from_iterable(group["params"] for group in optimizer.param_groups))
    owners = [{**optimizer.defaults, **group} for group in groups for _ in group["params"]]
    states = {}
    for index, p, group in zip(saved, params, owners, strict=False):
        if state := state_dict["state"].get(index):
            states[p] = _fitted(optimizer, p, state, optimizer.hyper_of(group))
    known = set(saved)
    return states, {k: v for k, v in state_dict["state"].items() if k not in known}


def _check_options(optimizer, groups) -> None:
    """Raise ``ValueError`` for groups with options of another rule, whose state differs in meaning.

    What a user or a wrapper keeps in a group is none of our business.
    """
    base = next(c for c in type(optimizer).__mro__[::-1] if "hyper_of" in vars(c))
    rules, others = [base], {"betas"}
    while rules:
        rule = rules.pop()
        others |= set(rule.options)
        rules += rule.__subclasses__()
    foreign = sorted(
        {k for group in groups for k in group if k in others} - {"base_lr", *optimizer.defaults}
    )
    if foreign:
        raise ValueError(
            f"{type(optimizer).__name__}: the state to load is of another optimizer, whose groups "
            f"have {', '.join(foreign)}"
        )


def _fitted(optimizer, p, state: dict, h) -> dict:
    """Return one parameter's state, copied, after a check of its names and shapes."""
    owner, shape = type(optimizer).__name__, tuple(p.shape)
    state = {name: value for name, value in state.items() if value is not None}
    if isinstance(blocks := state.get("blocks"), Tensor):
        state["blocks"] = blocks = blocks.to(local(p).device, copy=True)  # labels of the entries
    expected = optimizer._new_state(p, h, blocks)
    needed = {"step", *expected} | ({"blocks"} if optimizer.block == "partition" else set())
    if not needed <= set(state):
        raise ValueError(
            f"{owner}: the state to load for a parameter of shape {shape} must hold "
            f"{sorted(needed)}, got {sorted(state)}"
        )
    result = {}
    for name, value in state.items():
        if name in optimizer.State._fields and isinstance(value, (tuple, list)):
            value = torch.stack(tuple(value))
        if name == "step":
            if not isinstance(value, (int, float)) and getattr(value, "numel", lambda: 0)() != 1:
                raise ValueError(f"{owner}: the step to load must be a number, got {value!r}")
            value = torch.tensor(float(value), dtype=torch.float32, device="cpu")
        elif name in expected:
            want = expected[name]
            if not isinstance(value, Tensor) or value.shape != want.shape:
                got = tuple(value.shape) if isinstance(value, Tensor) else value
                raise ValueError(
                    f"{owner}: the state to load for a parameter of shape {shape} must have {name} "
                    f"of shape {tuple(want.shape)}, got {got!r}"
                )
            value = value.to(dtype=want.dtype, device=want.device, copy=True)
        elif isinstance(value, Tensor) and name != "blocks":
            value = value.to(local(p).device, copy=True)
        result[name] = value
    return result
