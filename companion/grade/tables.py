"""The tables of a run: points, marks by hand, and what Canvas and Moodle take."""

import csv
import io
from pathlib import Path

from companion.files import replacing


def cell(value):
    """Return a value that no spreadsheet takes for a formula.

    Examples
    --------
    >>> cell("=1+1"), cell(-2.5), cell("Ann")
    ("'=1+1", -2.5, 'Ann')
    """
    text = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if text else value


def points(number: float):
    """Return points without a fraction that says nothing.

    Examples
    --------
    >>> points(71.0), points(0.5)
    (71, 0.5)
    """
    return int(number) if number == int(number) else number


def save(path, rows: list, trusted: bool = False) -> None:
    """Write rows, the first of which names the columns, as CSV, whole or not at all.

    What comes from a platform's own table is ``trusted``, and stays as it is.
    """
    text = io.StringIO(newline="")
    safe = (lambda value: value) if trusted else cell
    csv.writer(text).writerows([safe(value) for value in row] for row in rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode("utf-8-sig"))  # so that spreadsheets read Greek


def load(path) -> list:
    """Return the rows of a CSV file as dictionaries."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def scores(results: dict) -> list:
    """Return the table of points, one row a submission."""
    first = next(iter(results.values()))
    labels = [problem["label"] for problem in first["problems"]]
    rows = [["key", "student", "number", "late", "points", "most", *labels, "notes", "problem"]]
    for key, result in results.items():
        given = {p["label"]: value(p) for p in result["problems"]}
        rows.append(
            [
                key,
                result["student"],
                result["number"],
                "late" if result["late"] else "",
                points(result["points"] + (result.get("marked") or 0)),
                result["most"] + result["by_hand"],
                *(given.get(label, 0) for label in labels),
                "; ".join(result["notes"]),
                result["problem"],
            ]
        )
    return rows


def value(problem: dict):
    """Return the points of a problem: of tests, or of a person; "" where nobody has marked it."""
    if problem["got"] is not None:
        return problem["got"]
    return points(sum(problem["marks"])) if problem.get("marks") else ""


def ask_for_marks(path: Path, results: dict) -> None:
    """Write the table that a person fills in, unless it is there; add who is missing in it."""
    rows = [["key", "problem", "item", "most", "points"]]
    known = set()
    if path.exists():
        old = load(path)
        rows += [[row[name] for name in rows[0]] for row in old]
        known = {(row["key"], row["problem"], row["item"]) for row in old}
    for key, result in results.items():
        for problem in result["problems"]:
            for item in problem["rubric"]:
                if (cell(key), problem["label"], item["item"]) not in known:
                    rows.append([key, problem["label"], item["item"], item["points"], ""])
    if len(rows) > 1 + len(known) or not path.exists():
        save(path, rows)


def add_marks(path: Path, results: dict) -> None:
    """Add a person's marks to the results; a problem counts when all its items are marked.

    Raises
    ------
    ValueError
        Where a mark is no number from zero to its most.
    """
    given = {}
    for number, row in enumerate(load(path), start=2):
        text = row["points"].strip().replace(",", ".")
        try:
            points = float(text) if text else None
        except ValueError:
            points = -1.0
        if points is not None and not 0 <= points <= float(row["most"]):
            raise ValueError(
                f"{path}, line {number}: {text!r} is no number from 0 to {row['most']}"
            )
        given[row["key"], row["problem"], row["item"]] = points
    for key, result in results.items():
        marked = []
        for problem in result["problems"]:
            asked = [(cell(key), problem["label"], item["item"]) for item in problem["rubric"]]
            marks = [given.get(place) for place in asked]
            problem["marks"] = marks if marks and None not in marks else []
            marked += [sum(problem["marks"])] if problem["marks"] else []
        result["marked"] = sum(marked) if marked else None


def fill(table, results: dict, column: str, number: str, name: str) -> tuple:
    """Return a gradebook with a column filled in, and the keys that it has no row for.

    Parameters
    ----------
    table : path
        What the learning platform exports: Canvas's gradebook or Moodle's grading worksheet.
    results : dict
        By key.
    column : str
        The one to fill.
    number, name : str
        The columns that hold a student's number and name.
    """
    with open(table, encoding="utf-8-sig", newline="") as file:
        header, *rows = list(csv.reader(file))
    missing = [title for title in (column, number, name) if title not in header]
    if missing:
        raise ValueError(f"{table} has no column {missing[0]!r}; it has {', '.join(header)}")
    place = {title: header.index(title) for title in (column, number, name)}
    left = dict(results)
    for row in rows:
        digits = "".join(c for c in row[place[number]] if c.isdigit())
        for key, result in list(left.items()):
            by_number = result["number"] and result["number"] == digits
            if by_number or (not result["number"] and result["student"] == row[place[name]]):
                row[place[column]] = points(result["points"] + (result.get("marked") or 0))
                del left[key]
    return [header, *rows], sorted(left)
