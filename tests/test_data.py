"""companion.data: loaders on small and real files, downloads from a local server, batches."""

import gzip
import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import textwrap
import threading
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
import torch

from companion import data

REAL = Path(__file__).parents[2] / "shared" / "data"  # the real files, on machines that have them
CLOSED = "http://127.0.0.1:9/{name}"  # the discard port, where nothing answers
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 4, 5), dtype=np.uint8)
LABELS = (np.arange(30) % 10).astype(np.uint8)
KEYS = {"images": "mnist/t10k-images-idx3-ubyte.gz", "labels": "mnist/t10k-labels-idx1-ubyte.gz"}
PLAY = "To be, or not to be, that is the question. ß\n" * 40


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


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache; mirrors that nobody answers, and no proxy in between."""
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    for folder in data.MIRRORS:
        monkeypatch.setitem(data.MIRRORS, folder, (CLOSED,))
    return tmp_path / "cache"


@pytest.fixture
def place(cache, monkeypatch):
    """Write a file into the cache by hand, and its md5 into the table."""

    def write(key, content, digest_of=None, name=None):
        path = cache / (name or key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if digest_of is not None:
            monkeypatch.setitem(data.MD5, key, md5(digest_of))
        return path

    return write


@pytest.fixture
def small_mnist(place):
    """A test split of 30 images of 4×5 pixels: images packed, labels unpacked."""
    images, labels = idx(IMAGES), idx(LABELS)
    place(KEYS["images"], gzip.compress(images), images)
    place(KEYS["labels"], labels, labels, name=KEYS["labels"].removesuffix(".gz"))


# Loaders ------------------------------------------------------------------------------------------


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
    monkeypatch.setattr(data, "CIFAR10_BATCH", 4)
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
    monkeypatch.setattr(data, "CIFAR10_BATCH", 4)
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


# Text ---------------------------------------------------------------------------------------------


def test_pydoc_text_round_trips():
    python = data.text()
    assert len(python.ids) > 200_000
    assert python.ids.dtype == torch.int64
    assert python.vocab == sorted(set(python.vocab))
    whole = python.decode(python.ids)
    assert whole.startswith(topics[min(topics)])  # sorted, so that the text has one order
    assert "The *with* statement" in whole.replace('"with"', "*with*")
    assert torch.equal(python.encode(whole), python.ids)
    assert torch.equal(python.ids, data.text("pydoc").ids)
    assert torch.equal(torch.cat([python.train, python.val]), python.ids)
    assert len(python.val) == pytest.approx(len(python.ids) / 10, abs=1)


@pytest.mark.parametrize("packing", [bytes, gzip.compress])
def test_text_of_a_file(packing, tmp_path):
    path = tmp_path / "play"
    path.write_bytes(packing(PLAY.encode()))
    for name in (path, str(path)):
        play = data.text(name)
        assert play.decode(play.ids) == PLAY
        assert play.vocab == sorted(set(PLAY))


def test_tiny_shakespeare_is_checked(place):
    path = place("tinyshakespeare/input.txt", PLAY.encode(), PLAY.encode())
    assert data.text("tiny_shakespeare").vocab == sorted(set(PLAY))
    path.write_bytes(PLAY.encode() + b"!")
    with pytest.raises(ValueError, match=r"input\.txt: content has md5"):
        data.text("tiny_shakespeare")


def test_text_batches_are_windows_and_their_successors(tmp_path):
    (tmp_path / "numbers").write_text("".join(chr(0x4E00 + i) for i in range(1000)))
    numbers = data.text(tmp_path / "numbers")  # ids are 0, 1, …, 999
    for split, low, high in (("train", 0, 900), ("val", 900, 1000)):
        x, y = numbers.batch(4000, 7, torch.Generator().manual_seed(0), split)
        assert x.shape == y.shape == (4000, 7)
        assert torch.equal(y, x + 1)
        assert torch.equal(x, x[:, :1] + torch.arange(7))
        # The first and last starts are possible: 4,000 draws miss one with probability < 0.012
        # ((1 − 1/893)^4000), a statement about this seed.
        assert (x.min(), y.max()) == (low, high - 1)
        again, _ = numbers.batch(4000, 7, torch.Generator().manual_seed(0), split)
        assert torch.equal(x, again)
    x, y = numbers.windows(7)
    assert torch.equal(x.flatten(), torch.arange(900, 998))
    assert torch.equal(y, x + 1)
    assert numbers.windows(9).x.shape == (11, 9)
    assert numbers.windows(99).y[0, -1] == 999


def test_text_errors_name_argument_and_value(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "latin").write_bytes("naïve".encode("latin-1"))
    (tmp_path / "play").write_text(PLAY, encoding="utf-8")
    play = data.text(tmp_path / "play")
    cases = [
        (lambda: data.text("shakespeare"), "name: 'shakespeare' is not 'pydoc', 'tiny_shakes"),
        (lambda: data.text(tmp_path), "is not 'pydoc', 'tiny_shakespeare' or a file"),
        (lambda: data.text(tmp_path / "empty"), "empty: empty, expected text"),
        (lambda: data.text(tmp_path / "latin"), "latin: expected UTF-8 text; .* 0xef"),
        (lambda: play.encode("T€"), r"string: holds \['€'\]"),
        (lambda: play.batch(2, 8, split="test"), "split: 'test'; expected one of 'train', 'val'"),
        (lambda: play.batch(2, 0), "context: 0; train allows 1 to 1619"),
        (lambda: play.windows(180), "context: 180; val allows 1 to 179"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


# Batches ------------------------------------------------------------------------------------------

PAIR = data.Dataset(torch.arange(10.0).view(10, 1), torch.arange(10))


def test_reshuffled_epochs_visit_every_sample_once():
    batches = data.Batches(PAIR, 4, seed=1, epochs=3)
    epochs = [[next(batches) for _ in range(3)] for _ in range(3)]
    assert next(batches, None) is None
    assert (batches.epoch, batches.position, batches.steps_per_epoch) == (3, 0, 3)
    orders = [torch.cat([y for _, y in epoch]) for epoch in epochs]
    for epoch, order in zip(epochs, orders, strict=True):
        assert [len(y) for _, y in epoch] == [4, 4, 2]
        assert torch.equal(order.sort().values, PAIR.y)
        assert all(torch.equal(x[:, 0], y.float()) for x, y in epoch)
    assert not torch.equal(orders[0], orders[1])
    again, other = (data.Batches(PAIR.y, 10, seed=seed, epochs=1) for seed in (1, 2))
    assert torch.equal(next(again), orders[0])
    assert not torch.equal(next(other), orders[0])


def test_sequential_and_drop_last():
    kept = data.Batches(PAIR.y, 4, mode="sequential", epochs=2)
    assert [b.tolist() for b in kept] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] * 2
    dropped = data.Batches(PAIR.y, 4, mode="sequential", epochs=1, drop_last=True)
    assert [b.tolist() for b in dropped] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [len(b) for b in data.Batches(PAIR.y, 64, epochs=1)] == [10]
    assert [len(b) for b in data.Batches(PAIR.y, 5, epochs=1, drop_last=True)] == [5, 5]


def test_replacement_draws_independently_and_uniformly():
    batches = data.Batches(PAIR.y, 4, mode="replacement")
    draws = torch.stack([next(batches) for _ in range(5000)])  # full batches, across epochs
    assert draws.shape == (5000, 4)
    assert batches.epoch == 5000 // 3
    # Counts are binomial, and pairs (within a batch, across batches) hit one of 100 cells: each
    # bound is five standard deviations, which fails by chance with probability < 1e-3 in all.
    counts = draws.flatten().bincount(minlength=10)
    assert (counts - 2000).abs().max() < 5 * (20000 * 0.09) ** 0.5
    for first, second in ((draws[:, 0], draws[:, 1]), (draws[:-1, 3], draws[1:, 0])):
        pairs = (10 * first + second).bincount(minlength=100)
        assert (pairs - 50).abs().max() < 5 * (5000 * 0.01 * 0.99) ** 0.5


def test_batches_never_end_without_epochs():
    batches = data.Batches(PAIR.y, 10)
    assert len([next(batches) for _ in range(100)]) == 100
    assert iter(batches) is batches


@pytest.mark.parametrize("mode", ["reshuffle", "replacement", "sequential"])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7])
def test_resumed_batches_continue_bit_for_bit(mode, steps, tmp_path):
    batches = data.Batches(PAIR, 4, seed=3, mode=mode, epochs=4)
    for _ in range(steps):
        next(batches)
    torch.save(batches.state_dict(), tmp_path / "state.pt")
    rest = list(batches)
    resumed = data.Batches(PAIR, 4, seed=99, mode=mode, epochs=4)
    next(resumed)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.state_dict()["position"] == steps % 3
    again = data.Batches(PAIR, 4, mode=mode, epochs=4)
    again.load_state_dict(resumed.state_dict())  # a state saved before the first batch after it
    for stream in (list(resumed), list(again)):
        assert len(stream) == len(rest) == 12 - steps
        for (x, y), (x_rest, y_rest) in zip(stream, rest, strict=True):
            assert torch.equal(x, x_rest)
            assert torch.equal(y, y_rest)


def test_batches_errors_name_argument_and_value():
    y = PAIR.y
    cases = [
        (lambda: data.Batches((), 1), r"data: tensors of lengths \[\]"),
        (lambda: data.Batches(y[:0], 1), r"data: tensors of lengths \[0\]"),
        (lambda: data.Batches((y, y[1:]), 1), r"data: tensors of lengths \[10, 9\]"),
        (lambda: data.Batches((y, y.to("meta")), 1), r"data: tensors on \['cpu', 'meta'\]"),
        (lambda: data.Batches(y, 0), "batch_size: 0; expected an integer from 1 to inf"),
        (lambda: data.Batches(y, 2.5), "batch_size: 2.5"),
        (lambda: data.Batches(y, 11, drop_last=True), "batch_size: 11; .* from 1 to 10"),
        (lambda: data.Batches(y, 2, epochs=0), "epochs: 0"),
        (lambda: data.Batches(y, 2, mode="random"), "mode: 'random'; expected one of 'reshuffle'"),
        (
            lambda: data.Batches(y, 2).load_state_dict(data.Batches(y, 3).state_dict()),
            "state: batch_size is 3, these batches have 2",
        ),
        (lambda: data.Batches(y, 2).load_state_dict({}), "state: n is None"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


# Downloads ----------------------------------------------------------------------------------------

CONTENT = PLAY.encode() * 100  # 184 kB, more than one read


class Server(http.server.ThreadingHTTPServer):
    """Answers /MIRROR/… as `mirrors` says, and keeps what it was asked for."""

    daemon_threads = False

    def __init__(self):
        self.mirrors, self.log = {}, []
        super().__init__(("127.0.0.1", 0), Handler)

    def use(self, monkeypatch, **mirrors):
        self.mirrors = mirrors
        urls = tuple(f"http://127.0.0.1:{self.server_port}/{name}/{{name}}" for name in mirrors)
        monkeypatch.setitem(data.MIRRORS, "tinyshakespeare", urls)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.split("/")[1]
        self.server.log.append((name, self.headers["Range"]))
        self.server.mirrors[name](self)

    def answer(self, status, body, *, length=None):
        self.send_response(status)
        if length is not False:
            self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def whole(content):
    """A mirror that knows no Range."""
    return lambda handler: handler.answer(200, content)


def ranged(content):
    """A mirror that resumes."""

    def answer(handler):
        start = int((handler.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            handler.answer(416, b"")
        else:
            handler.answer(206 if start else 200, content[start:])

    return answer


def cut(content, at):
    """A mirror whose connection breaks after `at` bytes."""
    return lambda handler: handler.answer(200, content[:at], length=len(content))


def missing(handler):
    handler.answer(404, b"not here")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setitem(data.MD5, "tinyshakespeare/input.txt", md5(CONTENT))
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def files(cache):
    """Names in the folder of the text, without the lock."""
    return sorted(p.name for p in (cache / "tinyshakespeare").iterdir() if p.suffix != ".lock")


HALF = len(CONTENT) // 2
DOWNLOADS = {  # the mirrors, and the requests that must reach them
    "at once": ({"a": whole(CONTENT)}, [("a", None)]),
    "without a stated length": (
        {"a": lambda handler: handler.answer(200, CONTENT, length=False)},
        [("a", None)],
    ),
    "from the second mirror": (
        {"a": missing, "b": whole(CONTENT)},
        [("a", None), ("b", None)],
    ),
    "resumed where the first broke off": (
        {"a": cut(CONTENT, HALF), "b": ranged(CONTENT)},
        [("a", None), ("b", f"bytes={HALF}-")],
    ),
    "restarted where a mirror cannot resume": (
        {"a": cut(CONTENT, HALF), "b": whole(CONTENT)},
        [("a", None), ("b", f"bytes={HALF}-")],
    ),
    "afresh after wrong content": (
        {"a": whole(CONTENT[:-1] + b"?"), "b": ranged(CONTENT)},
        [("a", None), ("b", None)],
    ),
    "afresh after a resumed wrong beginning": (
        {"a": cut(b"?" + CONTENT[1:], HALF), "b": ranged(CONTENT), "c": ranged(CONTENT)},
        [("a", None), ("b", f"bytes={HALF}-"), ("c", None)],
    ),
}


@pytest.mark.parametrize("case", DOWNLOADS)
def test_download(case, server, cache, monkeypatch):
    mirrors, requests = DOWNLOADS[case]
    server.use(monkeypatch, **mirrors)
    text = data.text("tiny_shakespeare")
    assert text.decode(text.ids).encode() == CONTENT
    assert server.log == requests
    assert files(cache) == ["input.txt"]
    data.text("tiny_shakespeare")
    assert server.log == requests  # the second time, from the cache


def test_packed_files_download_and_unpack(server, cache, monkeypatch):
    contents = {"images": idx(IMAGES), "labels": idx(LABELS)}
    for name, key in KEYS.items():
        monkeypatch.setitem(data.MD5, key, md5(contents[name]))
    address = f"http://127.0.0.1:{server.server_port}/mnist/{{name}}"
    monkeypatch.setitem(data.MIRRORS, "mnist", (address,))

    def answer(handler):
        handler.answer(
            200, gzip.compress(contents["images" if "images" in handler.path else "labels"])
        )

    server.mirrors = {"mnist": answer}
    assert data.mnist("test").x.shape == (30, 1, 4, 5)
    assert all((cache / key).exists() for key in KEYS.values())


def test_an_interrupted_download_is_kept_and_resumed_by_the_next_call(server, cache, monkeypatch):
    server.use(monkeypatch, a=cut(CONTENT, HALF))
    with pytest.raises(ConnectionError, match=f"closed after {HALF:,} of {len(CONTENT):,} bytes"):
        data.text("tiny_shakespeare")
    assert files(cache) == ["input.txt.part"]
    server.use(monkeypatch, a=ranged(CONTENT))
    data.text("tiny_shakespeare")
    assert server.log == [("a", None), ("a", f"bytes={HALF}-")]
    assert files(cache) == ["input.txt"]


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"?"])
def test_a_whole_part_needs_no_more_bytes(part, server, cache, place, monkeypatch):
    place("tinyshakespeare/input.txt.part", part)
    server.use(monkeypatch, a=ranged(CONTENT), b=ranged(CONTENT))
    data.text("tiny_shakespeare")
    assert server.log[0] == ("a", f"bytes={len(part)}-")
    assert len(server.log) == (1 if part == CONTENT else 2)  # one byte too many: from the beginning
    assert (cache / "tinyshakespeare/input.txt").read_bytes() == CONTENT


def test_wrong_content_is_deleted_and_said_so(server, cache, monkeypatch):
    wrong = CONTENT[:-1] + b"?"
    server.use(monkeypatch, a=whole(wrong))
    message = f"part: content has md5 {md5(wrong)}, expected {md5(CONTENT)}; deleted"
    with pytest.raises(ConnectionError, match=message):
        data.text("tiny_shakespeare")
    assert files(cache) == []


def test_a_stop_while_writing_leaves_no_file_under_the_final_name(server, cache, monkeypatch):
    server.use(monkeypatch, a=whole(CONTENT))

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(data.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        data.text("tiny_shakespeare")
    assert files(cache) == ["input.txt.part"]


def test_without_a_network_the_error_says_what_to_do(cache, monkeypatch):
    monkeypatch.setitem(data.MIRRORS, "mnist", (CLOSED, CLOSED.replace("9/", "9/second/")))
    with pytest.raises(ConnectionError) as error:
        data.mnist()
    message = str(error.value)
    for part in (
        "could not download train-images-idx3-ubyte.gz",
        "http://127.0.0.1:9/train-images-idx3-ubyte.gz\n    URLError",
        "http://127.0.0.1:9/second/train-images-idx3-ubyte.gz\n    URLError",
        f"into {cache / 'mnist'}",
        *(Path(key).name for key in data.MD5 if key.startswith("mnist/")),
        "COMPANION_DATA",
        "digits()",
        'text("pydoc")',
    ):
        assert part in message
    with pytest.raises(ConnectionError, match=r"put cifar-10-binary.tar.gz into"):
        data.cifar10()


def test_simultaneous_downloads_share_one(server, cache, monkeypatch):
    server.use(monkeypatch, a=whole(CONTENT))
    together, texts = threading.Barrier(4), []

    def load():
        together.wait()
        texts.append(data.text("tiny_shakespeare"))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.log == [("a", None)]
    assert all(torch.equal(text.ids, texts[0].ids) for text in texts)
    assert len(texts) == 4


# The cache, the import, and the tables ------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"COMPANION_DATA": "~/here"}, "~/here"),
        ("linux", {}, "~/.cache/companion"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/companion"),
        ("darwin", {}, "~/Library/Caches/companion"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/companion"),
        ("win32", {}, "~/AppData/Local/companion"),
    ],
)
def test_cache_folder(platform, variables, folder, monkeypatch):
    for name in ("COMPANION_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(data.sys, "platform", platform)
    assert data.cache_dir() == Path(folder).expanduser()


def test_import_is_light():
    code = """
        import sys, torch
        before = set(sys.modules)
        import companion.data
        heavy = {"sklearn", "pandas", "requests", "pydoc_data", "urllib.request", "tqdm"}
        print((heavy - before) & set(sys.modules))
    """
    root = Path(data.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    assert run.stdout.strip() == "set()"


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


@needs("tinyshakespeare")
def test_real_tiny_shakespeare(cache):
    cache.mkdir()
    (cache / "tinyshakespeare").symlink_to(REAL / "tinyshakespeare")
    play = data.text("tiny_shakespeare")
    assert (len(play.ids), len(play.vocab)) == (1_115_394, 65)
    assert play.decode(play.train[:14]) == "First Citizen:"


@needs("cifar10/cifar10-jpeg.tar.xz")
def test_real_cifar10_images_in_the_binary_format(place, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr(data, "CIFAR10_BATCH", 20)
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
