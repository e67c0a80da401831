"""Chapters run in parallel, once, and again only when something that they depend on has changed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tools import execution, kernels

ROOT = execution.ROOT
pytestmark = pytest.mark.elsewhere  # in tools
NOTHING = ("ipykernel.kernelapp",)  # that these chapters would need
# Builds the book in ``root`` on two cores. SIGINT: a parent may ignore it.
START = (
    "import pathlib, signal, sys; from tools import execution as e, kernels; "
    f"kernels.IMPORTED = {NOTHING}; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "e.ROOT = pathlib.Path({root!r}); e.CELLS = e.ROOT / '_build' / 'cells'; "
    "e.os.sched_getaffinity = lambda _: {{0, 1}}; sys.exit(e.main())"
)
HEADER = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3}
---
"""


def soon(happens, seconds=60):
    """Wait until something happens; whether it has."""
    end = time.monotonic() + seconds
    while not (happened := happens()) and time.monotonic() < end:
        time.sleep(0.1)
    return bool(happened)


def cell(code):
    return f"\n```{{code-cell}}\n{code}\n```\n"


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of two chapters, each with a module of its own; returns what runs it."""
    (tmp_path / "_config.yml").write_text("execute: {timeout: 60}\n")
    (tmp_path / "_toc.yml").write_text(
        "root: index\nparts:\n- chapters:\n  - file: a\n  - file: b\n"
    )
    (tmp_path / "index.md").write_text("# Welcome\n")
    package = tmp_path / "companion"
    package.mkdir()
    for name, code in {"__init__": "", "one": "from . import deep", "deep": "", "two": ""}.items():
        (package / f"{name}.py").write_text(code)
    (tmp_path / "a.md").write_text(HEADER + cell("def f():\n    from companion import one"))
    (tmp_path / "b.md").write_text(HEADER + cell("import companion.two\nprint(2)"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(kernels, "IMPORTED", NOTHING)
    monkeypatch.setattr(execution, "ROOT", tmp_path)
    monkeypatch.setattr(execution, "CELLS", tmp_path / "_build" / "cells")

    def todo():
        store = execution.get_cache(str(execution.CELLS / execution.SCALE))
        return sorted(execution.stale(store, execution.chapters()))

    return tmp_path, todo


def test_chapters_run_once_and_their_outputs_are_kept(book, capfd):
    _, todo = book
    (execution.CELLS / "0123456789abcdef").mkdir(parents=True)
    assert execution.main() == 0
    assert not (execution.CELLS / "0123456789abcdef").exists()
    out, err = capfd.readouterr()
    assert "2 chapters to run" in out
    assert "TCP" not in out + err
    assert todo() == []
    assert execution.main() == 0
    assert capfd.readouterr().out == ""


def test_only_what_a_chapter_imports_makes_it_run_again(book):
    root, todo = book
    execution.main()
    (root / "companion" / "unused.py").write_text("x = 1")
    assert todo() == []
    (root / "companion" / "deep.py").write_text("x = 1")  # a → one → deep, in a function
    assert todo() == ["a"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("companion/two.py", "x = 1", ["b"]),
        ("companion/__init__.py", "x = 1", ["a", "b"]),
        ("companion/data.csv", "1", ["a", "b"]),
        ("a.md", HEADER + cell("2"), ["a"]),
        ("a.md", HEADER + "Prose." + cell("def f():\n    from companion import one"), []),
    ],
)
def test_what_makes_chapters_run_again(book, name, text, expected):
    root, todo = book
    execution.main()
    (root / name).write_text(text)
    assert todo() == expected


def test_the_key_does_not_depend_on_what_this_process_has_imported(tmp_path, monkeypatch):
    before = execution.environment.__wrapped__()
    assert b"jupyter-book==" in before
    package = tmp_path / "vendored-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: vendored\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert execution.environment.__wrapped__() == before


def test_a_module_that_loads_others_by_name_depends_on_all(book):
    root, todo = book
    (root / "companion" / "two.py").write_text("import pkgutil")
    execution.main()
    (root / "companion" / "deep.py").write_text("x = 1")
    assert todo() == ["a", "b"]


def test_a_chapter_that_fails_is_shown_and_the_others_are_kept(book, capsys):
    root, todo = book
    (root / "a.md").write_text(HEADER + cell("x = 1") + "\nText.\n" + cell("x = 1\n1 / 0"))
    assert execution.main() == 1
    out, err = capsys.readouterr()
    assert "a.md:12: cell 3 failed" in out
    assert "1 / 0" in out
    assert "ZeroDivisionError" in out
    assert "1 of 2 chapters failed" in err
    assert todo() == ["a"]


def test_a_kernel_that_dies_is_a_failure(book, capsys):
    root, todo = book
    (root / "a.md").write_text(HEADER + cell("import os\nos._exit(1)"))
    assert execution.main() == 1
    assert "a.md:6: cell 1 failed" in capsys.readouterr().out
    assert todo() == ["a"]


def test_a_damaged_cache_is_begun_anew(book, capsys):
    _, todo = book
    execution.main()
    next((execution.CELLS / execution.SCALE).glob("*.db")).write_text("nonsense")
    assert execution.main() == 0
    assert "starting a new one" in capsys.readouterr().out
    assert todo() == []


def test_a_build_that_is_stopped_keeps_what_has_finished(book):
    root, todo = book
    (root / "a.md").write_text(
        HEADER + "Running time: about 9 seconds\n" + cell("import time\ntime.sleep(600)")
    )
    command = [sys.executable, "-u", "-c", START.format(root=str(root))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as run:
        assert "2 chapters" in run.stdout.readline()
        done = run.stdout.readline()
        assert "b: " in done
        assert "FAILED" not in done
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=300) == 130
    assert todo() == ["a"]


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
def test_kernels_are_forks_that_share_nothing(book, monkeypatch):
    root, _ = book
    monkeypatch.setattr(kernels, "IMPORTED", (*NOTHING, "numpy"))
    code = (
        "import os, random, sys\nprint('numpy' in sys.modules, os.environ.get('LEFT'))\n"
        "import numpy as np\nprint(os.getppid(), random.random(), np.random.rand())\n"
        "os.environ['LEFT'] = np.left = 'here'\nprint(os.getcwd(), os.isatty(0))"
    )
    for name in "ab":
        (root / f"{name}.md").write_text(
            HEADER + cell(f"{code}  # {name}") + cell("print(vars().get('left'))")
        )
    assert execution.main() == 0
    store = execution.get_cache(str(execution.CELLS / execution.SCALE))
    said = []
    for record in store.list_cache_records():
        cells = store.get_cache_bundle(record.pk).nb.cells
        said.append("".join(o.text for c in cells for o in c.get("outputs", ())).split())
    one, other = said
    assert one[:2] == other[:2] == ["True", "None"]
    assert one[2] == other[2] != str(os.getpid())  # the same process has forked both
    assert one[3] != other[3]
    assert one[4] != other[4]
    assert one[5:] == other[5:] == [str(root), "False", "None"]


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
def test_no_kernel_is_left_where_the_build_is_killed(book):
    root, _ = book
    mark = root / "alive"
    code = f"import os, pathlib, time\npathlib.Path({str(mark)!r}).write_text(str(os.getpid()))"
    (root / "a.md").write_text(HEADER + cell(code + "\ntime.sleep(600)"))
    with subprocess.Popen([sys.executable, "-c", START.format(root=str(root))], cwd=ROOT) as run:
        assert soon(lambda: mark.exists() and mark.read_text())
        run.kill()
    assert soon(lambda: not os.path.exists(f"/proc/{mark.read_text()}"))
