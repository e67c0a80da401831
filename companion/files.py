"""Files that are whole or absent, and the folder of what can be made again."""

import contextlib
import os
import secrets
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder(*parts: str) -> Path:
    """Return a folder of the cache: of ``COMPANION_CACHE``, or else of the user's cache folder.

    It is not made: what cannot be made or written to is the caller's to report.

    Parameters
    ----------
    *parts : str
        Folders below, such as ``"kernels"``.
    """
    base = os.environ.get("COMPANION_CACHE")
    root = Path(base).expanduser() / "companion" if base else user_cache_path("companion")
    return root.joinpath(*parts)


@contextlib.contextmanager
def replacing(path, mode: str = "wb"):
    """Open a file to write that takes the name ``path`` once the block has ended without an error.

    Readers see the old content or the new, never a part; so does whoever comes after a crash, since
    the content reaches the disk before the name. Two writers do not meet: each has its own file.

    Parameters
    ----------
    path : path
        Its folder is made where it is missing.
    mode : {"wb", "w"}
        Bytes, or text in UTF-8.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with replacing(Path(folder) / "a" / "b.txt", "w") as file:
    ...     _ = file.write("whole")
    >>> (Path(folder) / "a" / "b.txt").read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with open(part, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):  # the new name reaches the disk too
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
