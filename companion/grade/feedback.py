"""The page that a student gets back: what holds, what does not and where, what a person marks."""

from html import escape

STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2rem; font-size: 1.2rem; }
ul { list-style: none; padding: 0; }
li { margin: .5rem 0; padding-left: 1.6rem; text-indent: -1.6rem; }
p, li { overflow-wrap: anywhere; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; }
td:last-child, th:last-child { text-align: right; }
.told { display: block; text-indent: 0; }
"""
REFUSED = " is not offered in this problem set"
IN_GRADING = " is switched off while we grade; that is fine in a report, but not in an answer"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: {student}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{student}: <strong>{points}</strong></p>
{body}
</main>
</body>
</html>
"""


def page(result: dict, title: str) -> str:
    """Return the feedback on one submission as a page of HTML that needs nothing else.

    It holds the smallest failing case of each test, and never a solution.
    """
    body = []
    if result.get("problem"):
        body.append(f"<p>{escape(result['problem'])}.</p>")
    if told := explained(result):
        body.append("<h2>While your notebook ran</h2><ul>")
        for cell, error in told.items():
            body.append(f"<li>Cell {escape(cell)}: {escape(error)}</li>")
        body.append("</ul><p>The other cells ran all the same.</p>")
    for problem in result["problems"]:
        body += by_hand(problem) if problem["rubric"] else by_tests(problem)
    return PAGE.format(
        title=escape(title),
        student=escape(result["student"]),
        style=STYLE,
        points=escape(total(result)),
        body="\n".join(body),
    )


def explained(result: dict) -> dict:
    """Return what each cell's error is called, by the number of the cell.

    What a cell as it was handed out uses of the package is nobody's error.

    Examples
    --------
    >>> refused = "Refused: companion.data is not offered in this problem set: write it yourself"
    >>> errors = {"3": refused, "4": "NameError: name 'x' is not defined"}
    >>> explained({"errors": errors, "handed_out": ["1", "3"]})
    {'4': "NameError: name 'x' is not defined; it may follow from cell 3"}
    """
    found, first = {}, ""
    for cell, error in result["errors"].items():
        name, refused, _ = error.partition(REFUSED)
        if refused:
            first, error = first or cell, f"{name.removeprefix('Refused: ')}{IN_GRADING}"
            if cell in result["handed_out"]:
                continue
        elif first and error.startswith("NameError"):
            error += f"; it may follow from cell {first}"
        found[cell] = error
    return found


def total(result: dict) -> str:
    """Return the points of a result in words.

    Examples
    --------
    >>> total({"points": 70, "most": 74, "by_hand": 26})
    '70 of 74 points by tests; 26 more are marked by a person'
    >>> total({"points": 70, "most": 74, "by_hand": 26, "marked": 20})
    '90 of 100 points'
    """
    marked, most = result.get("marked"), result["most"] + result["by_hand"]
    if marked is not None or not result["by_hand"]:
        return f"{result['points'] + (marked or 0):g} of {most} points"
    more = f"{result['by_hand']} more are marked by a person"
    return f"{result['points']} of {result['most']} points by tests; {more}"


def by_tests(problem: dict) -> list:
    """Return the lines of a problem that tests have marked.

    Examples
    --------
    >>> test = {"name": "the ends", "points": 1, "got": 1, "message": ""}
    >>> by_tests({"title": "Ends", "got": 1, "points": 1, "tests": [test]})[1]
    '<li>✓ the ends (right, 1 point)</li>'
    """
    lines = [f"<h2>{escape(problem['title'])}: {problem['got']} of {problem['points']}</h2><ul>"]
    for test in problem["tests"]:
        mark, word = ("✓", "right") if test["got"] == test["points"] else ("✗", "lost")
        points = f"{test['points']} point{'s' * (test['points'] != 1)}"
        text = f"{mark} {escape(test['name'])} ({word}, {points})"
        told = f'<span class="told">{escape(test["message"])}</span>' if test["message"] else ""
        lines.append(f"<li>{text}{told}</li>")
    return [*lines, "</ul>"]


def by_hand(problem: dict) -> list:
    """Return the lines of a problem that a person marks: its rubric, with marks if there are."""
    marks = problem.get("marks")
    got = f"{sum(marks):g} of {problem['points']}" if marks else f"{problem['points']} points"
    lines = [f"<h2>{escape(problem['title'])}: {got}</h2>"]
    lines.append("<table><tr><th>A person marks</th><th>points</th></tr>")
    for number, item in enumerate(problem["rubric"]):
        given = f"{marks[number]:g} of " if marks else ""
        lines.append(f"<tr><td>{escape(item['item'])}</td><td>{given}{item['points']}</td></tr>")
    lines.append("</table>")
    if not problem["written"]:
        lines.append("<p>We found no text of yours below the title of this problem.</p>")
    return lines
