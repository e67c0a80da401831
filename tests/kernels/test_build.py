"""Libraries are built once, kept, checked before they are loaded, and their failures explained."""

import functools
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from companion.kernels import build

SOURCE = 'extern "C" int answer() { return 42; }'
PLANTED = 'extern "C" int answer() { return 666; }'


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Start with an empty cache folder and a process that has built nothing."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("COMPANION_CACHE", str(folder))
    monkeypatch.delenv("CXX", raising=False)
    forget(monkeypatch)
    return folder


def forget(monkeypatch):
    """Be another process."""
    monkeypatch.setattr(build, "_outcome", functools.cache(build._outcome.__wrapped__))
    monkeypatch.setattr(build, "_unusable", {})


def answer():
    return build.compile_source(SOURCE).answer()


def compiler(path: Path, script: str) -> Path:
    """Write a compiler that counts its runs in a file beside it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\necho run >> "$0.runs"\n{script}\n')
    path.chmod(0o755)
    return path


def runs(path: Path) -> int:
    counted = Path(f"{path}.runs")
    return len(counted.read_text().split()) if counted.exists() else 0


def libraries(cache: Path) -> list:
    return sorted(cache.rglob("*.so"))


def test_a_library_is_built_once_and_nothing_is_left_beside_it(cache, monkeypatch, tmp_path):
    real = compiler(tmp_path / "c++", 'exec c++ "$@"')
    monkeypatch.setenv("CXX", str(real))
    for _ in range(3):
        assert answer() == 42
        forget(monkeypatch)
    assert runs(real) == 1
    (library,) = libraries(cache)
    assert [path for path in cache.rglob("*") if path.is_file()] == [library]
    assert stat.S_IMODE(library.parent.stat().st_mode) == 0o700


def truncate(library):
    os.truncate(library, library.stat().st_size // 2)


def empty(library):
    os.truncate(library, 0)


def flip(library):
    content = bytearray(library.read_bytes())
    content[-1] ^= 1
    library.write_bytes(content)


def replace_by_another(library):
    """As an attacker would who could not know the checksum, or an older version that had none."""
    text = library.parent / "planted.cpp"
    text.write_text(PLANTED)
    subprocess.run(["c++", "-shared", "-fPIC", text, "-o", library], check=True)


def link(library):
    """Lead to a file that is right, but where others may write."""
    target = library.parent.parent / library.name
    library.rename(target)
    replace_by_another(target)
    library.symlink_to(target)


@pytest.mark.parametrize(
    "damage", [truncate, empty, flip, replace_by_another, link], ids=lambda f: f.__name__
)
def test_what_is_damaged_or_planted_is_built_anew(cache, monkeypatch, damage):
    assert answer() == 42
    (library,) = libraries(cache)
    before = library.read_bytes()
    library.unlink()  # the file that this process has loaded must not change under it
    library.write_bytes(before)
    damage(library)
    forget(monkeypatch)
    assert answer() == 42
    assert library.read_bytes() == before
    assert not library.is_symlink()


def test_a_folder_that_has_the_name_of_a_library_does_not_matter(cache, monkeypatch):
    assert answer() == 42
    (library,) = libraries(cache)
    library.unlink()
    library.mkdir()
    forget(monkeypatch)
    assert answer() == 42


@pytest.mark.parametrize("what", ["folder", "library"])
def test_what_another_user_owns_is_not_loaded(cache, monkeypatch, what):
    """The content is another program under its right checksum: only the owner gives it away."""
    assert answer() == 42
    (library,) = libraries(cache)
    key = library.name.split("-")[0]
    replace_by_another(library)
    planted = library.rename(library.parent / build._name(key, library.read_bytes()))
    number = (library.parent if what == "folder" else planted).stat().st_ino
    real = build._ours
    monkeypatch.setattr(build, "_ours", lambda s: s.st_ino != number and real(s))
    forget(monkeypatch)
    assert answer() == 42
    assert (len(libraries(cache)) == 1) == (what == "folder")  # nothing is kept among others' files


def test_the_owner_is_this_user_or_root():
    mine = os.stat(__file__)
    fields = list(mine)
    for owner, expected in ((os.getuid(), True), (0, True), (os.getuid() + 1, False)):
        fields[stat.ST_UID] = owner
        assert build._ours(os.stat_result(fields)) is expected


def a_file(cache, monkeypatch):
    (cache / "companion").write_text("")


def a_loop(cache, monkeypatch):
    (cache / "companion").symlink_to(cache / "companion")


def open_to_all(cache, monkeypatch):
    cache.chmod(0o777)


def full(cache, monkeypatch):
    def refuse(path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(build, "replacing", refuse)


def without_execution(cache, monkeypatch):
    load = build.ctypes.CDLL

    def refuse(name):
        if str(cache) in name:
            raise OSError(f"{name}: failed to map segment from shared object")
        return load(name)

    monkeypatch.setattr(build.ctypes, "CDLL", refuse)


@pytest.mark.parametrize(
    "spoil", [a_file, a_loop, open_to_all, full, without_execution], ids=lambda f: f.__name__
)
def test_a_cache_that_cannot_be_used_is_done_without(cache, monkeypatch, spoil, tmp_path):
    real = compiler(tmp_path / "c++", 'exec c++ "$@"')
    monkeypatch.setenv("CXX", str(real))
    spoil(cache, monkeypatch)
    assert [answer() for _ in range(3)] == [42] * 3
    assert runs(real) == 1
    assert libraries(cache) == []


def test_a_folder_that_others_may_write_to_is_closed(cache, monkeypatch):
    folder = cache / "companion" / "kernels"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert answer() == 42
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(libraries(cache)) == 1


def test_the_cause_names_the_folders_where_neither_can_be_used(cache, monkeypatch):
    def refuse(name):
        raise OSError("wrong ELF class")

    monkeypatch.setattr(build.ctypes, "CDLL", refuse)
    with pytest.raises(build.Untranslatable, match=r"wrong ELF class.*temporary.*COMPANION_CACHE"):
        answer()


BROKEN = {
    "fails": ("echo no such luck >&2; exit 1", "no such luck", 3),
    "says nothing": ("exit 3", "ended with 3", 3),
    "writes nothing": ("exit 0", "without a library", 3),
    "speaks no UTF-8": (r"printf 'erreur \351\377\n'; exit 1", "erreur", 3),
    "asks": ("read answer; echo no answer; exit 1", "no answer", 3),
    "writes nonsense": (
        'for last; do :; done; echo nonsense > "$last"',
        "cannot be loaded.*for this machine",
        1,
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_compiler_that_fails_is_explained_and_remembered(cache, monkeypatch, tmp_path, how):
    script, message, count = BROKEN[how]
    path = compiler(tmp_path / "c++", script)
    monkeypatch.setenv("CXX", str(path))
    for _ in range(10):
        with pytest.raises(build.Untranslatable, match=message):
            answer()
    assert runs(path) == count
    assert libraries(cache) == []
    monkeypatch.delenv("CXX")
    assert answer() == 42  # another compiler is another question


def test_a_compiler_that_hangs_is_killed_with_its_children_and_not_asked_again(
    cache, monkeypatch, tmp_path
):
    path = compiler(tmp_path / "c++", 'sleep 1000 & echo $! > "$0.child"; wait')
    monkeypatch.setenv("CXX", str(path))
    monkeypatch.setattr(build, "TIMEOUT", 1)
    for source in (SOURCE, PLANTED):
        with pytest.raises(build.Untranslatable, match="took more than 1 s"):
            build.compile_source(source)
    assert runs(path) == 1
    child = Path(f"/proc/{Path(f'{path}.child').read_text().strip()}/cmdline")
    deadline = time.monotonic() + 60  # a killed process may take a moment to go
    while child.exists() and b"sleep" in child.read_bytes():
        assert time.monotonic() < deadline


@pytest.mark.parametrize("value", ["", "   ", "{path}", "'{path}' -O1", "{plain} -O1 -DX='a b'"])
def test_what_CXX_may_be(cache, monkeypatch, tmp_path, value):
    names = {
        "path": compiler(tmp_path / "a folder" / "c++", 'exec c++ "$@"'),
        "plain": compiler(tmp_path / "c++", 'exec c++ "$@"'),
    }
    monkeypatch.setenv("CXX", value.format(**names))
    assert answer() == 42
    assert sum(map(runs, names.values())) == ("{" in value)


@pytest.mark.parametrize("value", ["/nonexistent/c++", "c++ '", "/"])
def test_what_CXX_may_not_be(cache, monkeypatch, value):
    monkeypatch.setenv("CXX", value)
    with pytest.raises(build.Untranslatable, match="CXX"):
        answer()


def test_another_processor_has_a_library_of_its_own(cache, monkeypatch):
    assert answer() == 42
    forget(monkeypatch)
    monkeypatch.setattr(build, "_machine", lambda: "another")
    assert answer() == 42
    assert len(libraries(cache)) == 2


def test_processes_build_at_once(cache):
    script = (
        f"from companion.kernels import build; print(build.compile_source({SOURCE!r}).answer())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(2)
    ]
    assert [process.communicate()[0] for process in started] == [b"42\n"] * 2
    assert {path.suffix for path in cache.rglob("*") if path.is_file()} == {".so"}
