"""One list of versions, one address, and an import that brings only what it needs."""

import re
import subprocess
import sys
import tomllib
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
INSTALLED = PROJECT["dependencies"] + [r for e in ("book", "test", "dev") for r in EXTRAS[e]]


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
    assert last == {"pip": ["-c constraints.txt", "-e .[book,test]"]}
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


@pytest.mark.parametrize("module", ["companion", "companion.optim"])
def test_import_leaves_heavy_modules_alone(module):
    heavy = ["IPython", "matplotlib", "pandas", "sklearn", "torch._dynamo"]
    code = (
        "import sys, torch; before = set(sys.modules); "
        f"import {module}; print(*sorted(set({heavy!r}) & (set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
