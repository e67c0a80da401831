"""Stored results: every table loads, says where it comes from, and travels with the package."""

import json
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from companion import results

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "companion" / "results"
NAMES = sorted(path.stem for path in FOLDER.glob("*.csv"))


@pytest.mark.parametrize("name", NAMES)
def test_a_table_says_where_it_comes_from(name):
    table = results.load(name)
    assert len(table)
    record = FOLDER / f"{name}.json"
    if record.exists():  # one a run
        table = pd.DataFrame(json.loads(record.read_text(encoding="utf-8"))["runs"])
    for column in ("torch", "python", "machine", "device", "date"):
        assert table[column].notna().all()


def test_tables_are_installed_with_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["package-data"]["companion.results"] == ["*.csv", "*.json"]


def test_an_unknown_table_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"networks-gpt.*got 'nothing'"):
        results.load("nothing")
