"""Where results come from: the commit, a changed tree, no git at all, and code that has changed."""

import re
import subprocess
from pathlib import Path
from types import FunctionType

import pandas as pd
import pytest
import torch

import companion
from benchmarks.claims import load_all
from benchmarks.provenance import append, changed, code, commit, provenance

ROOT = Path(__file__).resolve().parent.parent
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")


@pytest.fixture
def checkout(tmp_path):
    """Return a small checkout with one claim's module, which uses one of two of the package."""
    for name, text in {
        "companion/__init__.py": "",
        "companion/optim/__init__.py": "from companion.optim.adam import Adam\n"
        "from companion.optim.sgd import SGD\n",
        "companion/optim/adam.py": '"""Adam."""\n\n\ndef Adam():\n    return 1  # one\n',
        "companion/optim/sgd.py": "def SGD():\n    return 1\n",
        "benchmarks/mine.py": "from companion.optim import SGD, Adam\n\nSIZE = 2\n\n\n"
        'def measure():\n    """Measure."""\n    return helper()\n\n\n'
        "def helper():\n    return SIZE * Adam()\n\n\ndef other():\n    return SGD()\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def measure():
    made = FunctionType((lambda: None).__code__, {"__name__": "benchmarks.mine"}, "measure")
    made.__module__ = "benchmarks.mine"
    return made


def run(root, *arguments):
    subprocess.run([*GIT, *arguments], cwd=root, check=True, capture_output=True)


def test_provenance_names_the_version_and_the_commit():
    found = provenance()
    assert found["version"] == companion.__version__
    assert re.fullmatch(r"unknown|[0-9a-f]{12}(, modified)?", found["commit"])
    assert found["torch"] == torch.__version__


def test_a_commit_is_named_and_a_changed_tree_is_said_to_be(checkout):
    run(checkout, "init")
    run(checkout, "add", ".")
    run(checkout, "commit", "-m", "all")
    clean = commit(checkout)
    assert re.fullmatch(r"[0-9a-f]{12}", clean)
    (checkout / "benchmarks" / "result.json").write_text("{}")  # results are not code
    assert commit(checkout) == clean
    (checkout / "companion" / "optim" / "adam.py").write_text("def Adam():\n    return 2\n")
    assert commit(checkout) == f"{clean}, modified"


def test_a_new_file_of_code_is_a_change(checkout):
    run(checkout, "init")
    run(checkout, "add", ".")
    run(checkout, "commit", "-m", "all")
    (checkout / "benchmarks" / "new.py").write_text("")
    assert commit(checkout).endswith(", modified")


def test_without_git_the_commit_is_unknown(checkout, monkeypatch):
    assert commit(checkout) == "unknown"
    (checkout / "inside").mkdir()
    run(checkout, "init")
    assert commit(checkout / "inside") == "unknown"  # another's checkout around an archive
    monkeypatch.setenv("PATH", "")
    assert commit(checkout) == "unknown"


def test_the_code_behind_a_function_is_what_it_uses(checkout, measure):
    assert list(code(measure, checkout)) == ["benchmarks/mine.py", "companion/optim/adam.py"]


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("companion/optim/adam.py", "return 1", "return 2", True),
        ("companion/optim/adam.py", '"""Adam."""', '"""Better words."""', False),
        ("companion/optim/adam.py", "# one", "# 1", False),
        ("companion/optim/sgd.py", "return 1", "return 2", False),
        ("benchmarks/mine.py", "SIZE = 2", "SIZE = 3", True),
        ("benchmarks/mine.py", "SIZE * Adam()", "Adam() * SIZE", True),
        ("benchmarks/mine.py", "return SGD()", "return 3", False),
        ("benchmarks/mine.py", '"""Measure."""', '"""Measure it."""', False),
    ],
)
def test_only_code_that_runs_counts_as_changed(checkout, measure, file, old, new, counts):
    recorded = code(measure, checkout)
    text = (checkout / file).read_text()
    assert old in text
    (checkout / file).write_text(text.replace(old, new))
    assert changed(measure, recorded, checkout) == ([file] if counts else [])


def test_a_file_that_is_gone_has_changed(checkout, measure):
    recorded = code(measure, checkout)
    (checkout / "companion/optim/adam.py").unlink()
    assert "companion/optim/adam.py" in changed(measure, recorded, checkout)


def test_a_claim_knows_the_code_behind_it():
    files = code(load_all()["zhang-lemma-a1"].measure)
    assert list(files) == [
        "benchmarks/claims/phase_transition.py",
        "companion/theory/color_balls.py",
    ]


def test_rows_with_new_columns_join_an_old_table(tmp_path):
    path = tmp_path / "table.csv"
    append(path, pd.DataFrame({"x": [1], "date": ["d"]}))
    append(path, pd.DataFrame({"date": ["e"], "x": [2]}))
    append(path, pd.DataFrame({"x": [3], "commit": ["c"], "date": ["f"]}))
    found = pd.read_csv(path)
    assert found.x.tolist() == [1, 2, 3]
    assert found.commit.fillna("").tolist() == ["", "", "c"]


def test_no_benchmark_tells_versions_or_dates_by_itself():
    own = re.compile(r"\bplatform\.|torch\.__version__|\bdatetime\b|get_device_name|__version__")
    files = [p for p in (ROOT / "benchmarks").rglob("*.py") if p.name != "provenance.py"]
    assert [p.name for p in files if own.search(p.read_text(encoding="utf-8"))] == []
