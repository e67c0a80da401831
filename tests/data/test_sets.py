"""Images: small files in the real formats, damaged ones, and the real files."""

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from companion import data
from companion.data import sets

REAL = Path(__file__).parents[3] / "shared" / "data"  # the real files, on machines that have them
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 4, 5), dtype=np.uint8)
LABELS = (np.arange(30) % 10).astype(np.uint8)
KEYS = {"images": "mnist/t10k-images-idx3-ubyte.gz", "labels": "mnist/t10k-labels-idx1-ubyte.gz"}


def needs(name):
    return pytest.mark.skipif(not (REAL / name).exists(), reason=f"no shared/data/{name}")


def idx(array: np.ndarray) -> bytes:
    shape = np.array(array.shape, ">u4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + shape + array.tobytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def cifar(images: int, seed: int = 0) -> np.ndarray:
    records = np.random.default_rng(seed).integers(0, 256, (images, 3073), dtype=np.uint8)
    records[:, 0] %= 10
    return records


@pytest.fixture
def small_mnist(place):
    """A test split of 30 images of 4×5 pixels: images packed, labels unpacked."""
    images, labels = idx(IMAGES), idx(LABELS)
    place(KEYS["images"], gzip.compress(images), images)
    place(KEYS["labels"], labels, labels, name=KEYS["labels"].removesuffix(".gz"))


def test_digits_are_split_once_and_for_all():
    train, test = data.digits(), data.digits("test")
    assert train.x.shape == (1437, 1, 8, 8)
    assert test.x.shape == (360, 1, 8, 8)
    assert train.x.dtype == torch.float32
    assert train.y.dtype == torch.int64
    assert (train.x.min(), train.x.max()) == (0, 1)
    assert train.y.bincount().tolist() == [142, 146, 142, 146, 145, 145, 145, 143, 139, 144]
    assert test.y.bincount().tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    assert test.y[:10].tolist() == [7, 6, 3, 7, 7, 3, 2, 8, 9, 3]
    assert (torch.cat([train.x, test.x]) * 16).sum() == 561718  # the pixel sum of all 1,797 images


def test_flatten_normalize_and_device():
    x = data.digits().x
    assert torch.equal(data.digits(flatten=True).x, x.reshape(1437, 64))
    z = data.digits(normalize=True).x
    assert abs(z.mean()) < 1e-3
    assert abs(z.std() - 1) < 1e-3
    on_meta = data.digits(device="meta", normalize=True)
    assert (on_meta.x.device.type, on_meta.y.device.type) == ("meta", "meta")
    assert data.text(device="meta").ids.device.type == "meta"


@pytest.mark.parametrize("load", [data.mnist, data.fashion_mnist])
def test_idx_files_load_packed_and_unpacked(load, cache, small_mnist, monkeypatch):
    if load is data.fashion_mnist:
        os.rename(cache / "mnist", cache / "fashion_mnist")
        for key in KEYS.values():
            monkeypatch.setitem(data.MD5, key.replace("mnist", "fashion_mnist"), data.MD5[key])
    x, y = load("test")
    assert (x.shape, x.dtype, y.dtype) == ((30, 1, 4, 5), torch.float32, torch.int64)
    assert np.array_equal((x[:, 0] * 255).round().numpy(), IMAGES)
    assert np.array_equal(y.numpy(), LABELS)
    assert load("test", flatten=True).x.shape == (30, 20)


packed = gzip.compress(idx(IMAGES))
DAMAGED = {  # what stands in the file of images or labels, and what the error says of it
    "truncated gzip": ("images", packed[:-20], "expected a complete gzip file"),
    "corrupted gzip": ("images", packed[:60] + b"\xff" * 40 + packed[100:], "complete gzip file"),
    "gzip of a wrong checksum": ("images", packed[:-8] + bytes(8), "expected a complete gzip file"),
    "empty": ("images", b"", "0 bytes .* expected an IDX file of 3 dimensions"),
    "empty gzip": ("images", gzip.compress(b""), "0 bytes .* expected an IDX file"),
    "wrong magic": ("images", idx(LABELS), "'00000801', expected .* '00000803'"),
    "half a header": ("images", idx(IMAGES)[:10], "10 bytes"),
    "too short": ("images", idx(IMAGES)[:-1], r"615 bytes, expected 616 .* \(30, 4, 5\)"),
    "too long": ("images", idx(IMAGES) + b"\0", "617 bytes, expected 616"),
    "no images": ("images", idx(IMAGES[:0]), "30 labels"),
    "one image missing": ("images", idx(IMAGES[:-1]), "30 labels, .* expected 29"),
    "label out of range": ("labels", idx(LABELS + 1), "largest 10; .* from 0 to 9"),
    "one label missing": ("labels", idx(LABELS[:-1]), "29 labels, .* expected 30"),
    "one pixel changed": ("images", idx(IMAGES ^ 1), "has md5 .*, expected"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_idx_file_is_named_with_what_is_wrong(case, small_mnist, cache):
    which, content, message = DAMAGED[case]
    path = cache / KEYS[which]
    path.write_bytes(content)
    if case in ("no images", "one image missing"):
        data.MD5[KEYS["images"]] = md5(content)  # `place` has the table restored
        path = cache / KEYS["labels"].removesuffix(".gz")
    with pytest.raises(ValueError, match=message) as error:
        data.mnist("test")
    assert str(path) in str(error.value)
    assert path.exists()  # a file placed by hand is not ours to delete


def archive(names, records) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, block in zip(names, np.array_split(records, len(names)), strict=True):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = block.nbytes
            tar.addfile(info, io.BytesIO(block.tobytes()))
    return buffer.getvalue()


CIFAR_FILES = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]


@pytest.mark.parametrize("extracted", [False, True])
def test_cifar10_loads_from_the_archive_and_extracted(extracted, place, monkeypatch):
    monkeypatch.setattr(sets, "CIFAR10_BATCH", 4)
    records = cifar(24)
    if extracted:
        for name, block in zip(CIFAR_FILES, np.array_split(records, 6), strict=True):
            place(f"cifar10/cifar-10-batches-bin/{name}", block.tobytes())
    else:
        packed = archive(CIFAR_FILES, records)
        place("cifar10/cifar-10-binary.tar.gz", packed, packed)
    for split, rows in (("train", records[:20]), ("test", records[20:])):
        x, y = data.cifar10(split)
        assert x.shape == (len(rows), 3, 32, 32)
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert np.array_equal((x * 255).round().numpy().reshape(-1, 3072), rows[:, 1:])
        assert np.array_equal(y.numpy(), rows[:, 0])
    red = data.cifar10("test", normalize=True).x[:, 0]
    assert torch.allclose(red, (x[:, 0] - 0.4914) / 0.2470)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes, expected 4 × 3,073"),
        (cifar(4).tobytes()[:-1], "12,291 bytes, expected 4 × 3,073"),
        (np.full((4, 3073), 10, np.uint8).tobytes(), "largest 10; .* from 0 to 9"),
    ],
)
def test_a_damaged_cifar10_batch_is_named(content, message, place, monkeypatch):
    monkeypatch.setattr(sets, "CIFAR10_BATCH", 4)
    path = place("cifar10/cifar-10-batches-bin/test_batch.bin", content)
    with pytest.raises(ValueError, match=message) as error:
        data.cifar10("test")
    assert str(path) in str(error.value)


def test_another_cifar10_archive_is_refused(place):
    path = place("cifar10/cifar-10-binary.tar.gz", archive(CIFAR_FILES, cifar(24)))
    with pytest.raises(ValueError, match=r"has md5 .* expected c32a1d4ab5d03f1284b67883e8d87530"):
        data.cifar10("test")
    assert path.exists()


def test_an_empty_split_is_refused(small_mnist, place):
    for key, array in zip(KEYS.values(), (IMAGES[:0], LABELS[:0]), strict=True):
        place(key, idx(array), idx(array))
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte.gz: 0 labels.*at least one"):
        data.mnist("test")


@pytest.mark.parametrize("load", [data.digits, data.mnist, data.fashion_mnist, data.cifar10])
def test_unknown_split_is_named(load):
    with pytest.raises(ValueError, match="split: 'val'; expected one of 'train', 'test'"):
        load("val")


@needs("mnist")
@pytest.mark.parametrize(
    ("split", "counts"),
    [
        ("train", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("test", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
    ],
)
def test_real_mnist(split, counts, cache):
    cache.mkdir()
    (cache / "mnist").symlink_to(REAL / "mnist")
    x, y = data.mnist(split)  # the loader checks the md5
    assert x.shape == (sum(counts), 1, 28, 28)
    assert y.bincount().tolist() == counts
    if split == "train":
        (mean,), (std,) = data.MEAN_STD["mnist"]
        assert (x.mean().item(), x.std().item()) == pytest.approx((mean, std), abs=5e-5)


@needs("cifar10/cifar10-jpeg.tar.xz")
def test_real_cifar10_images_in_the_binary_format(place, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr(sets, "CIFAR10_BATCH", 20)
    pixels = {0: [], 1: []}  # the first ten airplanes and automobiles: a full pass takes too long
    with tarfile.open(REAL / "cifar10" / "cifar10-jpeg.tar.xz") as tar:
        for member in tar:
            label = 1 if "automobile" in member.name else 0
            if member.name.endswith(".jpg") and len(pixels[label]) < 10:
                jpeg = io.BytesIO(tar.extractfile(member).read())
                pixels[label].append(np.asarray(image.open(jpeg).convert("RGB")))
            if len(pixels[1]) == 10:
                break
    rows = [(label, rgb) for label in (0, 1) for rgb in pixels[label]]
    batch = b"".join(bytes([label]) + rgb.transpose(2, 0, 1).tobytes() for label, rgb in rows)
    place("cifar10/cifar-10-batches-bin/test_batch.bin", batch)
    x, y = data.cifar10("test")
    assert y.tolist() == [label for label, _ in rows]
    for sample, (_, rgb) in zip(x, rows, strict=True):
        assert np.array_equal((sample * 255).round().permute(1, 2, 0).numpy(), rgb)
