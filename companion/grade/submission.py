"""What students hand in: notebooks and scripts, read as data and never run here."""

import hashlib
import json
import re
import string
from dataclasses import dataclass, field
from pathlib import Path

from companion.grade.inside.wire import clean

LARGEST = 30_000_000  # bytes of a file
CANVAS = re.compile(r"(?P<name>[^_]+)(?P<late>_LATE)?_(?P<id>\d+)_\d+_.+")
MOODLE = re.compile(r"(?P<name>[^_]+)_(?P<id>\d+)_assignsubmission_.*")
BASE64 = frozenset(string.ascii_letters + string.digits + "+/=\n")
EMPTY = re.compile(r"\*Your [\w ]+ stands here\.\*")


@dataclass
class Cell:
    """A cell of a notebook: its place (from 1), its text, and the pictures in it, by name.

    ``code`` says whether it is code; ``printed`` is what it has printed.
    """

    number: int
    source: str
    code: bool = False
    images: dict = field(default_factory=dict)
    printed: str = ""


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
    late : bool
        Whether Canvas's name of the file says so.
    parts : list of Cell
        All cells in order.
    digest : str
        SHA-256 of the file.
    problem : str
        Why it cannot be read; "" if it can.
    """

    path: Path
    key: str
    student: str
    number: str = ""
    late: bool = False
    parts: list = field(default_factory=list)
    digest: str = ""
    problem: str = ""

    @property
    def cells(self) -> list:
        """Return number and text of each code cell."""
        return [(part.number, part.source) for part in self.parts if part.code]

    def holds(self, names) -> int:
        """Return how many of these names stand in its code."""
        code = str(self.cells)
        return sum(name in code for name in names)


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
        more = ": unpack it first" if folder.is_file() else ""
        raise FileNotFoundError(f"{folder} is no folder{more}")
    owners = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith((".", "__")) for part in inner.parts)
        if path.suffix not in (".ipynb", ".py") or hidden or path.is_symlink():
            continue
        if path.is_file() and not any(parent.is_symlink() for parent in path.parents):
            first = inner.parts[0]
            canvas = CANVAS.fullmatch(first)  # which has no folders: several files may be one's own
            owner = canvas["name"] + canvas["id"] if canvas else first
            owners.setdefault(owner, []).append((path, first))
    found, used = [], set()
    for files in owners.values():
        read_all = [read(path, owner) for path, owner in files]
        best = max(read_all, key=lambda s: (s.holds(names), str(s.path)))
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
    found.late = bool(match and match.groupdict().get("late"))
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("the file is larger than 30 MB: clear its outputs")
        content = path.read_bytes()
        found.digest = hashlib.sha256(content).hexdigest()
        text = content.decode("utf-8-sig", errors="replace")
        if path.suffix == ".py":
            parts = re.split(r"^# ?%%.*$", text, flags=re.MULTILINE)
            found.parts = [Cell(number, part, code=True) for number, part in enumerate(parts, 1)]
        else:
            _notebook(found, json.loads(text))
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        found.problem = f"the file cannot be read: {error}"[:300]
    return found


def _notebook(found: Submission, notebook: dict) -> None:
    for number, cell in enumerate(notebook["cells"], start=1):
        if not isinstance(cell, dict):
            continue
        part = Cell(number, _text(cell.get("source", "")), cell.get("cell_type") == "code")
        for name, data in _dictionary(cell.get("attachments")).items():
            _keep(part, str(name), data)
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else ():
            output = _dictionary(output)
            part.printed += _text(output.get("text", "")) if "text" in output else ""
            _keep(part, f"output-{len(part.images) + 1}.png", output.get("data"))
        found.parts.append(part)


def _text(source) -> str:
    return clean("".join(map(str, source)) if isinstance(source, list) else str(source))


def _dictionary(value) -> dict:
    return value if isinstance(value, dict) else {}


def _keep(part: Cell, name: str, data) -> None:
    """Keep a PNG, if there is one and it is nothing else."""
    content = _text(_dictionary(data).get("image/png", ""))
    if content and BASE64.issuperset(content):
        part.images[clean(name)] = content


def below(submission: Submission, problem, source: str) -> list:
    """Return the cells below a problem, up to the next heading of the set.

    Parameters
    ----------
    problem : companion.grade.master.Problem
    source : str
        The text of the set: headings that do not stand in it are the student's own, and so is every
        cell but those.
    """
    inside, kept = False, []
    for cell in submission.parts:
        texts = [cell.source] if cell.code else re.split(r"(?m)^(?=#{1,6} )", cell.source)
        for text in texts:
            first = text.partition("\n")[0]
            if not cell.code and first.startswith("#") and (first in source or "Exercise" in first):
                inside = problem.title in first  # the rest of this cell is the problem
            elif inside and text.strip() and not EMPTY.fullmatch(text.strip()):
                kept.append(Cell(cell.number, text.strip(), cell.code, cell.images, cell.printed))
    return kept


def written(submission: Submission, problem, source: str) -> str:
    """Return the text that a student has written below a problem."""
    return "\n\n".join(c.source for c in below(submission, problem, source) if not c.code)
