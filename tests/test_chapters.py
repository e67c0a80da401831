"""What every chapter keeps to, read from its source."""

import ast
import re
from pathlib import Path

import pytest
from pybtex.database import parse_file

BOOK = Path(__file__).resolve().parent.parent / "book"
CELL = re.compile(
    r"^```\{code-cell\}[^\n]*\n(---\n.*?\n---\n)?((?::[^\n]*\n)*)(.*?)^```$", re.M | re.S
)
CHAPTERS = sorted(path for path in BOOK.glob("*/*.md") if "## Exercises" in path.read_text("utf-8"))
KINDS = re.compile(r"^`{3,}\{exercise\} (Recall|Think|Open) ★{1,3}: \S", re.M)

chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def cells(path):
    """Return options and code of the cells of a chapter."""
    return [(head + tags, code) for head, tags, code in CELL.findall(path.read_text("utf-8"))]


@chapter
def test_imports_and_figures_are_folded(path):
    found = cells(path)
    assert found[0][1].startswith(("import ", "from "))
    assert "hide-input" in found[0][0]
    for options, code in found:
        if "figure:" in options:
            assert "hide-input" in options, code
        imports = [n for n in ast.parse(code).body if isinstance(n, ast.Import | ast.ImportFrom)]
        assert len(imports) < 3 or "hide-input" in options, code


@chapter
def test_cells_have_no_pragmas_of_tools(path):
    for _, code in cells(path):
        assert not re.search(r"#\s*(fmt|ruff|noqa|type|pragma|pylint|isort)\b", code), code


@chapter
def test_exercises_are_of_three_kinds(path):
    section = path.read_text("utf-8").partition("\n## Exercises")[2]
    labels = re.findall(r"^:label: (ex-\S+)", section, re.M)
    kinds = KINDS.findall(section)
    assert len(kinds) == len(re.findall(r"^`{3,}\{exercise\}", section, re.M))
    assert (3 if path.parent.name == "practice" else 5) <= len(kinds) <= 7
    assert set(kinds) == {"Recall", "Think", "Open"}
    for label in labels:
        assert f"{{solution-start}} {label}\n" in section, f"{label} has no model answer"


def test_references_have_no_formulas_that_pages_cannot_set():
    for key, entry in parse_file(str(BOOK / "references.bib")).entries.items():
        assert not re.search(r"\$|\\\w", "".join(entry.fields.values())), key
