"""Images and their labels as tensors."""

import io
import math
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from companion.arguments import one_of
from companion.data.fetch import cache_dir, check_md5, folder_errors, load, read

# Mean and standard deviation of each channel over the training pixels, scaled to [0, 1].
MEAN_STD = {
    "digits": ((0.3054,), (0.3761,)),
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
CIFAR10_BATCH = 10_000  # images in one file of the binary version


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
    one_of("split", split, ("train", "test"))
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
    one_of("split", split, ("train", "test"))
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]
    folder = cache_dir() / "cifar10" / "cifar-10-batches-bin"
    paths, limit = [folder / name for name in names], CIFAR10_BATCH * 3073
    with folder_errors():
        if all(path.is_file() for path in paths):
            contents = [read(path, limit) for path in paths]
        else:
            packed, archive = load(key := "cifar10/cifar-10-binary.tar.gz")
            check_md5(packed, archive, key)
            with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
                members = [tar.extractfile(f"{folder.name}/{name}") for name in names]
                contents = [member.read(limit + 1) for member in members]
    records = np.concatenate([_parse_cifar(*pair) for pair in zip(contents, paths, strict=True)])
    images = records[:, 1:].reshape(-1, 3, 32, 32)
    return _dataset("cifar10", images, records[:, 0], 255, device, flatten, normalize)


def _idx_dataset(folder, split, device, flatten, normalize) -> Dataset:
    one_of("split", split, ("train", "test"))
    arrays = {}
    for part, ndim in (("images-idx3", 3), ("labels-idx1", 1)):
        key = f"{folder}/{'train' if split == 'train' else 't10k'}-{part}-ubyte.gz"
        with folder_errors():
            content, path = load(key)
        arrays[ndim] = _parse_idx(content, path, ndim)
        if ndim == 1:
            _check_labels(arrays[1], path, len(arrays[3]))
        check_md5(content, path, key)
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
