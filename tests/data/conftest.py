"""An empty cache for every test, and mirrors that nobody answers."""

import hashlib

import pytest

from companion import data

CLOSED = "http://127.0.0.1:9/{name}"  # the discard port, where nothing answers


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache; mirrors that nobody answers, and no proxy in between."""
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path / "cäche of data"))
    monkeypatch.setenv("no_proxy", "*")
    for folder in data.MIRRORS:
        monkeypatch.setitem(data.MIRRORS, folder, (CLOSED,))
    return tmp_path / "cäche of data"


@pytest.fixture
def place(cache, monkeypatch):
    """Write a file into the cache by hand, and its md5 into the table."""

    def write(key, content, digest_of=None, name=None):
        path = cache / (name or key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if digest_of is not None:
            monkeypatch.setitem(data.MD5, key, hashlib.md5(digest_of).hexdigest())
        return path

    return write
