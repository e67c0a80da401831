"""Data sets as tensors on a device, text as characters, and batches of both.

Nothing to download: `digits()` and `text("pydoc")`. The other data sets are downloaded once, with a
checksum, into `cache_dir()`; files placed there by hand are used as they are:

    mnist/, fashion_mnist/    train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz,
                              t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz; packed or not
    cifar10/                  cifar-10-binary.tar.gz, or cifar-10-batches-bin/*.bin
    tinyshakespeare/          input.txt

The image loaders share their arguments: `split`, "train" or "test"; `device`, None for the CPU;
`flatten`, True for x of shape (n, c·h·w); `normalize`, True to subtract each channel's mean and
divide by its standard deviation (`MEAN_STD`). They raise ValueError on an unknown split and on a
damaged file, and ConnectionError when a file is absent and no mirror answers.
"""

import gzip
import hashlib
import io
import math
import os
import sys
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# Mean and standard deviation of each channel over the training pixels, scaled to [0, 1].
MEAN_STD = {
    "digits": ((0.3054,), (0.3761,)),
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
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
CIFAR10_BATCH = 10_000  # images in one file of the binary version
TIMEOUT = 30.0  # seconds without a byte before a mirror counts as failed


class Dataset(NamedTuple):
    """Samples and labels: x is (n, c, h, w) or (n, c·h·w), float32; y is (n,), int64."""

    x: Tensor
    y: Tensor


def digits(split="train", *, device=None, flatten=False, normalize=False) -> Dataset:
    """Load scikit-learn's 8×8 digits, which need no download: 1,437 to train on, 360 to test.

    The split is scikit-learn's `train_test_split` with test_size=360, stratified by digit,
    random_state=0. Arguments and errors: see the module.

    Returns
    -------
    Dataset
        x of shape (n, 1, 8, 8), float32, the 17 grey levels scaled to [0, 1]; y in 0..9.

    References
    ----------
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (test part).

    Examples
    --------
    >>> x, y = digits("test", flatten=True)
    >>> x.shape, y.bincount().min().item()
    (torch.Size([360, 64]), 35)
    """
    _check_choice("split", split, ("train", "test"))
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(pixels, labels, test_size=360, stratify=labels, random_state=0)
    x, y = parts[split == "test" :: 2]
    x = x.reshape(-1, 1, 8, 8).astype(np.float32)
    return _dataset("digits", x, y, 16, device, flatten, normalize)


def mnist(split="train", *, device=None, flatten=False, normalize=False) -> Dataset:
    """Load MNIST: 60,000 handwritten digits to train on, 10,000 to test. 11 MB to download, once.

    Returns
    -------
    Dataset
        x of shape (n, 1, 28, 28), float32 in [0, 1] (188 MB for "train"); y in 0..9.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document
    recognition, Proc. IEEE 86 (1998).
    """
    return _idx_dataset("mnist", split, device, flatten, normalize)


def fashion_mnist(split="train", *, device=None, flatten=False, normalize=False) -> Dataset:
    """Load Fashion-MNIST: clothes in MNIST's format and sizes. 31 MB to download, once.

    Returns
    -------
    Dataset
        x of shape (n, 1, 28, 28), float32 in [0, 1] (188 MB for "train"); y in 0..9.

    References
    ----------
    H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, arXiv:1708.07747.
    """
    return _idx_dataset("fashion_mnist", split, device, flatten, normalize)


def cifar10(split="train", *, device=None, flatten=False, normalize=False) -> Dataset:
    """Load CIFAR-10: 50,000 colour images to train on, 10,000 to test. 170 MB to download, once.

    The archive is checked against its md5. Extracted batches (`cifar-10-batches-bin/*.bin`) come
    first where all that are needed exist; they are checked for their size and labels only, so that
    batches rewritten from another copy of the images are accepted.

    Returns
    -------
    Dataset
        x of shape (n, 3, 32, 32), float32 in [0, 1] (614 MB for "train"); y in 0..9.

    References
    ----------
    A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009 (binary version).
    """
    _check_choice("split", split, ("train", "test"))
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]
    folder = cache_dir() / "cifar10" / "cifar-10-batches-bin"
    paths = [folder / name for name in names]
    if all(path.exists() for path in paths):
        contents = [path.read_bytes() for path in paths]
    else:
        archive = _fetch("cifar10/cifar-10-binary.tar.gz")
        content = _unpack(archive)
        _check_md5(content, archive, "cifar10/cifar-10-binary.tar.gz")
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
            contents = [tar.extractfile(f"{folder.name}/{name}").read() for name in names]
    records = np.concatenate([_parse_cifar(*pair) for pair in zip(contents, paths, strict=True)])
    images = records[:, 1:].reshape(-1, 3, 32, 32)
    return _dataset("cifar10", images, records[:, 0], 255, device, flatten, normalize)


@dataclass(frozen=True, eq=False)
class Text:
    """A text as character numbers: `ids` is (n,), int64; `vocab[i]` is the character with number i.

    `train` is the first 90 % of `ids`, `val` the rest: views, on the same device.
    """

    ids: Tensor
    vocab: list[str]

    @property
    def train(self) -> Tensor:
        return self.ids[: len(self.ids) * 9 // 10]

    @property
    def val(self) -> Tensor:
        return self.ids[len(self.ids) * 9 // 10 :]

    def encode(self, string: str) -> Tensor:
        """Numbers of the characters, (len(string),), int64; ValueError on an unknown one."""
        number = {character: i for i, character in enumerate(self.vocab)}
        if unknown := set(string) - number.keys():
            raise ValueError(
                f"string: holds {sorted(unknown)}, not among the {len(number)} characters of vocab"
            )
        return torch.tensor([number[c] for c in string], dtype=torch.int64, device=self.ids.device)

    def decode(self, ids: Tensor) -> str:
        """Characters of a (n,) tensor of numbers: the inverse of `encode`."""
        return "".join(self.vocab[i] for i in ids.tolist())

    def batch(self, batch_size, context, generator=None, split="train") -> tuple[Tensor, Tensor]:
        """Random windows and the same windows one character later: x and y, both (B, T), int64.

        Starts are uniform and independent, drawn on the CPU from `generator` (None: torch's own),
        so that a seed gives the same batches on every device.
        """
        ids = self._split(split, context)
        start = torch.randint(len(ids) - context, (batch_size, 1), generator=generator)
        at = (start + torch.arange(context)).to(ids.device)  # (B, T)
        return ids[at], ids[at + 1]

    def windows(self, context, split="val") -> Dataset:
        """All windows that do not overlap, in order, for an exact loss: x and y, both (n, T)."""
        ids = self._split(split, context)
        n = (len(ids) - 1) // context
        return Dataset(*(ids[i : i + n * context].view(n, context) for i in (0, 1)))

    def _split(self, split, context) -> Tensor:
        _check_choice("split", split, ("train", "val"))
        ids = self.train if split == "train" else self.val
        if not 1 <= context < len(ids):
            raise ValueError(f"context: {context}; {split} allows 1 to {len(ids) - 1}")
        return ids


def text(name="pydoc", *, device=None) -> Text:
    """Load a text, one number a character; the vocabulary is its sorted characters.

    Parameters
    ----------
    name : str or path, default "pydoc"
        "pydoc": Python's own language reference, 0.5 million characters, which needs no download
        and differs between Python versions. "tiny_shakespeare": 1.1 million characters (Karpathy's
        char-rnn), 1 MB to download, once. Else the path of a UTF-8 text, gzipped or not.
    device : device or str, optional
        Where `ids` lives.

    Raises
    ------
    ValueError
        Neither a known name nor a file; a file that is empty, damaged, or not UTF-8.
    ConnectionError
        The text is absent and no mirror answers.

    Examples
    --------
    >>> python = text()
    >>> python.decode(python.encode("yield"))
    'yield'
    >>> x, y = python.batch(2, 8, torch.Generator().manual_seed(0))
    >>> x.shape, bool((x[:, 1:] == y[:, :-1]).all())
    (torch.Size([2, 8]), True)
    """
    if name == "pydoc":
        from pydoc_data.topics import topics

        string = "\n\n".join(topics[key] for key in sorted(topics))
    else:
        if name == "tiny_shakespeare":
            path = _fetch("tinyshakespeare/input.txt")
            content = _unpack(path)
            _check_md5(content, path, "tinyshakespeare/input.txt")
        elif (path := Path(name)).is_file():
            content = _unpack(path)
        else:
            raise ValueError(f"name: {str(name)!r} is not 'pydoc', 'tiny_shakespeare' or a file")
        try:
            string = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: expected UTF-8 text; {error}") from error
        if not string:
            raise ValueError(f"{path}: empty, expected text")
    empty = Text(torch.empty(0, dtype=torch.int64, device=device), sorted(set(string)))
    return Text(empty.encode(string), empty.vocab)


class Batches:
    """An iterator over batches of tensors, on their device, that can be saved and resumed.

    Sample numbers are drawn on the CPU, so that a seed gives the same batches on every device.

    Parameters
    ----------
    data : Tensor or tuple of Tensor
        Each (n, ...), on one device; a `Dataset` is such a tuple. A tensor gives tensors, a tuple
        gives tuples.
    batch_size : int
        Samples a batch.
    seed : int, default 0
        Seed of `generator`.
    mode : {"reshuffle", "replacement", "sequential"}
        "reshuffle": a new random order each epoch; an epoch visits each sample exactly once.
        "replacement": independent uniform draws; all batches have batch_size samples, and an epoch
        has as many batches as under "reshuffle". "sequential": in order.
    epochs : int, optional
        Stop after so many; None, the default, never stops.
    drop_last : bool, default False
        Leave out an epoch's last batch if it is smaller than the others.

    Attributes
    ----------
    epoch, position : int
        Epochs completed, and batches given since.
    steps_per_epoch : int
    generator : torch.Generator

    Raises
    ------
    ValueError
        Empty data, unequal lengths or devices, an unknown mode, no batch in an epoch.

    Examples
    --------
    >>> [batch.tolist() for batch in Batches(torch.arange(5), 2, mode="sequential", epochs=1)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self, data, batch_size, *, seed=0, mode="reshuffle", epochs=None, drop_last=False
    ) -> None:
        self.tensors = (data,) if isinstance(data, Tensor) else tuple(data)
        self._single = isinstance(data, Tensor)
        lengths = [len(tensor) for tensor in self.tensors]
        if not lengths or len(set(lengths)) > 1 or lengths[0] == 0:
            raise ValueError(f"data: tensors of lengths {lengths}; expected one length, at least 1")
        if len(devices := {str(tensor.device) for tensor in self.tensors}) > 1:
            raise ValueError(f"data: tensors on {sorted(devices)}; expected one device")
        _check_choice("mode", mode, ("reshuffle", "replacement", "sequential"))
        self.n, self.mode, self.drop_last = lengths[0], mode, bool(drop_last)
        most = self.n if drop_last else math.inf
        if not 1 <= batch_size <= most or batch_size != int(batch_size):
            raise ValueError(f"batch_size: {batch_size}; expected an integer from 1 to {most}")
        if epochs is not None and epochs < 1:
            raise ValueError(f"epochs: {epochs}; expected None (endless) or at least 1")
        self.batch_size, self.epochs = int(batch_size), epochs
        whole, rest = divmod(self.n, self.batch_size)
        self.steps_per_epoch = whole + (rest > 0 and not drop_last)
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = self.position = 0
        self._order = None  # sample numbers of this epoch, once drawn
        self._before = None  # the generator's state before it drew them

    def __iter__(self):
        return self

    def __next__(self):
        if self.epochs is not None and self.epoch >= self.epochs:
            raise StopIteration
        if self._order is None:
            self._before = self.generator.get_state()
            self._order = self._draw().to(self.tensors[0].device)
        start = self.position * self.batch_size
        index = self._order[start : start + self.batch_size]
        self.position += 1
        if self.position == self.steps_per_epoch:
            self.epoch, self.position, self._order = self.epoch + 1, 0, None
        batch = tuple(tensor[index] for tensor in self.tensors)
        return batch[0] if self._single else batch

    def _draw(self) -> Tensor:
        if self.mode == "reshuffle":
            return torch.randperm(self.n, generator=self.generator)
        if self.mode == "replacement":
            size = (self.steps_per_epoch * self.batch_size,)
            return torch.randint(self.n, size, generator=self.generator)
        return torch.arange(self.n)

    def _settings(self) -> dict:
        return {key: getattr(self, key) for key in ("n", "batch_size", "mode", "drop_last")}

    def state_dict(self) -> dict:
        """State from which `load_state_dict` continues the same batches, bit for bit."""
        state = self.generator.get_state() if self._order is None else self._before
        place = {"epoch": self.epoch, "position": self.position, "generator": state.clone()}
        return self._settings() | place

    def load_state_dict(self, state: dict) -> None:
        """Continue where `state_dict` was called; ValueError if the settings differ."""
        for key, value in self._settings().items():
            if state.get(key) != value:
                raise ValueError(
                    f"state: {key} is {state.get(key)!r}, these batches have {value!r}"
                )
        self.generator.set_state(state["generator"].cpu())
        self.epoch, self.position, self._order = state["epoch"], state["position"], None


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


def _fetch(key: str) -> Path:
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
                    _check_md5(_unpack(part), part, key)
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


def _unpack(path: Path) -> bytes:
    """Bytes of a file; of a gzip file that is no archive, whatever its name says, the unpacked."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b" and ".tar" not in path.name:
        try:
            return gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: expected a complete gzip file; {error}") from error
    return content


def _check_md5(content: bytes, path: Path, key: str) -> None:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != MD5[key]:
        raise ValueError(f"{path}: content has md5 {found}, expected {MD5[key]}")


def _idx_dataset(folder, split, device, flatten, normalize) -> Dataset:
    _check_choice("split", split, ("train", "test"))
    arrays = {}
    for part, ndim in (("images-idx3", 3), ("labels-idx1", 1)):
        key = f"{folder}/{'train' if split == 'train' else 't10k'}-{part}-ubyte.gz"
        path = _fetch(key)
        content = _unpack(path)
        arrays[ndim] = _parse_idx(content, path, ndim)
        if ndim == 1:
            _check_labels(arrays[1], path, len(arrays[3]))
        _check_md5(content, path, key)
    return _dataset(folder, arrays[3][:, None], arrays[1], 255, device, flatten, normalize)


def _parse_idx(content: bytes, path: Path, ndim: int) -> np.ndarray:
    """Array of an IDX file: bytes 0, 0, 8 (unsigned bytes), ndim; big-endian sizes; the values."""
    magic, start = bytes((0, 0, 8, ndim)), 4 + 4 * ndim
    if content[:4] != magic or len(content) < start:
        raise ValueError(
            f"{path}: {len(content):,} bytes that start with {content[:4].hex()!r}, "
            f"expected an IDX file of {ndim} dimensions, which starts with {magic.hex()!r}"
        )
    shape = tuple(np.frombuffer(content, ">u4", ndim, offset=4).tolist())
    if len(content) != (expected := start + math.prod(shape)):
        raise ValueError(
            f"{path}: {len(content):,} bytes, expected {expected:,} for the shape {shape} it states"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _parse_cifar(content: bytes, path: Path) -> np.ndarray:
    """Records of a CIFAR-10 batch, (images, 3073): the label, 1,024 red, green and blue pixels."""
    if len(content) != CIFAR10_BATCH * 3073:
        raise ValueError(f"{path}: {len(content):,} bytes, expected {CIFAR10_BATCH:,} × 3,073")
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    _check_labels(records[:, 0], path, CIFAR10_BATCH)
    return records


def _check_labels(labels: np.ndarray, path: Path, images: int) -> None:
    if len(labels) != images or not images or labels.max() > 9:
        largest = labels.max(initial=0)
        raise ValueError(
            f"{path}: {len(labels):,} labels, the largest {largest}; "
            f"expected {images:,} (one an image, at least one) from 0 to 9"
        )


def _dataset(name, pixels, labels, white, device, flatten, normalize) -> Dataset:
    """Tensors of (n, c, h, w) pixels in 0..white, scaled to [0, 1] on the device."""
    x = torch.tensor(pixels, device=device).to(torch.float32).div_(white)
    if normalize:
        mean, std = (torch.tensor(c, device=device).view(-1, 1, 1) for c in MEAN_STD[name])
        x = x.sub_(mean).div_(std)
    y = torch.tensor(labels, device=device).to(torch.int64)
    return Dataset(x.flatten(1) if flatten else x, y)


def _check_choice(argument: str, value, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{argument}: {value!r}; expected one of {', '.join(map(repr, allowed))}")
