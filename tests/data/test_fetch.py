import gzip
import hashlib
import http.server
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import torch

from companion import data
from companion.data import fetch

CLOSED = "http://127.0.0.1:9/{name}"  # the discard port, where nothing answers
PLAY = "To be, or not to be, that is the question. ß\n" * 40


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


KEYS = {"images": "mnist/t10k-images-idx3-ubyte.gz", "labels": "mnist/t10k-labels-idx1-ubyte.gz"}
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
    contents = {"images": b"images" * 99, "labels": b"labels" * 9}
    for name, key in KEYS.items():
        monkeypatch.setitem(data.MD5, key, md5(contents[name]))
    address = f"http://127.0.0.1:{server.server_port}/mnist/{{name}}"
    monkeypatch.setitem(data.MIRRORS, "mnist", (address,))

    def answer(handler):
        handler.answer(
            200, gzip.compress(contents["images" if "images" in handler.path else "labels"])
        )

    server.mirrors = {"mnist": answer}
    for name, key in KEYS.items():
        assert fetch.unpack(fetch.fetch(key)) == contents[name]
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

    monkeypatch.setattr(fetch.os, "fsync", interrupt)
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
    monkeypatch.setattr(fetch.sys, "platform", platform)
    assert data.cache_dir() == Path(folder).expanduser()


def test_import_is_light():
    code = """
        import sys, torch
        before = set(sys.modules)
        import companion.data
        heavy = {"sklearn", "pandas", "requests", "pydoc_data", "urllib.request", "tqdm"}
        print((heavy - before) & set(sys.modules))
    """
    root = Path(data.__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    assert run.stdout.strip() == "set()"
