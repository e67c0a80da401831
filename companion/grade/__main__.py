"""The command line: ``python -m companion.grade --help``."""

import argparse
import sys
import time
from pathlib import Path

from companion.grade import gradescope, master, tables
from companion.grade.inside import cells
from companion.grade.run import kept_secret, run, stored
from companion.grade.session import Offer, Session
from companion.grade.submission import read
from companion.grade.system import refuse_danger

WISHED = (
    "no network",
    "hidden files",
    "own processes only",
    "nothing left running",
    "memory",
    "CPU time",
    "file size",
    "unprivileged user",
    "processes",
)


def main(arguments=None) -> int:
    """Run one command; return the exit status."""
    parsed = parser().parse_args(arguments)
    try:
        return parsed.work(parsed)
    except (FileNotFoundError, ValueError, master.MasterError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    top = argparse.ArgumentParser(prog="python -m companion.grade", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name, work, text, *positional):
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(work=work)
        for argument in positional:
            made.add_argument(argument)
        return made

    command("check", check, "students: run the checks of a notebook", "notebook")
    made = command("run", grade_all, "grade a folder of submissions", "folder", "set")
    made.add_argument("--out", default="graded", help="folder for the results (graded)")
    made.add_argument("--jobs", type=int, default=2, help="submissions side by side (2)")
    made.add_argument("--secret", default="", help="seed of the hidden tests (one is made)")
    command("points", points, "list problems and points", "set")
    made = command("gradescope", zipped, "make the zip for Gradescope", "set")
    made.add_argument("--out", default="", help="the zip (SET.zip)")
    made.add_argument("--secret", default="", help="seed of the hidden tests (one is made)")
    command("gradescope-run", on_gradescope, "what runs on Gradescope", "base", "set")
    command("doctor", doctor, "say which limits this system enforces")
    for name, columns in (("canvas", ("ID", "Student")), ("moodle", ("Identifier", "Full name"))):
        made = command(name, platform, f"fill the points into {name.title()}'s table", "table")
        made.add_argument("--graded", default="graded", help="folder with the results (graded)")
        made.add_argument("--out", default=f"{name}.csv", help=f"the new table ({name}.csv)")
        made.add_argument("--column", default="Grade", help="the column to fill (Grade)")
        made.set_defaults(columns=columns)
    return top


def check(parsed) -> int:
    """Run a notebook as the grader does, statement by statement, and let its checks speak."""
    found = read(parsed.notebook)
    if found.problem:
        print(found.problem)
        return 1
    errors = {}
    cells.run(found.cells, {"__name__": "__main__"}, 60.0, lambda n, e: e and errors.update({n: e}))
    for cell, error in errors.items():
        print(f"cell {cell}: {error}")
    return int(bool(errors))


def grade_all(parsed) -> int:
    """Grade a folder, and say where the results are."""
    problems, start = master.read(master.find(parsed.set)), time.monotonic()
    refuse_danger()
    if lacking := missing():
        print("NOT enforced on this system:", ", ".join(lacking))
    results = run(
        parsed.folder, problems, parsed.out, jobs=max(1, parsed.jobs), secret=parsed.secret
    )
    for key, result in results.items():
        told = result["problem"] or "; ".join(result["notes"][:2])
        print(f"{result['points']:4g} of {result['most']}  {key}  {told}")
    taken = time.monotonic() - start
    print(f"{len(results)} submissions in {taken:.0f} s: {parsed.out}/scores.csv, feedback/*.html")
    return 0


def points(parsed) -> int:
    """Print the table of points."""
    problems = master.read(master.find(parsed.set))
    for problem in problems.problems:
        by = "tests" if problem.tests else "a person"
        print(f"{problem.points:4d}  {problem.title}  (marked by {by})")
    print(f"{problems.points:4d}  together")
    return 0


def zipped(parsed) -> int:
    """Write the zip for Gradescope."""
    problems = master.read(master.find(parsed.set))
    path = Path(parsed.out or f"{problems.name}.zip")
    gradescope.build(problems, path, parsed.secret or kept_secret(path.parent))
    print(f"{path}: upload it under Configure Autograder")
    return 0


def on_gradescope(parsed) -> int:
    """Grade the one submission of a Gradescope container."""
    gradescope.mark(parsed.base, master.read(master.find(parsed.set)))
    return 0


def platform(parsed) -> int:
    """Fill in a learning platform's table."""
    results = stored_results(parsed.graded)
    rows, left = tables.fill(parsed.table, results, parsed.column, *parsed.columns)
    tables.save(parsed.out, rows, trusted=True)
    print(f"{parsed.out}: {len(results) - len(left)} rows filled")
    for key in left:
        print(f"no row for {key}")
    return int(bool(left))


def stored_results(folder) -> dict:
    """Return all results of a run with the marks that a person has given by now."""
    paths = sorted((Path(folder) / "results").glob("*.json"))
    results = {path.stem: found for path in paths if (found := stored(path))}
    if not results:
        raise FileNotFoundError(f"{folder} holds no results: run first")
    if (Path(folder) / "marks.csv").exists():
        tables.add_marks(Path(folder) / "marks.csv", results)
    return results


def doctor(parsed) -> int:
    """Print which limits hold on this system."""
    refuse_danger()
    lacking = missing()
    for word in WISHED:
        print(f"{'NO' if word in lacking else 'yes':3}  {word}")
    return 0


def missing() -> list:
    """Return the limits that this system does not enforce, by trying them."""
    with Session([(1, "def f(): return 1")], offer=Offer(preload=())) as session:
        answer = session.ask("f")
        if answer.value != 1:
            raise ValueError(f"a student's process cannot be started here: {answer.text}")
        return [word for word in WISHED if word not in session.enforced]


if __name__ == "__main__":
    sys.exit(main())
