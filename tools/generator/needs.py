"""What a notebook needs beyond the package's own dependencies: those of the extra ``practice``.

They are read from imports, without importing anything: of the notebook's cells, of the modules of
the package that these name, and of the recipes whose names stand in the cells.
"""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

EXTRA = "practice"
OWN = "companion"


def extras(project: dict) -> dict[str, str]:
    """Return what the extra requires, by the names of what is imported then."""
    found = {}
    for requirement in project.get("optional-dependencies", {}).get(EXTRA, ()):
        name, _, inside = re.match(r"([\w.-]+)(\[([\w,-]+)\])?", requirement).groups()
        for each in [name, *(inside.split(",") if inside else ())]:
            found[each.replace("-", "_")] = requirement
    return found


def needed(cells: list[str], root: Path, known: dict[str, str]) -> list[str]:
    """Return the requirements of a notebook, in the order of ``known``.

    A module that a cell or a named recipe imports counts as a whole, with what its functions import
    when they are called; of what it imports in turn, only what is imported at once.
    """
    trees = []
    for code in cells:
        with suppress(SyntaxError):  # a line that only IPython reads
            trees.append(ast.parse(code))
    names = {name for tree in trees for name in imports(tree, inside=True)}
    if any(name.startswith(f"{OWN}.recipes") for name in names):
        words = {n.value for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        recipes = registry(root)
        names |= {f"{OWN}.recipes.{recipes[word]}" for word in words & set(recipes)}
    names |= reached(names, root)
    found = {known[top] for name in names if (top := name.partition(".")[0]) in known}
    return [requirement for requirement in dict.fromkeys(known.values()) if requirement in found]


def registry(root: Path) -> dict[str, str]:
    """Return the modules of the recipes by the names of their experiments."""
    path = root / OWN / "recipes" / "__init__.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.exists() else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODULES":
            return ast.literal_eval(node.value)
    return {}


def reached(names: set[str], root: Path) -> set[str]:
    """Return all that these modules of the package import, and what these import in turn at once.

    Each module is read once, whatever the number of ways that lead to it.
    """
    found = set().union(*(imported(module(name, root), True) for name in names))
    new = found - names
    while new:
        new = set().union(*(imported(module(name, root), False) for name in new)) - found - names
        found |= new
    return found


def module(name: str, root: Path) -> str:
    """Return the text of a module of the package; nothing where there is none."""
    if name.partition(".")[0] == OWN:
        place = root.joinpath(*name.split("."))
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path.read_text(encoding="utf-8")
    return ""


@lru_cache(1024)  # a module is reached for many notebooks
def imported(text: str, inside: bool) -> frozenset[str]:
    """Return the dotted names that the text of a file imports."""
    return frozenset(imports(ast.parse(text), inside=inside))


def imports(tree: ast.AST, *, inside: bool) -> Iterator[str]:
    """Yield the dotted names that a file imports; with ``inside``, in its functions too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif inside or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imports(node, inside=inside)
