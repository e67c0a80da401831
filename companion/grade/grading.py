"""Grade one submission: what each problem gives, and what to tell the student."""

import ast
import hashlib
import re

from companion.grade import master
from companion.grade.inside.wire import clean
from companion.grade.judge import judge
from companion.grade.session import Limits, Session
from companion.grade.submission import Submission, written

VERSION = 2  # results of other versions are made anew
SUSPECT = re.compile(
    r"torch\.optim|companion\.optim|companion\.simulate|torch\._|gc\.get_objects|"
    r"__subclasses__|sys\.modules|meta_path|site-packages"
)


def identity(submission: Submission, problems, secret: str) -> str:
    """Return a hash of all that a result depends on."""
    parts = (str(VERSION), secret, problems.text, submission.digest)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def grade(submission: Submission, problems, secret: str, limits=None, hide=()) -> dict:
    """Return the result of one submission, as plain data; never raises for what it does.

    Parameters
    ----------
    submission : Submission
    problems : companion.grade.master.ProblemSet
    secret : str
        What the random numbers of the hidden tests are drawn from.
    limits : Limits, optional
    hide : sequence of Path
        Folders that the student's code must not see.
    """
    result = blank(submission, problems)
    result["identity"] = identity(submission, problems, secret)
    if submission.problem:
        return result
    options = {"offer": problems.offer, "limits": limits or Limits(), "hide": tuple(hide)}
    with Session(submission.cells, **options) as session:
        for problem, found in zip(problems.problems, result["problems"], strict=True):
            if problem.tests:
                outcomes = judge(problem, session, secret)
                found["tests"] = [vars(outcome) for outcome in outcomes]
                found["got"] = sum(outcome.got for outcome in outcomes)
        result["errors"] = {str(cell): error for cell, error in sorted(session.errors.items())}
        result["enforced"] = session.enforced
    result["points"] = sum(problem["got"] or 0 for problem in result["problems"])
    return result


def graded(submission, problems, secret, limits, hide) -> dict:
    """Return the result of one submission; a fault of the grader becomes a note, not a stop."""
    try:
        return grade(submission, problems, secret, limits, hide)
    except Exception as error:  # its identity stays empty, so that it is tried again
        submission.problem = f"the grader failed on it ({error!r}): look at it by hand"
        return blank(submission, problems)


def blank(submission: Submission, problems) -> dict:
    """Return the result of a submission before anything of it has run: no points."""
    known = master.cells(problems)
    handed_out = [number for number, source in submission.cells if source.strip() in known]
    return {
        "student": submission.student,
        "number": submission.number,
        "late": submission.late,
        "file": clean(submission.path.name),
        "set": problems.name,
        "identity": "",
        "problem": submission.problem,
        "notes": notes(submission, handed_out),
        "errors": {},
        "handed_out": list(map(str, handed_out)),
        "enforced": [],
        "points": 0,
        "most": sum(problem.points for problem in problems.problems if problem.tests),
        "by_hand": sum(problem.points for problem in problems.problems if problem.rubric),
        "problems": [
            {
                "label": problem.label,
                "title": problem.title,
                "points": problem.points,
                "got": 0 if problem.tests else None,
                "tests": [],
                "rubric": problem.rubric,
                "written": written(submission, problem, problems.text) if problem.rubric else "",
            }
            for problem in problems.problems
        ],
    }


def notes(submission: Submission, handed_out: list) -> list:
    """Return what a person should look at: code that reaches for answers or for the grader.

    A note takes no points: it says where to read. Comments and texts do not count, nor do the
    cells, by number, that are as they were handed out.
    """
    found = []
    for number, source in submission.cells:
        if number in handed_out:
            continue
        try:
            code = ast.unparse(ast.parse(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            code = source
        found += [f"cell {number}: {word}" for word in sorted(set(SUSPECT.findall(code)))]
    return found[:20]
