"""Files of data sets: where they come from, where they lie, and what they must hold."""

import gzip
import hashlib
import os
import sys
import zlib
from pathlib import Path

_GITHUB, _GOOGLE = "https://raw.githubusercontent.com", "https://storage.googleapis.com"
MIRRORS = {  # by folder in the cache
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/{name}",
        _GOOGLE + "/cvdf-datasets/mnist/{name}",
    ),
    "fashion_mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}",
        _GITHUB + "/zalandoresearch/fashion-mnist/master/data/fashion/{name}",
        _GOOGLE + "/tensorflow/tf-keras-datasets/{name}",
    ),
    "cifar10": (
        "https://www.cs.toronto.edu/~kriz/{name}",
        "https://cave.cs.toronto.edu/kriz/{name}",
        _GOOGLE + "/s4tf-hosted-binaries/datasets/CIFAR10/{name}",
    ),
    "tinyshakespeare": (
        _GITHUB + "/karpathy/char-rnn/master/data/tinyshakespeare/{name}",
        _GITHUB + "/dmlc/web-data/master/mxnet/tinyshakespeare/{name}",
        _GOOGLE + "/download.tensorflow.org/data/shakespeare.txt",
    ),
}
MD5 = {  # of the content: an IDX file's unpacked, as packing the same bytes again changes the .gz
    "mnist/train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "mnist/train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "mnist/t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "mnist/t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
    "fashion_mnist/train-images-idx3-ubyte.gz": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "fashion_mnist/train-labels-idx1-ubyte.gz": "9018921c3c673c538a1fc5bad174d6f9",
    "fashion_mnist/t10k-images-idx3-ubyte.gz": "8181f5470baa50b63fa0f6fddb340f0a",
    "fashion_mnist/t10k-labels-idx1-ubyte.gz": "15d484375f8d13e6eb1aabb0c3f46965",
    "cifar10/cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    "tinyshakespeare/input.txt": "6fb458f1232090904fb40fe944165e91",
}
TIMEOUT = 30.0  # seconds without a byte before a mirror counts as failed


def cache_dir() -> Path:
    """Folder of the downloads: $COMPANION_DATA, else `companion` in the platform's cache folder."""
    if folder := os.environ.get("COMPANION_DATA"):
        return Path(folder).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "companion"


def fetch(key: str) -> Path:
    """Path of the file `key` of MD5 in the cache, packed or not; downloaded if it is in neither."""
    path = cache_dir() / key
    unpacked = path.with_suffix("")
    if key.endswith("ubyte.gz") and unpacked.exists() and not path.exists():
        return unpacked
    return path if path.exists() else _download(path, key)


def _download(path: Path, key: str) -> Path:
    """Download to `.part`, check, rename: no interruption leaves half a file."""
    from http.client import HTTPException

    from filelock import FileLock  # torch depends on it; the lock dies with its process

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    folder, failures = path.parent.name, []
    with FileLock(path.with_name(path.name + ".lock")):
        if path.exists():  # another process downloaded it while this one waited
            return path
        for url in (mirror.format(name=path.name) for mirror in MIRRORS[folder]):
            try:
                _transfer(url, part)
                try:
                    check_md5(unpack(part), part, key)
                except ValueError as error:
                    part.unlink()
                    raise ValueError(f"{error}; deleted") from None
                os.replace(part, path)
                return path
            except (OSError, HTTPException, ValueError) as error:
                failures.append(f"  {url}\n    {type(error).__name__}: {error}\n")
    names = ", ".join(Path(name).name for name in MD5 if name.startswith(folder + "/"))
    raise ConnectionError(
        f"could not download {path.name}; each mirror failed:\n{''.join(failures)}"
        f"By hand: put {names} into {path.parent}, or set the environment variable COMPANION_DATA "
        f"to a folder that has {folder}/ with them.\n"
        'Without a download: digits() for images and text("pydoc") for text are embedded.'
    )


def _transfer(url: str, part: Path) -> None:
    """Fetch what `part` still lacks of `url`, or all of it from a server that cannot resume."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from companion.progress import bar

    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "companion"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # nothing beyond what we have: the checksum decides
            return
        raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        name = url.split("/")[-1]
        shown = bar(total, unit="B", initial=have, desc=name, unit_scale=True)
        with open(part, "ab" if resumed else "wb") as file, shown:
            while chunk := response.read(1 << 16):
                file.write(chunk)
                shown.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    if total is not None and (size := part.stat().st_size) != total:
        raise ConnectionError(f"connection closed after {size:,} of {total:,} bytes")


def unpack(path: Path) -> bytes:
    """Bytes of a file; of a gzip file that is no archive, whatever its name says, the unpacked."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b" and ".tar" not in path.name:
        try:
            return gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: expected a complete gzip file; {error}") from error
    return content


def check_md5(content: bytes, path: Path, key: str) -> None:
    """Raise ValueError unless the content of a file is the one that `MD5` states."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != MD5[key]:
        raise ValueError(f"{path}: content has md5 {found}, expected {MD5[key]}")
