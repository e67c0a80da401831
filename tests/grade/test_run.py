"""A folder of submissions, from files to tables: whatever they hold, each gets what it earned."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from companion.grade import gradescope, master, tables
from companion.grade.__main__ import main
from companion.grade.grading import blank
from companion.grade.run import run
from companion.grade.session import Limits
from companion.grade.submission import find
from tests.grade.small import MASTER, PROOF, SQUARE, SUBMISSIONS, TWICE, cell, notebook

LIMITS = Limits(seconds=0.5, wall=30.0)


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "master" / "small.md"
    path.parent.mkdir()
    path.write_text(MASTER, encoding="utf-8")
    return master.read(path)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "in"
    made.mkdir()
    return made


def hand_in(folder, names):
    for name in names:
        (folder / name).write_text(SUBMISSIONS[name][0], encoding="utf-8")


def test_every_submission_gets_what_it_earned(small, folder, tmp_path):
    hand_in(folder, SUBMISSIONS)
    results = run(folder, small, tmp_path / "out", limits=LIMITS)
    got = {r["file"]: tuple(p["got"] for p in r["problems"][:2]) for r in results.values()}
    assert got == {
        name: points for name, (_, *points) in SUBMISSIONS.items() for points in [tuple(points)]
    }
    rows = tables.load(tmp_path / "out" / "scores.csv")
    assert len(rows) == len(SUBMISSIONS)
    assert not any(value.startswith("=") for row in rows for value in row.values())
    perfect = results["perfect"]
    assert perfect["problems"][2]["written"] == "As $2x$ is."
    assert perfect["student"] == "perfect"
    page = (tmp_path / "out" / "feedback" / "known.html").read_text(encoding="utf-8")
    assert "a number between 1 and 2: expected" in page
    assert "2 * x" not in page
    json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))


def test_a_page_shows_code_of_students_as_text(small, folder, tmp_path):
    (folder / "a.ipynb").write_text(notebook("raise ValueError('<script>alert(1)</script>')"))
    run(folder, small, tmp_path / "out", limits=LIMITS)
    page = (tmp_path / "out" / "feedback" / "a.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page
    assert "<script" not in page


def test_a_result_is_kept_until_something_changes(small, folder, tmp_path):
    hand_in(folder, ["perfect.ipynb", "known.ipynb"])
    out = tmp_path / "out"
    run(folder, small, out, limits=LIMITS)
    stored = {path.stem: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    (folder / "known.ipynb").write_text(notebook(TWICE))
    results = run(folder, small, out, limits=LIMITS)
    again = {path.stem: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    assert [key for key in stored if stored[key] != again[key]] == ["known"]
    assert results["known"]["points"] == 5
    (out / "results" / "known.json").write_text("{")
    assert run(folder, small, out, limits=LIMITS)["known"]["points"] == 5


@pytest.mark.skipif(os.name != "posix", reason="needs kill")
def test_a_killed_run_goes_on_where_it_was(small, folder, tmp_path):
    for name in "abcdef":
        (folder / f"{name}.ipynb").write_text(notebook(f"import time\ntime.sleep(0.5)\n{TWICE}"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "companion.grade", "run", str(folder), str(small.path)]
    process = subprocess.Popen([*command, "--out", str(out), "--jobs", "1"])
    until = time.monotonic() + 60
    while not list(out.glob("results/*.json")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in (out / "results").glob("*.json")}
    assert 0 < len(done) < 6
    results = run(folder, small, out)
    assert [r["points"] for r in results.values()] == [5] * 6
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())


def test_numbers_are_the_same_for_all_and_change_with_the_secret(small, folder, tmp_path):
    hand_in(folder, ["stub.ipynb"])
    for name in "ab":
        (folder / f"{name}.py").write_text("def twice(x): return x")
    told = {}
    for secret in ("one", "two"):
        results = run(folder, small, tmp_path / secret, secret=secret, limits=LIMITS)
        told[secret] = [results[key]["problems"][0]["tests"][1]["message"] for key in "ab"]
        assert told[secret][0] == told[secret][1]
    assert told["one"] != told["two"]


def test_identity_comes_from_the_platform_and_never_from_the_file(folder):
    (folder / "doejane_LATE_123_456_02_adaptive-1.ipynb").write_text(notebook(SQUARE, author="roe"))
    inside = folder / "Richard Roe_789_assignsubmission_file"
    inside.mkdir()
    (inside / "notes.py").write_text("x = 1")
    (inside / "mine.ipynb").write_text(notebook(TWICE))
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "x.ipynb").write_text(notebook(TWICE))
    (folder / "link.ipynb").symlink_to(inside / "mine.ipynb")
    found = {s.student: s for s in find(folder, ["twice"])}
    assert {name: s.number for name, s in found.items()} == {"doejane": "123", "Richard Roe": "789"}
    assert {name: s.late for name, s in found.items()} == {"doejane": True, "Richard Roe": False}
    assert found["Richard Roe"].path.name == "mine.ipynb"


def test_several_files_of_one_student_count_once(folder):
    (folder / "doejane_123_456_figure.py").write_text("x = 1")
    (folder / "doejane_123_457_zzz.ipynb").write_text(notebook(TWICE))
    (folder / "doejane_124_458_a.py").write_text("twice = 1")  # a namesake
    assert [s.path.suffix for s in find(folder, ["twice"])] == [".ipynb", ".py"]
    with pytest.raises(FileNotFoundError, match="unpack it first"):
        find(folder / "doejane_123_456_figure.py")


PICTURE = "iVBORw0KGgo="
TRIED = {
    **cell("x = '```'"),
    "outputs": [
        {"output_type": "stream", "text": ["a ", "line"]},
        {"output_type": "display_data", "data": {"image/png": PICTURE, "text/html": "<script>"}},
        {"output_type": "display_data", "data": {"image/png": "<script>"}},
        "no output",
    ],
}
ATTACHED = {"a.png": {"image/png": PICTURE}}
DRAWN = {**cell("![](attachment:a.png)", "markdown"), "attachments": ATTACHED}


def test_all_answers_to_a_proof_are_read_in_one_notebook(small, folder, tmp_path):
    (folder / "ann.ipynb").write_text(notebook(TWICE, *PROOF, TRIED, DRAWN))
    (folder / "bob.py").write_text(TWICE)
    (folder / "eve.ipynb").write_text(notebook(TWICE))
    run(folder, small, tmp_path / "out", limits=LIMITS)
    path = tmp_path / "out" / "reading" / "proof.ipynb"
    nbformat.validate(made := nbformat.read(path, as_version=4))
    assert {c.cell_type for c in made.cells} == {"markdown"}  # nothing that could run
    head, *texts = [c.source for c in made.cells]
    assert "- 1: the definition" in head
    assert "By definition." in head
    code = "````python\nx = '```'\n````\n\n```text\na line\n```\n\n"
    code += "![output-1.png](attachment:output-1.png)"
    assert texts[:4] == ["## ann", "As $2x$ is.", code, "![](attachment:a.png)"]
    assert [c.get("attachments") for c in made.cells[3:5]] == [
        {"output-1.png": {"image/png": PICTURE}},
        ATTACHED,
    ]
    assert "A script" in texts[5]
    assert texts[6] == "## eve\n\nNothing."


def test_marks_by_hand_join_the_points_and_the_platforms_table(
    small, folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (folder / "doejane_123_456_x.ipynb").write_text(notebook(TWICE))
    (folder / "roe_124_457_x.ipynb").write_text(notebook(SQUARE))
    run(folder, small, "graded", limits=LIMITS)
    text = (tmp_path / "graded" / "marks.csv").read_text(encoding="utf-8-sig")
    assert text.count("\n") == 5
    text = re.sub("(doejane.*definition,1),", r"\1,0.5", text)
    text = re.sub("(doejane.*conclusion,2),", r"\1,2", text)
    (tmp_path / "graded" / "marks.csv").write_text(text, encoding="utf-8")
    results = run(folder, small, "graded", limits=LIMITS)
    assert [r.get("marked") for r in results.values()] == [2.5, None]
    page = (tmp_path / "graded" / "feedback" / "doejane_123_456_x.html").read_text("utf-8")
    assert "7.5 of 12 points" in page
    (tmp_path / "book.csv").write_text("Student,ID,Set 2 (77)\nDoe,123,\nRoe,124,\nPoe,9,\n")
    assert main(["canvas", "book.csv", "--column", "Set 2 (77)"]) == 0
    rows = tables.load(tmp_path / "canvas.csv")
    assert [row["Set 2 (77)"] for row in rows] == ["7.5", "4", ""]
    (tmp_path / "sheet.csv").write_text("Identifier,Full name,Grade\nParticipant 124,-,\n")
    assert main(["moodle", "sheet.csv"]) == 1
    row = tables.load(tmp_path / "moodle.csv")[0]
    assert (row["Grade"], row["Full name"]) == ("4", "-")  # the platform's own stays as it was
    (tmp_path / "graded" / "marks.csv").write_text(text.replace(",2\n", ",3\n"), encoding="utf-8")
    with pytest.raises(ValueError, match="'3' is no number from 0 to 2"):
        run(folder, small, "graded", limits=LIMITS)


PIP = """#!/bin/sh
echo "$@" >> "$AUTOGRADER/asked"
case "$*" in *pytorch.org*) exit 1; esac
"""
PYTHON = """#!/bin/sh
if [ "$1" = -m ]; then mkdir -p "$3/bin"; cp "$AUTOGRADER/pip" "$3/bin/pip"; fi
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_the_setup_takes_a_python_that_works_and_does_without_an_index(small, tmp_path):
    (tmp_path / "setup.sh").write_text(gradescope.SETUP)
    for name, text in {
        "pip": PIP,
        "python3.12": PYTHON,
        "python3.13": "#!/bin/sh\nexit 127",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "AUTOGRADER": str(tmp_path)}
    subprocess.run(["bash", str(tmp_path / "setup.sh")], env=environment, check=True)
    first, last = (tmp_path / "asked").read_text().splitlines()
    assert first.endswith("torch")
    assert (
        last == f"install --quiet -c {tmp_path}/source/constraints.txt -e {tmp_path}/source[grade]"
    )


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_the_zip_runs_in_an_empty_folder_as_on_gradescope(small, tmp_path):
    import zipfile

    gradescope.build(small, tmp_path / "small.zip", "a secret")
    base = tmp_path / "autograder"
    for name in ("source", "submission", "results"):
        (base / name).mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "small.zip") as archive:
        archive.extractall(base / "source")
        assert archive.getinfo("run_autograder").external_attr >> 16 & 0o111
    (base / "submission" / "work.ipynb").write_text(notebook(TWICE, "1 / 0"))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"AUTOGRADER": str(base), "PYTHON": sys.executable}
    script = base / "source" / "run_autograder"
    subprocess.run(["bash", str(script)], cwd="/", env=environment, check=True)
    result = json.loads((base / "results" / "results.json").read_text(encoding="utf-8"))
    assert result["score"] == 5
    assert [t["score"] for t in result["tests"]] == [2, 3, 0]
    assert "ZeroDivisionError" in result["output"]
    assert "not written yet" in result["tests"][2]["output"]
    assert (base / "source").stat().st_mode & 0o077 == 0


def test_a_note_says_who_imports_a_reference_but_not_that_the_set_does(folder, tmp_path):
    handed_out = "from companion.optim import SGD\n\nprint(SGD)"
    path = tmp_path / "small.md"
    path.write_text(f"{MASTER}\n```{{code-cell}} ipython3\n{handed_out}\n```\n", encoding="utf-8")
    for name, source in {"ann": handed_out, "bob": f"x = 1\n{handed_out}"}.items():
        (folder / f"{name}.ipynb").write_text(notebook(TWICE, source))
    found = {s.key: blank(s, master.read(path))["notes"] for s in find(folder)}
    assert found == {"ann": [], "bob": ["cell 2: companion.optim"]}
