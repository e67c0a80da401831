"""The exercises of the chapters, read from their source and run as a reader's notebook does."""

import ast
import contextlib
import functools
import io
import re
import symtable
from pathlib import Path
from typing import NamedTuple

import torch

import companion

CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(?:---\n(?:.*\n)*?---\n)?((?:.*\n)*?)^```$", re.M)
BOOK = Path(companion.__file__).parents[1] / "book"
IMPORTS = (ast.Import, ast.ImportFrom)
BINDINGS = (ast.FunctionDef, ast.ClassDef, ast.Assign)
CHAPTERS = {
    re.search(r"from companion\.checks import (\w+)", text)[1]: text
    for text in (path.read_text("utf-8") for path in sorted(BOOK.glob("*/*.md")))
    if "from companion.checks import" in text
}


class Exercise(NamedTuple):
    chapter: str  # as the module of its checks is called
    label: str
    stub: str
    solution: str

    def calls(self) -> dict:
        """Return the checks that the solution calls, each with the names of its arguments."""
        found = (n for n in ast.walk(ast.parse(self.solution)) if isinstance(n, ast.Call))
        return {
            call.func.attr: [argument.id for argument in call.args]
            for call in found
            if getattr(call.func, "attr", "").startswith("check_")
        }


def code(text: str) -> str:
    """Return the code of all cells in a piece of a chapter."""
    return "\n".join(re.sub(r"^:.*\n", "", cell, flags=re.M) for cell in CELL.findall(text))


def exercises(chapter: str) -> list[Exercise]:
    """Return the exercises of a chapter that a check judges; proofs and projects have none."""
    section = CHAPTERS[chapter].partition("\n## Exercises")[2].partition("\n## ")[0]
    found = []
    for text in re.split(r"^`+\{exercise\}", section, flags=re.M)[1:]:
        stub, _, solution = text.partition("{solution-start}")
        label = re.search(r":label: (\S+)", stub)[1]
        found.append(Exercise(chapter, label, code(stub), code(solution)))
    return [exercise for exercise in found if exercise.calls()]


def namespace(chapter: str) -> dict:
    """Return a copy of what the exercises of a chapter find; sets its default dtype."""
    names, dtype = _defined(chapter)
    torch.set_default_dtype(dtype)
    return dict(names)


@functools.cache
def _defined(chapter: str) -> tuple[dict, torch.dtype]:
    """Run a chapter's imports, what its exercises ask for by name, and the solutions' functions."""
    before = ast.parse(code(CHAPTERS[chapter].partition("\n## Exercises")[0])).body
    cells = ast.parse("\n".join(e.stub + e.solution for e in exercises(chapter))).body
    body = [node for node in cells if isinstance(node, (*IMPORTS, ast.FunctionDef))]
    needed = set().union(*map(_asks, body))
    for node in reversed(before):
        if (
            isinstance(node, IMPORTS)
            or ast.unparse(node).startswith("torch.set_default_dtype(")
            or (isinstance(node, BINDINGS) and needed & _binds(node))
        ):
            body.insert(0, node)
            needed |= _asks(node)
    names = {"companion": companion}
    torch.set_default_dtype(torch.float32)
    exec(compile(ast.Module(body, []), chapter, "exec"), names)
    return names, torch.get_default_dtype()


def _binds(node) -> set:
    table = symtable.symtable(ast.unparse(node), "cell", "exec")
    return {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned()}


def _asks(node) -> set:
    """Return the names that a statement takes from outside, those of functions inside it too."""
    tables, names = [symtable.symtable(ast.unparse(node), "cell", "exec")], set()
    for table in tables:
        tables += table.get_children()
        names |= {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
    return names


def verdicts(source: str, names: dict) -> list[str]:
    """Run code in a namespace and return what its checks print."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(source, names)
    return re.findall(r"^check_\w+: .*", printed.getvalue(), re.M)
