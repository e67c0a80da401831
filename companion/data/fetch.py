"""Files of data sets: where they come from, where they lie, and what they must hold.

A download is read into memory, never more of it than the file can have, checked, and written under
its name only then: neither a broken connection nor a wrong answer leaves anything behind, and no
mirror goes on where another broke off.
"""

import contextlib
import gzip
import hashlib
import io
import os
import time
import zlib
from http.client import HTTPException
from pathlib import Path

from companion.files import cache_folder, replacing

_GITHUB, _GOOGLE = "https://raw.githubusercontent.com", "https://storage.googleapis.com"
MIRRORS = {  # by folder in the cache
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/{name}",
        _GOOGLE + "/cvdf-datasets/mnist/{name}",
    ),
    "fashion_mnist": (
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
# Bytes and md5 of the content: of an IDX file unpacked, as packing it again changes the .gz.
FILES = (
    ("mnist/train-images-idx3-ubyte.gz", 47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    ("mnist/train-labels-idx1-ubyte.gz", 60_008, "a25bea736e30d166cdddb491f175f624"),
    ("mnist/t10k-images-idx3-ubyte.gz", 7_840_016, "2646ac647ad5339dbf082846283269ea"),
    ("mnist/t10k-labels-idx1-ubyte.gz", 10_008, "27ae3e4e09519cfbb04c329615203637"),
    ("fashion_mnist/train-images-idx3-ubyte.gz", 47_040_016, "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    ("fashion_mnist/train-labels-idx1-ubyte.gz", 60_008, "9018921c3c673c538a1fc5bad174d6f9"),
    ("fashion_mnist/t10k-images-idx3-ubyte.gz", 7_840_016, "8181f5470baa50b63fa0f6fddb340f0a"),
    ("fashion_mnist/t10k-labels-idx1-ubyte.gz", 10_008, "15d484375f8d13e6eb1aabb0c3f46965"),
    ("cifar10/cifar-10-binary.tar.gz", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530"),
    ("tinyshakespeare/input.txt", 1_115_394, "6fb458f1232090904fb40fe944165e91"),
)
SIZES = {key: size for key, size, _ in FILES}
MD5 = {key: digest for key, _, digest in FILES}
TIMEOUT = 30.0  # seconds without a byte before a mirror counts as failed
SLOWEST = 1000  # bytes a second, from TIMEOUT on, below which it counts as failed too
WAIT = 3600.0  # seconds for another process to end its download


def cache_dir() -> Path:
    """Folder of the downloads: $COMPANION_DATA, else the cache folder of the package."""
    folder = os.environ.get("COMPANION_DATA")
    return Path(folder).expanduser() if folder else cache_folder()


@contextlib.contextmanager
def folder_errors():
    """Say of what goes wrong with the data folder where it comes from and how to have another."""
    try:
        yield
    except ConnectionError:
        raise
    except (OSError, RuntimeError) as error:  # RuntimeError: no home, a file system without locks
        names = [name for name in ("COMPANION_DATA", "COMPANION_CACHE") if os.environ.get(name)]
        source = f"{names[0]}={os.environ[names[0]]}" if names else "the user's cache folder"
        message = (
            f"the data folder ({source}) cannot be used: {error}. Set the environment variable "
            "COMPANION_DATA to a folder that you may read and write, with room for the data"
        )
        code = getattr(error, "errno", None)
        raise (OSError(code, message) if code else OSError(message)) from error


def load(key: str) -> tuple[bytes, Path]:
    """Content of the file `key` of `MD5`, unpacked but not yet checked, and where it lies.

    It is looked for in the data folder, packed or not, and downloaded if it is in neither form.
    """
    from filelock import FileLock  # torch depends on it; the lock dies with its process

    path = cache_dir() / key
    unpacked = path.with_suffix("")
    if key.endswith("ubyte.gz") and unpacked.is_file() and not path.is_file():
        path = unpacked
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock"), timeout=WAIT):
            if not path.is_file():  # else another process downloaded it while this one waited
                content = _download(key)
                with replacing(path) as file:
                    file.write(content)
    return read(path, SIZES[key]), path


def read(path: Path, limit: int) -> bytes:
    """Content of a file, unpacked, of at most `limit` bytes; ValueError if it holds more."""
    with open(path, "rb") as file:
        return _unpack(file.read(_packed(limit) + 1), path, limit)


def check_md5(content: bytes, where, key: str) -> None:
    """Raise ValueError unless the content of a file is the one that `MD5` states."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != MD5[key]:
        raise ValueError(
            f"{where}: content has md5 {found}, expected {MD5[key]}; "
            f"it is {len(content):,} bytes that start with {content[:16]!r}"
        )


def _download(key: str) -> bytes:
    """Body of the first mirror's answer that holds the content of the file `key`."""
    folder, name = key.split("/")
    failures = []
    for url in (mirror.format(name=name) for mirror in MIRRORS[folder]):
        try:
            body = _transfer(url, _packed(SIZES[key]))
            check_md5(_unpack(body, name, SIZES[key]), name, key)
            return body
        except (OSError, HTTPException, ValueError) as error:
            failures.append(f"  {url}\n    {type(error).__name__}: {error}\n")
    names = ", ".join(Path(key).name for key in MD5 if key.startswith(folder + "/"))
    raise ConnectionError(
        f"could not download {name}; each mirror failed:\n{''.join(failures)}"
        f"By hand: put {names} into {cache_dir() / folder}, or set the environment variable "
        f"COMPANION_DATA to a folder that has {folder}/ with them.\n"
        'Without a download: digits() for images and text("pydoc") for text are embedded.'
    )


def _transfer(url: str, limit: int) -> bytes:
    """Body of the answer to a request, of at most `limit` bytes."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from companion.progress import bar

    start, body = time.monotonic(), bytearray()
    try:
        response = urlopen(Request(url, headers={"User-Agent": "companion"}), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        raise
    total, name = response.length, url.split("/")[-1]
    with response, bar(total, unit="B", desc=name, unit_scale=True) as shown:
        while len(body) != total and (chunk := response.read1(1 << 16)):
            body += chunk
            shown.update(len(chunk))
            if max(len(body), total or 0) > limit:
                raise ValueError(f"answers with more than the {limit:,} bytes it can have")
            if time.monotonic() - start > TIMEOUT + len(body) / SLOWEST:
                raise TimeoutError(f"{len(body):,} bytes in {TIMEOUT:g} seconds and more: too slow")
    if total is not None and len(body) != total:
        raise ConnectionError(f"connection closed after {len(body):,} of {total:,} bytes")
    return bytes(body)


def _packed(size: int) -> int:
    """Bytes beyond which no gzip file of so much content goes."""
    return size + size // 1000 + 1024


def _unpack(content: bytes, where, limit: int) -> bytes:
    """Unpack a gzip file that is no archive, whatever its name says; leave others as they are."""
    if content[:2] == b"\x1f\x8b" and ".tar" not in Path(where).name:
        try:
            with gzip.open(io.BytesIO(content)) as file:
                content = file.read(limit + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{where}: expected a complete gzip file; {error}") from error
    if len(content) > limit:
        raise ValueError(f"{where}: holds more than {limit:,} bytes")
    return content
