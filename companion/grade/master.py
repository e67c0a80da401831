"""A problem set as its one source says it: problems, stubs, hidden tests, points, rubrics."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from companion.grade.session import Offer

FOLDER = Path(__file__).resolve().parents[2] / "book" / "course" / "sets"
OPEN = re.compile(r"(`{3,})(?:\{([\w:-]+)\})?[ \t]*(.*)")


class MasterError(Exception):
    """Something in a master that cannot be; names the file and the line."""


@dataclass
class Fence:
    """A fenced block at the left margin: a directive, or literal text with its info string."""

    line: int
    name: str
    argument: str
    options: dict
    body: list


@dataclass
class Problem:
    """One problem of a set.

    Attributes
    ----------
    label, title : str
        As the exercise has them.
    points : int
        What its tests, or the items of its rubric, add up to.
    stub, solution, tests : str
        Code: what students get, what is right, and what judges (in the grader's process).
    also : list of str
        Other code that is right, and has to get all points.
    given : str
        Code of functions that make arguments in the student's process; the tests see them too.
    wrong : list of dict
        Wrong answers: ``why``, ``edit`` (texts of the solution and what stands there instead) and
        ``loses`` (points).
    rubric : list of dict
        ``item`` and ``points``, for what a person marks.
    answer : str
        The sample answer, or remarks on the solution.
    """

    label: str
    title: str
    points: int = 0
    stub: str = ""
    solution: str = ""
    tests: str = ""
    also: list = field(default_factory=list)
    given: str = ""
    wrong: list = field(default_factory=list)
    rubric: list = field(default_factory=list)
    answer: str = ""


@dataclass
class ProblemSet:
    """A whole set; ``text`` is its source, which a stored result is bound to."""

    name: str
    title: str
    problems: list
    offer: Offer
    text: str
    path: Path

    @property
    def points(self) -> int:
        """Return the points of all problems."""
        return sum(problem.points for problem in self.problems)

    @property
    def names(self) -> list:
        """Return the names that the stubs define."""
        return [name for problem in self.problems for name in defined(problem.stub)]


def defined(code: str) -> list:
    r"""Return the names that a stub defines.

    Examples
    --------
    >>> defined("def f(x):\n    return ...\n\n\nclass C:\n    pass\n")
    ['f', 'C']
    """
    words = (line.split("(")[0].rstrip(":").split() for line in code.split("\n"))
    return [w[1] for w in words if len(w) == 2 and w[0] in ("def", "class")]


def find(name: str) -> Path:
    """Return the path of a master, by its path or its name.

    Raises
    ------
    FileNotFoundError
        If there is none; the message lists those there are.
    """
    for path in (Path(name), FOLDER / f"{name}.md"):
        if path.suffix == ".md" and path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.md")))
    raise FileNotFoundError(f"there is no problem set {name!r}; there are: {known or 'none here'}")


def read(path) -> ProblemSet:
    """Return the problem set that a master holds.

    Raises
    ------
    MasterError
        If points do not add up, a part is missing, or a fence is never closed.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    header, lines = {}, text.split("\n")
    if lines[0] == "---":
        end = lines.index("---", 1)
        header, lines = yaml.safe_load("\n".join(lines[1:end])), [""] * (end + 1) + lines[end + 1 :]
    title = next((line[2:].strip() for line in lines if line.startswith("# ")), path.stem)
    options = header.get("grading") or {}
    problems = _problems(fences(lines, path.name), path.name)
    given = "\n".join(problem.given for problem in problems)
    offer = Offer(**{key: tuple(value) for key, value in options.items()}, given=given)
    return ProblemSet(path.stem, title, problems, offer, text, path)


def cells(problems: ProblemSet) -> set:
    """Return the code cells that a set hands out, without their options."""
    found = fences(problems.text.split("\n"), problems.path.name)
    return {"\n".join(f.body).strip() for f in found if f.name == "code-cell"}


def fences(lines: list, where: str, first: int = 1) -> list:
    """Return the fenced blocks at the left margin of some lines."""
    found, number = [], 0
    while number < len(lines):
        start = OPEN.fullmatch(lines[number])
        number += 1
        if not start:
            continue
        ticks, name, argument = start.groups()
        if not any(re.fullmatch(f"`{{{len(ticks)},}} *", line) for line in lines[number:]):
            raise MasterError(f"{where}:{first + number - 1}: this fence is never closed")
        body, line = [], first + number - 1
        while not re.fullmatch(f"`{{{len(ticks)},}} *", lines[number]):
            body.append(lines[number])
            number += 1
        number += 1
        options = {}
        while name and body and (option := re.fullmatch(r":([\w-]+): *(.*)", body[0])):
            options[option[1]] = option[2]
            del body[0]
        found.append(Fence(line, name or "", argument.strip(), options, body))
    return found


def _problems(found: list, where: str) -> list:
    problems = {}
    current = None
    for fence in found:
        if fence.name == "exercise":
            label = fence.options.get("label", "")
            current = problems[label] = Problem(label, fence.argument)
        elif fence.name == "code-cell" and "stub" in fence.options.get("tags", ""):
            if current is None:
                raise MasterError(f"{where}:{fence.line}: this stub belongs to no exercise")
            current.stub += "\n".join([*fence.body, ""])
        elif fence.name == "grading":
            if fence.argument not in problems:
                raise MasterError(f"{where}:{fence.line}: there is no exercise {fence.argument!r}")
            _grading(problems[fence.argument], fence, where)
    for problem in problems.values():
        if not (problem.tests or problem.rubric):
            raise MasterError(f"{where}: {problem.label} has neither tests nor a rubric")
    return list(problems.values())


def _grading(problem: Problem, fence: Fence, where: str) -> None:
    """Fill in what the grading block of a problem holds."""
    place = f"{where}:{fence.line}"
    try:
        problem.points = int(fence.options["points"])
    except (KeyError, ValueError):
        raise MasterError(f"{place}: this needs :points: and a whole number") from None
    first = fence.line + 1 + len(fence.options)
    for part in fences(fence.body, where, first):
        body = "\n".join([*part.body, ""])
        if part.argument == "python solution":
            problem.solution += body
        elif part.argument == "python also":
            problem.also.append(body)
        elif part.argument == "python given":
            problem.given += body
        elif part.argument == "python tests":
            # Empty lines in front, so that an error names the line of the master.
            problem.tests = "\n" * part.line + body
        elif part.argument in ("yaml wrong", "yaml rubric"):
            setattr(problem, part.argument.split()[1], yaml.safe_load(body))
    problem.answer = prose(fence.body)
    total = sum(item["points"] for item in problem.rubric)
    if problem.rubric and total != problem.points:
        raise MasterError(f"{place}: the rubric adds up to {total}, not to {problem.points}")


def prose(lines: list) -> str:
    r"""Return what stands outside of the parts that only a grader reads.

    Examples
    --------
    >>> prose(["Look:", "```python tests", "x", "```", "Done."])
    'Look:\nDone.'
    """
    kept, inside = [], ""
    for line in lines:
        start = OPEN.fullmatch(line)
        if inside:
            inside = "" if line.strip() == inside else inside
        elif start and start[3].split(" ")[0] in ("python", "yaml") and " " in start[3]:
            inside = start[1]
        else:
            kept.append(line)
    return "\n".join(kept).strip("\n")
