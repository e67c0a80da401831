"""Checkpoints of a run of a recipe, in one process or many, that another number of them can load.

Where each process has all parameters a checkpoint is one file, ``step-00000100.pt``, written by the
first; see `companion.train.checkpoint`. Where parameters are divided it is a folder of that name,
in which each process writes its part, and the rest of the run stands in ``run.pt``. Both take their
name when they are whole.
"""

import contextlib
import os
import shutil
import warnings
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from companion.train import checkpoint

NUMBERS = ("step", "rows", "total", "seconds")


def latest(folder) -> Path | None:
    """Return the checkpoint of the most steps in a folder, if there is one."""
    found = [p for p in Path(folder).glob("step-*") if p.stem[5:].isdigit()]
    return max(found, key=lambda p: int(p.stem[5:]), default=None)


def save(run, folder, identity: dict) -> Path:
    """Write a run into a folder, and remove what it replaces. All processes call it together.

    Parameters
    ----------
    run : Run
    folder : path
    identity : dict
        Plain values that must agree when the run goes on.
    """
    folder, rank = Path(folder), run.processes.rank
    about = {name: getattr(run, name) for name in NUMBERS}
    about["scheduler"] = None if run.scheduler is None else run.scheduler.state_dict()
    about["batches"] = run.task.batches.state_dict()
    about["random"] = run.processes.collect(random(run.device))
    about["identity"] = identity
    path = folder / f"step-{run.step:08d}"
    if run.processes.sharded:
        part = folder / f".{path.name}.part"
        if rank == 0:
            shutil.rmtree(part, ignore_errors=True)
        run.processes.wait()
        dcp.save(tensors(run), checkpoint_id=part)
        if rank == 0:
            checkpoint.write(part / "run.pt", about)
            shutil.rmtree(path, ignore_errors=True)
            os.replace(part, path)
    else:
        path = path.with_suffix(".pt")
        state = tensors(run)
        if rank == 0:
            checkpoint.write(path, about | state)
    if rank == 0:
        for old in folder.glob("step-*"):
            if old != path:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    run.processes.wait()
    return path


def load(run, path: Path, identity: dict) -> None:
    """Go on from a checkpoint; ``ValueError`` where it is damaged, or of other settings."""
    divided = path.is_dir()
    about = checkpoint.read(path / "run.pt" if divided else path)
    checkpoint.compare(path, about["identity"], identity)
    model, optimizer = run.task.model, run.optimizer
    if divided and run.processes.sharded:
        state = tensors(run)
        with quiet():
            dcp.load(state, checkpoint_id=path)
    else:
        state = whole(path) if divided else about
        held = tensors(run)
        state = {part: as_held(state[part], held[part]) for part in ("model", "optimizer")}
    set_model_state_dict(model, state["model"])
    groups = get_optimizer_state_dict(model, optimizer)["param_groups"]
    set_optimizer_state_dict(
        model, optimizer, {"state": state["optimizer"], "param_groups": groups}
    )
    if run.scheduler is not None:
        run.scheduler.load_state_dict(about["scheduler"])
        for group, lr in zip(optimizer.param_groups, run.scheduler.get_last_lr(), strict=True):
            group["lr"] = lr
    run.task.batches.load_state_dict(about["batches"])
    for name in NUMBERS:
        setattr(run, name, about[name])
    if run.processes.rank < len(about["random"]):
        seed(about["random"][run.processes.rank], run.device)


def tensors(run) -> dict:
    """Return parameters, buffers and the optimizer's state, by the parameters' names."""
    state = get_optimizer_state_dict(run.task.model, run.optimizer)["state"]
    return {"model": run.task.model.state_dict(), "optimizer": state}


def as_held(state: dict, held: dict) -> dict:
    """Return the tensors of a whole checkpoint, divided as those of a run are.

    What a rule keeps a block, for equal blocks, is kept an entry where parameters are divided; what
    it keeps a parameter may have another shape there.
    """
    from torch.distributed.tensor import DTensor, distribute_tensor

    blocks = state.get("blocks")
    labelled = isinstance(blocks, int) and isinstance(held.get("blocks"), DTensor)
    by_label = isinstance(blocks, Tensor)  # then all is kept an entry
    placed = {}
    for name, value in state.items():
        like = held.get(name)
        if isinstance(value, dict):
            value = as_held(value, like or {})
        elif name == "blocks" and labelled:
            value = like
        elif isinstance(like, DTensor):
            if value.numel() != like.numel():
                value = value.reshape(blocks, 1).expand(blocks, like.numel() // blocks)
            value = value.reshape(like.shape).to(like.device)
            value = distribute_tensor(value, like.device_mesh, like.placements)
        elif isinstance(value, Tensor) and isinstance(like, Tensor) and not by_label:
            value = value.reshape(like.shape) if value.numel() == like.numel() else value
        placed[name] = value
    return placed


def whole(path) -> dict:
    """Return the tensors of a divided checkpoint put together, on the CPU."""
    from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
    from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

    state: dict = {}
    reader, planner = dcp.FileSystemReader(path), _EmptyStateDictLoadPlanner()
    with quiet():
        _load_state_dict(state, storage_reader=reader, planner=planner, no_dist=True)
    return state


@contextlib.contextmanager
def quiet():
    """Leave out torch's remark that one process loads what many have written."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is")
        yield


def random(device) -> dict:
    """Return where this process is in its streams of random numbers."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def seed(state: dict, device) -> None:
    """Go on in streams of random numbers."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
