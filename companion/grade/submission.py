"""What students hand in: notebooks and scripts, read as data and never run here."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from companion.grade.inside.wire import clean

LARGEST = 30_000_000  # bytes of a file
CANVAS = re.compile(r"(?P<name>[^_]+)(?:_LATE)?_(?P<id>\d+)_\d+_.+")
MOODLE = re.compile(r"(?P<name>[^_]+)_(?P<id>\d+)_assignsubmission_.*")
EMPTY = re.compile(r"\*Your [\w ]+ stands here\.\*")


@dataclass
class Submission:
    """One file of one student.

    Attributes
    ----------
    key : str
        Names the results: unique in its folder, and fit for a file name.
    student, number : str
        Whose it is, by the name of the file or folder alone, as Canvas and Moodle write them; the
        number is their participant's or user's. What the file says of its author counts nothing.
    cells : list of (int, str)
        Number and text of each code cell.
    prose : list of str
        The other cells.
    digest : str
        SHA-256 of the file.
    problem : str
        Why it cannot be read; "" if it can.
    """

    path: Path
    key: str
    student: str
    number: str = ""
    cells: list = field(default_factory=list)
    prose: list = field(default_factory=list)
    digest: str = ""
    problem: str = ""


def find(folder, names=()) -> list:
    """Return the submissions of a folder, one a student, ordered by key.

    Parameters
    ----------
    folder : path
        Holds files, or a folder for each student. Of several files in a student's folder that one
        counts in which most of the ``names`` stand.
    names : sequence of str
        What the set asks for.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    owners = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith((".", "__")) for part in inner.parts)
        if path.suffix not in (".ipynb", ".py") or hidden or path.is_symlink():
            continue
        if path.is_file() and not any(parent.is_symlink() for parent in path.parents):
            owners.setdefault(inner.parts[0], []).append(path)
    found, used = [], set()
    for owner, paths in owners.items():
        read_all = [read(path, owner) for path in paths]
        best = max(read_all, key=lambda s: (sum(n in str(s.cells) for n in names), str(s.path)))
        while best.key in used:
            best.key += "-2"
        used.add(best.key)
        found.append(best)
    return sorted(found, key=lambda submission: submission.key)


def read(path, owner: str = "") -> Submission:
    """Return a submission; what is wrong with the file is said in it, and never raised."""
    path = Path(path)
    owner = owner or path.name
    stem = owner.removesuffix(path.suffix)
    match = CANVAS.fullmatch(stem) or MOODLE.fullmatch(owner)
    key = re.sub(r"[^\w.-]+", "-", stem).strip(".-")[:100] or "unnamed"
    student = clean(match["name"] if match else stem)
    found = Submission(path, clean(key), student, match["id"] if match else "")
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("the file is larger than 30 MB: clear its outputs")
        content = path.read_bytes()
        found.digest = hashlib.sha256(content).hexdigest()
        text = content.decode("utf-8-sig", errors="replace")
        if path.suffix == ".py":
            parts = re.split(r"^# ?%%.*$", text, flags=re.MULTILINE)
            found.cells = list(enumerate(parts, start=1))
        else:
            _notebook(found, json.loads(text))
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        found.problem = f"the file cannot be read: {error}"[:300]
    return found


def _notebook(found: Submission, notebook: dict) -> None:
    for number, cell in enumerate(notebook["cells"], start=1):
        source = cell.get("source", "") if isinstance(cell, dict) else ""
        source = clean("".join(map(str, source)) if isinstance(source, list) else str(source))
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            found.cells.append((number, source))
        elif source.strip():
            found.prose.append(source)


def written(submission: Submission, problem, source: str) -> str:
    """Return what a student has written below a problem, up to the next heading of the set.

    Parameters
    ----------
    problem : companion.grade.master.Problem
    source : str
        The text of the set: headings that do not stand in it are the student's own.
    """
    inside, kept = False, []
    for text in submission.prose:
        for part in re.split(r"(?m)^(?=#{1,6} )", text):
            first = part.partition("\n")[0]
            of_set = first.startswith("#") and (first in source or "Exercise" in first)
            if of_set:
                inside = problem.title in first  # the rest of this cell is the problem
            elif inside and part.strip() and not EMPTY.fullmatch(part.strip()):
                kept.append(part.strip())
    return "\n\n".join(kept)
