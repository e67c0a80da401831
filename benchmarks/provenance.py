"""Where a result comes from: versions, commit, machine, device and date, and the code behind it."""

import ast
import hashlib
import io
import platform
import subprocess
import tokenize
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pandas as pd
import torch

import companion

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("benchmarks", "companion")
MACHINERY = ("benchmarks.claims", "benchmarks.provenance", "companion.progress")  # measures nothing


def provenance(device="cpu") -> dict[str, str]:
    """Return what a result's readers need to know beside its settings and seeds."""
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu"
    return {
        "version": companion.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "device": name,
        "date": datetime.now(UTC).date().isoformat(),
    }


def commit(root: Path = ROOT) -> str:
    """Return the commit of a checkout, with "modified" where its code is not that of the commit.

    "unknown" without git or outside a checkout of its own, such as an unpacked archive.
    """
    try:
        top = _git(root, "rev-parse", "--show-toplevel")
        if Path(top).resolve() != root.resolve():
            return "unknown"
        short = _git(root, "rev-parse", "HEAD")[:12]
        changed = _git(root, "status", "--porcelain", "--", *(f"{p}/*.py" for p in PACKAGES))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{short}, modified" if changed else short


def code(function, root: Path = ROOT) -> dict[str, str]:
    """Return a hash of each file of this repository that a function runs, by path.

    Of its own file only what the function uses counts; elsewhere imports are followed to the files
    that define the imported names. Comments and docstrings do not count: a hash tells whether what
    runs has changed.
    """
    module = function.__module__
    file = _file(module, root)
    if file is None:
        return {}
    own, imports = _used(function.__name__, module, file)
    found: set[Path] = set()
    for source, name in imports:
        _follow(_definer(source, name, root), root, found)
    digests = {p.relative_to(root).as_posix(): _digest(p.read_bytes()) for p in sorted(found)}
    return {file.relative_to(root).as_posix(): own} | digests


def changed(function, recorded: dict[str, str], root: Path = ROOT) -> list[str]:
    """Return the recorded files whose code is another by now, or that no longer count."""
    now = code(function, root)
    return [name for name, digest in recorded.items() if now.get(name) != digest]


def append(path: Path, frame: pd.DataFrame) -> None:
    """Add rows to a table on disk, which may lack some of their columns."""
    if path.exists():
        header = pd.read_csv(path, nrows=0).columns
        if set(header) != set(frame.columns):
            frame = pd.concat([pd.read_csv(path, dtype=str), frame])
        else:
            return frame[header].to_csv(path, mode="a", header=False, index=False)
    return frame.to_csv(path, index=False)


def _git(root, *arguments):
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _file(module: str, root: Path) -> Path | None:
    """Return the file of a module of this repository, None for one from elsewhere."""
    place = root.joinpath(*module.split("."))
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if module.split(".")[0] in PACKAGES and file.is_file():
            return file
    return None


def _follow(module: str, root: Path, found: set[Path]) -> None:
    """Add the file of a module, and the files of all that it imports."""
    file = _file(module, root)
    if file is None or file in found or module in MACHINERY:
        return
    found.add(file)
    for source, name in _imports(_package(module, file), file.read_bytes()):
        _follow(_definer(source, name, root), root, found)


def _definer(source: str, name: str | None, root: Path) -> str:
    """Return the module that defines a name: a package often only hands it on."""
    file = _file(source, root)
    if name is None or file is None:
        return source
    if _file(f"{source}.{name}", root):
        return f"{source}.{name}"
    for origin, other in _imports(_package(source, file), file.read_bytes()):
        if other == name and origin != source:
            return _definer(origin, name, root)
    return source


def _package(module: str, file: Path) -> str:
    return module if file.name == "__init__.py" else module.rpartition(".")[0]


@cache
def _imports(package: str, source: bytes) -> list[tuple[str, str | None]]:
    """Return the imports of a file, anywhere in it: (module, name), the name None for a module."""
    nodes = ast.walk(ast.parse(source))
    return [pair for node in nodes for _, *pair in _bound(node, package)]


def _bound(node: ast.AST, package: str):
    """Yield what an import statement binds: the local name, the module and the name in it."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.split(".")[0], alias.name, None
    elif isinstance(node, ast.ImportFrom):
        parents = package.split(".")[: len(package.split(".")) - node.level + 1]
        source = ".".join(filter(None, (".".join(parents) if node.level else "", node.module)))
        for alias in node.names:
            yield alias.asname or alias.name, source, alias.name


def _used(function: str, module: str, file: Path):
    """Return a hash of what a function uses of its own file, and the imports among it."""
    source = file.read_bytes()
    tree, lines = ast.parse(source), _bare(source)
    top: dict[str, ast.AST] = {}
    imports = {}
    for node in tree.body:
        imports |= {n: pair for n, *pair in _bound(node, _package(module, file))}
        targets = node.targets if isinstance(node, ast.Assign) else [node]
        for target in targets:
            name = getattr(target, "name", None) or getattr(target, "id", None)
            names = [name] if name else [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]
            top |= dict.fromkeys(names, node)
    todo, seen = [function], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for child in getattr(top.get(name), "body", [top.get(name)]):
            todo += [n.id for n in ast.walk(child or ast.Pass()) if isinstance(n, ast.Name)]
    kept = {id(top[name]): top[name] for name in seen if name in top}
    text = [
        line
        for node in sorted(kept.values(), key=lambda node: node.lineno)
        for line in lines[node.lineno - 1 : node.end_lineno]
    ]
    return _hash(text), [pair for name, pair in imports.items() if name in seen]


def _bare(source: bytes) -> list[str]:
    """Return the lines of a file without its comments and docstrings."""
    lines = source.decode("utf-8").splitlines()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            for i in range(node.body[0].lineno - 1, node.body[0].end_lineno):
                lines[i] = ""
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return lines


@cache
def _digest(source: bytes) -> str:
    return _hash(_bare(source))


def _hash(lines: list[str]) -> str:
    text = "\n".join(line.rstrip() for line in lines if line.strip())
    return hashlib.sha256(text.encode()).hexdigest()[:12]
