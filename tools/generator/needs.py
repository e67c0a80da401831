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
    for name in list(names):
        names |= reached(name, root, inside=True)
    found = {known[top] for name in names if (top := name.partition(".")[0]) in known}
    return [requirement for requirement in dict.fromkeys(known.values()) if requirement in found]


def registry(root: Path) -> dict[str, str]:
    """Return the modules of the recipes by the names of their experiments."""
    path = root / OWN / "recipes" / "__init__.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.exists() else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODULES":
            return ast.literal_eval(node.value)
    return {}


def reached(module: str, root: Path, *, inside: bool, seen: set | None = None) -> frozenset[str]:
    """Return all that a module of the package imports, and what these import in turn at once."""
    seen = set() if seen is None else seen
    if module in seen or module.partition(".")[0] != OWN:
        return frozenset()
    seen.add(module)
    place = root.joinpath(*module.split("."))
    paths = [p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()]
    if not paths:
        return frozenset()
    found = imported(paths[0].read_text(encoding="utf-8"), inside)
    for name in sorted(found):
        found |= reached(name, root, inside=False, seen=seen)
    return found


@lru_cache(1024)  # a module is reached by many ways, for many notebooks
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
