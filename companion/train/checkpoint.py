"""Checkpoints: whole or absent, readable without running anything, and of one run only."""

import contextlib
import errno
import io
import pickle
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torch.utils._pytree import tree_map_only

from companion.files import replacing
from companion.train.identity import digest

FORMAT = 2  # of the file


@contextlib.contextmanager
def owned(path):
    """Keep a path, or None, for one run inside; ``ValueError`` where another one has it."""
    if path is None:
        yield None
        return
    path = Path(path).expanduser().resolve()  # the file that a link names, not the link
    if path.is_dir():
        raise ValueError(f"checkpoint: expected the path of a file, {path} is a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"checkpoint: {path} is in use by another run; wait for it, or use another path"
        ) from None
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):  # Windows does not let go of an open file
            Path(lock.lock_file).unlink()
        lock.release()


def readable(content: dict) -> dict:
    """Return the content with Python's numbers for NumPy's; raise if `read` would refuse it.

    Cost: that of pickling everything but the elements of the tensors.
    """
    content = {
        name: part if name == "model" else tree_map_only(np.generic, lambda z: z.item(), part)
        for name, part in content.items()
    }
    for name, part in content.items():
        buffer = io.BytesIO()
        try:
            torch.save(tree_map_only(Tensor, lambda z: z.new_empty(0), part), buffer)
            buffer.seek(0)
            torch.load(buffer, weights_only=True)
        except (pickle.PickleError, AttributeError, TypeError, RuntimeError) as error:
            reason = str(error).partition("\n")[0][:200]
            groups = part.get("param_groups", []) if isinstance(part, dict) else []
            found = [f"{k}={v!r}" for group in groups for k, v in group.items() if callable(v)]
            raise ValueError(
                f"checkpoint: the state of the {name} could be written and not read back"
                f" ({', '.join(found) or reason}); leave out checkpoint, or what is no number,"
                " string or tensor"
            ) from error
    return content


def write(path: Path, content: dict) -> None:
    """Write a run to a file, which then holds all of it or what it held before."""
    content = readable(content)
    content = {"format": FORMAT, "sha256": digest(content), **content}
    try:
        with replacing(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        # torch's own error on a full disk hides the system's.
        cause = error if isinstance(error, OSError) else error.__context__
        raise OSError(
            getattr(cause, "errno", None) or errno.EIO,
            f"checkpoint: step {content['step']} could not be written, and the file is as it was"
            f" ({getattr(cause, 'strerror', None) or error})",
            str(path),
        ) from error


def read(path: Path) -> dict:
    """Return the content of a checkpoint; ``ValueError`` naming the file unless it is whole."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        form = content.pop("format")
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file can make the reader raise anything
        raise _damaged(path, error) from error
    if type(form) is int and form != FORMAT and form > 0:
        age = "a newer version; update the package" if form > FORMAT else "an older version"
        raise ValueError(
            f"checkpoint: {path} is of format {form}, written by {age}, and this one reads format"
            f" {FORMAT}; resume it there, or use another path"
        )
    if content.pop("sha256", None) != digest(content):
        raise _damaged(path, "its content does not fit its checksum")
    return content


def _damaged(path, reason) -> ValueError:
    reason = str(reason).partition("\n")[0][:200]
    return ValueError(
        f"checkpoint: {path} is damaged or no checkpoint ({reason}); delete it to start anew"
    )


def compare(path: Path, then: dict, now: dict) -> None:
    """Raise ``ValueError`` unless two runs are the same, naming what differs."""
    for name in {**now, **then}:
        a, b = then.get(name), now.get(name)
        if a != b:
            if isinstance(a, dict) and isinstance(b, dict):  # show what differs, not everything
                keys = [k for k in {**a, **b} if k not in a or k not in b or a[k] != b[k]][:3]
                a, b = ({k: d[k] for k in keys if k in d} for d in (a, b))
            raise ValueError(
                f"checkpoint: {path} is of another run: {name} was {a!r} and is {b!r}; "
                "use the settings it was made with, or another path"
            )
