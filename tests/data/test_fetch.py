"""Downloads from a local server that answers well and badly, and data folders that cannot be."""

import contextlib
import errno
import gzip
import hashlib
import http.server
import itertools
import runpy
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock

from companion import data, files
from companion.data import fetch

KEY = "tinyshakespeare/input.txt"
CONTENT = "To be, or not to be, that is the question. ß\n".encode() * 4000  # more than one read
HALF = len(CONTENT) // 2
PACKED = gzip.compress(CONTENT)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Answers /MIRROR/… as `mirrors` says, and keeps what it was asked for."""

    daemon_threads = False

    def __init__(self):
        self.mirrors, self.log, self.over = {}, [], threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def use(self, monkeypatch, **mirrors):
        self.mirrors, self.log = mirrors, []
        urls = tuple(f"http://127.0.0.1:{self.server_port}/{name}/{{name}}" for name in mirrors)
        monkeypatch.setitem(data.MIRRORS, "tinyshakespeare", urls)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.split("/")[1]
        self.server.log.append(name)
        self.server.mirrors[name](self)

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def whole(content, **headers):
    return lambda handler: handler.answer(200, content, **headers)


def endless(handler):
    handler.answer(200, b"", Content_Length=None)
    with contextlib.suppress(OSError):  # the client hangs up
        while True:
            handler.wfile.write(CONTENT)


def silent(handler):
    handler.server.over.wait()


def moved(handler):
    if "there" in handler.path:
        handler.answer(200, CONTENT)
    else:
        handler.answer(302, b"", Location=f"/{handler.path.split('/')[1]}/there")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setitem(data.MD5, KEY, md5(CONTENT))
    monkeypatch.setitem(fetch.SIZES, KEY, len(CONTENT))
    monkeypatch.setattr(fetch, "TIMEOUT", 0.3)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def left(cache):
    """Names in the folder of the text, without the lock."""
    return sorted(p.name for p in (cache / "tinyshakespeare").iterdir() if p.suffix != ".lock")


def bits():
    text = data.text("tiny_shakespeare")
    return text.decode(text.ids).encode()


ANSWERS = {
    "as it is": whole(CONTENT),
    "without a length": whole(CONTENT, Content_Length=None),
    "with a senseless length": whole(CONTENT, Content_Length="many"),
    "in chunks": whole(
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(CONTENT), CONTENT),
        Content_Length=None,
        Transfer_Encoding="chunked",
    ),
    "packed": whole(PACKED),
    "from elsewhere": moved,
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_download_is_whole_and_happens_once(case, server, cache, monkeypatch):
    server.use(monkeypatch, a=ANSWERS[case], b=whole(CONTENT))
    for _ in range(2):
        assert bits() == CONTENT
        assert set(server.log) == {"a"}
        assert len(server.log) == (2 if case == "from elsewhere" else 1)
        assert left(cache) == ["input.txt"]


FAULTS = {  # what a mirror does, and what the error says of it
    "missing": (lambda handler: handler.answer(404, b"not here"), "HTTPError: HTTP Error 404"),
    "breaks off": (
        whole(CONTENT[:HALF], Content_Length=len(CONTENT)),
        f"closed after {HALF:,} of {len(CONTENT):,} bytes",
    ),
    "breaks a chunk off": (
        whole(b"ffff\r\nhalf", Content_Length=None, Transfer_Encoding="chunked"),
        "IncompleteRead",
    ),
    "one byte wrong": (
        whole(CONTENT[:-1] + b"?"),
        f"content has md5 .*, expected {md5(CONTENT)}; it is {len(CONTENT):,} bytes",
    ),
    "a page": (whole(b"<!DOCTYPE html><p>Gone</p>"), "26 bytes that start with b'<!DOCTYPE html>"),
    "nothing": (whole(b""), "0 bytes that start with b''"),
    "endless": (endless, "answers with more than the"),
    "announced to be endless": (whole(CONTENT, Content_Length=10**15), "answers with more than"),
    "one byte too long": (whole(CONTENT + b"\n"), f"holds more than {len(CONTENT):,} bytes"),
    "a bomb": (whole(gzip.compress(bytes(9 * len(CONTENT)))), "holds more than"),
    "half a gzip file": (whole(PACKED[:-9]), "expected a complete gzip file"),
    "silent": (silent, "timed out"),
    "no HTTP": (lambda handler: handler.wfile.write(b"hello\r\n\r\n"), "BadStatusLine"),
    "in a circle": (
        lambda handler: handler.answer(302, b"", Location=handler.path),
        "infinite loop",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_a_bad_mirror_sends_is_named_and_the_next_one_starts_afresh(
    case, server, cache, monkeypatch
):
    fault, message = FAULTS[case]
    server.use(monkeypatch, bad=fault)
    with pytest.raises(ConnectionError, match=message) as error:
        data.text("tiny_shakespeare")
    assert f"http://127.0.0.1:{server.server_port}/bad/input.txt\n" in str(error.value)
    assert left(cache) == []
    server.use(monkeypatch, bad=fault, good=whole(CONTENT))
    assert bits() == CONTENT
    assert list(dict.fromkeys(server.log)) == ["bad", "good"]
    assert left(cache) == ["input.txt"]


def test_a_mirror_that_drips_is_left(server, cache, monkeypatch):
    clock = SimpleNamespace(monotonic=itertools.count(0, 3600).__next__)  # an hour a look
    monkeypatch.setattr(fetch, "time", clock)
    server.use(monkeypatch, a=whole(CONTENT))
    with pytest.raises(ConnectionError, match=r"TimeoutError: .* too slow"):
        data.text("tiny_shakespeare")


@pytest.mark.parametrize("packing", [gzip.compress, bytes])
def test_a_bomb_in_the_cache_is_not_unpacked(packing, place, monkeypatch):
    path = place(KEY, packing(bytes(1 << 25)))
    monkeypatch.setitem(fetch.SIZES, KEY, 10_000)
    tracemalloc.start()
    with pytest.raises(ValueError, match="holds more than 10,000 bytes") as error:
        data.text("tiny_shakespeare")
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
    assert str(path) in str(error.value)
    assert path.exists()


def test_packed_files_stay_packed(server, cache, monkeypatch):
    key = "mnist/t10k-labels-idx1-ubyte.gz"
    monkeypatch.setitem(data.MD5, key, md5(b"labels"))
    address = f"http://127.0.0.1:{server.server_port}/mnist/{{name}}"
    monkeypatch.setitem(data.MIRRORS, "mnist", (address,))
    server.mirrors = {"mnist": whole(packed := gzip.compress(b"labels"))}
    assert fetch.load(key) == (b"labels", cache / key)
    assert (cache / key).read_bytes() == packed


def test_a_stop_while_writing_leaves_no_file(server, cache, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    server.use(monkeypatch, a=whole(CONTENT))
    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        data.text("tiny_shakespeare")
    assert left(cache) == []


def test_without_a_network_the_error_says_what_to_do(cache, monkeypatch):
    closed = data.MIRRORS["mnist"][0]
    monkeypatch.setitem(data.MIRRORS, "mnist", (closed, closed.replace("9/", "9/second/")))
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
    (cache / "tinyshakespeare").mkdir(parents=True)
    (cache / (KEY + ".lock")).touch()  # of a process that was killed
    together, texts = threading.Barrier(4), []

    def load():
        together.wait()
        texts.append(data.text("tiny_shakespeare"))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.log == ["a"]
    assert all(torch.equal(text.ids, texts[0].ids) for text in texts)
    assert len(texts) == 4


# The folder ---------------------------------------------------------------------------------------


def a_file(path, monkeypatch):
    path.write_text("")
    return path


def below_a_file(path, monkeypatch):
    return a_file(path, monkeypatch) / "below"


def a_link_to_nothing(path, monkeypatch):
    path.symlink_to(path.with_name("nothing"))
    return path


def not_ours(path, monkeypatch):
    if not Path("/proc/self").exists():
        pytest.skip("needs a folder where nobody may write")
    return Path("/proc/companion")


def another_users(path, monkeypatch):
    path.mkdir()

    def refuse(self, *arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", refuse)
    return path


def homeless(path, monkeypatch):
    return "~nobody of this name"


def full(path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", refuse)
    return path


def with_a_folder_for_the_file(path, monkeypatch):
    (path / KEY).mkdir(parents=True)
    return path


FOLDERS = {
    a_file: "exists|directory",
    below_a_file: "directory",
    a_link_to_nothing: "exists",
    not_ours: "companion",
    another_users: "denied",
    homeless: "home",
    full: "No space",
    with_a_folder_for_the_file: "directory",
}


@pytest.mark.parametrize("kind", FOLDERS, ids=lambda kind: kind.__name__)
def test_a_folder_that_cannot_be_used_is_named_with_the_remedy(kind, server, cache, monkeypatch):
    server.use(monkeypatch, a=whole(CONTENT), b=whole(CONTENT))
    folder = str(kind(cache, monkeypatch))
    monkeypatch.setenv("COMPANION_DATA", folder)
    with pytest.raises(OSError, match=FOLDERS[kind]) as error:
        data.text("tiny_shakespeare")
    assert not isinstance(error.value, ConnectionError)  # the mirrors are not to blame
    assert f"the data folder (COMPANION_DATA={folder}) cannot be used" in str(error.value)
    assert "Set the environment variable COMPANION_DATA to a folder that" in str(error.value)
    assert len(server.log) <= 1
    assert not list(cache.rglob("*.part"))


def test_a_cache_folder_that_cannot_be_used_is_named(cache, monkeypatch):
    monkeypatch.delenv("COMPANION_DATA")
    monkeypatch.setenv("COMPANION_CACHE", str(a_file(cache, monkeypatch)))
    with pytest.raises(NotADirectoryError, match=r"COMPANION_CACHE=.*variable COMPANION_DATA"):
        data.mnist()


def test_a_folder_that_another_process_holds_is_waited_for_not_forever(cache, monkeypatch):
    monkeypatch.setattr(fetch, "WAIT", 0.0)
    (cache / "tinyshakespeare").mkdir(parents=True)
    with (
        FileLock(cache / (KEY + ".lock")),
        pytest.raises(OSError, match=r"could not be acquired.*COMPANION_DATA"),
    ):
        data.text("tiny_shakespeare")


def test_a_folder_that_is_only_read_serves_what_it_has(place, monkeypatch):
    place(KEY, CONTENT, CONTENT)
    monkeypatch.setattr(Path, "mkdir", None)
    monkeypatch.setattr(files.os, "replace", None)
    assert bits() == CONTENT


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"COMPANION_DATA": "~/here", "COMPANION_CACHE": "/there"}, "~/here"),
        ({"COMPANION_CACHE": "/there"}, "/there/companion"),
    ],
)
def test_the_folder_is_chosen_by_the_environment(variables, folder, monkeypatch):
    monkeypatch.delenv("COMPANION_DATA")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert data.cache_dir() == Path(folder).expanduser()


def test_every_known_file_has_its_mirrors_over_https():
    mirrors = runpy.run_path(fetch.__file__)["MIRRORS"]  # as they are outside these tests
    assert {Path(key).parent.name for key in fetch.MD5} == set(mirrors)
    assert fetch.SIZES.keys() == fetch.MD5.keys()
    for urls in mirrors.values():
        assert len(urls) > 1
        assert all(url.startswith("https://") for url in urls)


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
