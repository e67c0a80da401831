"""Notebooks in which a person reads all answers to one proof or report, beside what to mark.

Jupyter typesets the mathematics. Students' code stands in them as text: nothing in them runs.
"""

import re

from companion.grade.submission import Cell, below

LONGEST = 5000  # characters of one text


def notebook(problem, submissions, source: str) -> dict:
    """Return the notebook of one problem, as data.

    Parameters
    ----------
    problem : companion.grade.master.Problem
    submissions : iterable of companion.grade.submission.Submission
    source : str
        The text of the set.
    """
    rubric = [f"- {item['points']}: {item['item']}" for item in problem.rubric]
    sample = ["**A sample answer**", "", problem.answer] if problem.answer else []
    head = [f"# {problem.title}", "", "**Points**", "", *rubric, "", *sample]
    cells = [markdown("\n".join(head))]
    for submission in submissions:
        found = below(submission, problem, source)
        if submission.path.suffix == ".py":
            found = [Cell(0, "A script: its text stands in its comments, if there is one.")]
        cells.append(markdown(f"## {submission.key}" + ("" if found else "\n\nNothing.")))
        cells += [shown(cell) for cell in found]
    metadata = {"language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}


def shown(cell: Cell) -> dict:
    """Return a cell of a student as one of text."""
    if not cell.code:
        return markdown(cell.source[:LONGEST], cell.images)
    parts = [fenced(cell.source, "python")]
    parts += [fenced(cell.printed, "text")] if cell.printed.strip() else []
    parts += [f"![{name}](attachment:{name})" for name in cell.images]
    return markdown("\n\n".join(parts), cell.images)


def fenced(text: str, kind: str) -> str:
    """Return a text between fences that it cannot close.

    Examples
    --------
    >>> print(fenced("x = 1", "python"))
    ```python
    x = 1
    ```
    """
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{kind}\n{text[:LONGEST]}\n{fence}"


def markdown(text: str, images=None) -> dict:
    """Return a cell of Markdown, with its pictures."""
    cell = {"cell_type": "markdown", "metadata": {}, "source": text}
    if images:
        cell["attachments"] = {name: {"image/png": data} for name, data in images.items()}
    return cell
