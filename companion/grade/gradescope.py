"""The zip that Gradescope takes as it is, and what runs there."""

import json
import zipfile
from pathlib import Path

from companion.files import replacing
from companion.grade.feedback import explained, total
from companion.grade.grading import graded
from companion.grade.submission import find
from companion.grade.system import refuse_danger

ROOT = Path(__file__).resolve().parents[2]
SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the image.
set -eu
base="${AUTOGRADER:-/autograder}"
find_python() {  # one that runs, and can make environments
  for python in python3.13 python3.12 python3.11; do
    if "$python" -c 'import ensurepip, venv' 2> /dev/null; then return; fi
  done
  return 1
}
find_python || {
  apt-get update
  apt-get install -y python3.12-venv || apt-get install -y python3.11-venv
  find_python
}
"$python" -m venv "$base/venv"
install() { "$base/venv/bin/pip" install --quiet -c "$base/source/constraints.txt" "$@"; }
# The wheel without CUDA is a tenth as large; where its index cannot be reached, PyPI's serves.
install --no-deps --retries 1 --index-url https://download.pytorch.org/whl/cpu torch || true
install -e "$base/source[grade]"
"""
RUN = """\
#!/usr/bin/env bash
# Gradescope runs this for each submission, as root; it writes results/results.json.
base="${AUTOGRADER:-/autograder}"
# Students' code runs as another user, who must not read the hidden tests and the references.
chmod -R go-rwx "$base/source"
cd "$base/source"
exec "${PYTHON:-$base/venv/bin/python}" -m companion.grade gradescope-run "$base" SET
"""
FILES = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE")


def build(problems, path, secret: str) -> None:
    """Write the zip of a set.

    Parameters
    ----------
    problems : companion.grade.master.ProblemSet
    path : path
        Of the zip.
    secret : str
        What the hidden tests draw their numbers from.
    """
    package = sorted(
        file
        for file in (ROOT / "companion").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in [*package, *(ROOT / name for name in FILES)]:
            _add(archive, source.relative_to(ROOT).as_posix(), source.read_bytes())
        _add(archive, f"book/course/sets/{problems.name}.md", problems.text.encode())
        _add(archive, "secret.txt", secret.encode())
        _add(archive, "setup.sh", SETUP.encode(), 0o755)
        _add(archive, "run_autograder", RUN.replace("SET\n", f"{problems.name}\n").encode(), 0o755)


def _add(archive, name, content, mode=0o644):
    entry = zipfile.ZipInfo(name)  # no date: the same set gives the same bytes
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (0o100000 | mode) << 16
    archive.writestr(entry, content)


def mark(base, problems) -> dict:
    """Grade ``submission/`` below a folder and write ``results/results.json`` there; return it."""
    refuse_danger()
    base = Path(base)
    secret = (base / "source" / "secret.txt").read_text(encoding="utf-8").strip()
    found = find(base / "submission")
    if not found:
        result = {
            "score": 0,
            "output": "There is no notebook and no .py file in what you handed in.",
        }
    else:
        best = max(found, key=lambda s: s.holds(problems.names))
        hide = (base / "source", base / "submission", base / "results")
        result = results(graded(best, problems, secret, None, hide))
    with replacing(base / "results" / "results.json", "w") as file:
        json.dump(result, file, indent=1, ensure_ascii=False)
    return result


def results(result: dict) -> dict:
    """Return a result in Gradescope's words."""
    tests = []
    for problem in result["problems"]:
        for test in problem["tests"]:
            tests.append(
                {
                    "name": f"{problem['title']}: {test['name']}",
                    "score": test["got"],
                    "max_score": test["points"],
                    "output": test["message"],
                    "visibility": "visible",
                }
            )
    errors = [f"Cell {cell}: {error}" for cell, error in explained(result).items()]
    return {
        "score": result["points"],
        "output": "\n".join([total(result), *filter(None, [result["problem"]]), *errors]),
        "output_format": "text",
        "stdout_visibility": "hidden",
        "tests": tests,
    }
