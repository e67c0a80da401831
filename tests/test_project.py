"""One list of versions, one address, and an import that brings only what it needs."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONSTRAINTS = {
    canonicalize_name(pin.name): pin
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
    for pin in [Requirement(line)]
}
INSTALLED = PROJECT["dependencies"] + [
    r for e in ("book", "test", "slides", "dev") for r in EXTRAS[e]
]


def files():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_environment_installs_this_project_and_lists_no_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, last = environment["dependencies"]
    assert last == {"pip": ["-c constraints.txt", "-e .[book,test,practice]"]}
    assert {"book", "test"} <= set(EXTRAS)
    for entry in conda:
        assert re.match(r"(python\b.*|[\w-]+)$", entry), f"{entry}: versions stand in constraints"
    python = next(entry for entry in conda if entry.startswith("python"))
    assert PROJECT["requires-python"] in python


def test_every_constraint_is_one_exact_public_version():
    for name, pin in CONSTRAINTS.items():
        (version,) = pin.specifier
        assert version.operator == "==", name
        assert Version(version.version).local is None, name


@pytest.mark.parametrize("requirement", INSTALLED)
def test_constraint_meets_the_bound(requirement):
    bound = Requirement(requirement)
    (pin,) = CONSTRAINTS[canonicalize_name(bound.name)].specifier
    assert bound.specifier.contains(pin.version)


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_package_sets_lower_bounds_only(requirement):
    assert [s.operator for s in Requirement(requirement).specifier] == [">="]


def test_address_of_the_repository_stands_in_one_place():
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    address = yaml.safe_load(config)["repository"]["url"].removeprefix("https://")
    holders = [
        path.relative_to(ROOT).as_posix()
        for path in files()
        if path.suffix != ".ipynb"  # generated from _config.yml, which another test makes sure of
        and address.encode() in path.read_bytes()
    ]
    assert holders == ["_config.yml"]
    assert config.count(address) == 1


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["title"] == config["title"]


def test_no_file_is_large():
    assert [path.name for path in files() if path.stat().st_size > 1_000_000] == []


def sources(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path, names):
    """Modules among ``names`` that a file imports when it is imported itself."""

    def statements(node):
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                yield from () if typing else [child, *statements(child)]

    package = path.relative_to(ROOT).parent.parts
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            start = ".".join([*above, *filter(None, [node.module])])
            inner = [f"{start}.{alias.name}" for alias in node.names]
            found = [name if name in names else start for name in inner]
        else:
            continue
        yield from (name for name in found if name in names)


def graph(room):
    """What imports what in the package: modules, or (with ``room``) its folders and files."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sources("companion")
    }
    shown = {name: ".".join(name.split(".")[: 2 if room else None]) for name in paths}
    arrows = {name: set() for name in shown.values()}
    for name, path in paths.items():
        arrows[shown[name]] |= {shown[other] for other in imports(path, paths)} - {shown[name]}
    return arrows


@pytest.mark.parametrize("room", [False, True], ids=["modules", "rooms"])
def test_nothing_imports_in_a_circle(room):
    arrows = graph(room)
    while free := [name for name, to in arrows.items() if not to & set(arrows)]:
        for name in free:
            del arrows[name]
    way = list(arrows)[:1]
    while way and way[-1] not in way[:-1]:  # what is left leads on for ever
        way.append(min(arrows[way[-1]] & set(arrows)))
    assert way[way.index(way[-1]) if way else 0 :] == []


def test_files_and_functions_are_short():
    long = []
    for path in sources("companion", "tools"):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        if text.count("\n") > 300:
            long.append(f"{name}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                documented = ast.get_docstring(node) is not None
                first = node.body[0].end_lineno if documented else node.lineno
                if node.end_lineno - first > 50:
                    long.append(f"{name}:{node.lineno}: {node.end_lineno - first} lines")
    assert long == []


DOCUMENTS = ["README.md", "CONTRIBUTING.md"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_exists(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"`([\w.-]*/[\w./-]*|[\w-]+\.(?:md|toml|txt|yml))`|\]\(([\w./-]+)\)", text)
    paths = {path or link for path, link in named}
    assert len(paths) > 3
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


EXAMPLES = re.findall(
    r"^```python\n(.*?)^```",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_of_the_readme_run_without_a_warning(example, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(example, "README.md", "exec"), {})


def test_the_readme_lists_every_optimizer():
    from companion import optim

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in optim.__all__ if f"`{name}`" not in text] == []


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_keeps_the_settings_of_the_caller_out(tmp_path):
    place = tmp_path / "a b" / "c$d'e"
    place.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", place)
    leaks = [
        "MPLBACKEND",
        "MATPLOTLIBRC",
        "JUPYTER_PATH",
        "IPYTHON_X",
        "PYTHONSTARTUP",
        "PYTHONPATH",
        "PIP_TARGET",
        "PIP_NO_DEPS",
        "PYTEST_ADDOPTS",
    ]
    moved = ["MPLCONFIGDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"]
    kept = ["PIP_INDEX_URL", "PIP_CERT", "CXX"]
    run = subprocess.run(
        ["make", "--no-print-directory", "--eval", "show: ; @env", "show"],
        cwd=place,
        env={**os.environ, **dict.fromkeys([*leaks, *moved, *kept], "of the caller")},
        capture_output=True,
        text=True,
        check=True,
    )
    seen = dict(line.split("=", 1) for line in run.stdout.splitlines() if "=" in line)
    assert set(leaks) & set(seen) == set()
    assert {name: seen[name] for name in kept} == dict.fromkeys(kept, "of the caller")
    assert all(seen[name].startswith(f"{place}/.venv/") for name in moved)


@pytest.mark.parametrize("module", ["companion", "companion.optim"])
def test_import_leaves_heavy_modules_alone(module):
    heavy = ["IPython", "matplotlib", "pandas", "sklearn", "torch._dynamo"]
    code = (
        "import sys, torch; before = set(sys.modules); "
        f"import {module}; print(*sorted(set({heavy!r}) & (set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


@pytest.mark.elsewhere
def test_what_is_not_measured_is_not_traced():
    assert type(sys.gettrace()).__module__ != "coverage"
