"""Tasks on many machines: nothing is lost, nothing is done twice, and one place writes."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from benchmarks import claims, practice, spread
from benchmarks.claims import parts
from benchmarks.claims.__main__ import collect, measure
from companion.recipes import engine, tuning
from tests.recipes.test_engine import CELLS, Toy

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ["phase", "optimizer", "lr", "seed", "step"]


def ordered(table):
    return table.sort_values(COLUMNS).reset_index(drop=True)


def log(folder):
    path = folder / "log"
    return sorted(path.read_text().split("\n")[:-1]) if path.exists() else []


@pytest.mark.parametrize("text", ["3/3", "-1/2", "1", "a/b", "0/0"])
def test_a_share_is_one_of_n(text):
    with pytest.raises(argparse.ArgumentTypeError, match="such as 0/8"):
        spread.share(text)


def test_shards_choose_first_and_report_when_the_grid_is_merged(tmp_path):
    toy = Toy(tmp_path)

    def store():
        return engine.Store(tmp_path / "toy.csv", toy.settings)

    def jobs():
        return [practice.shard_run(toy, store(), tmp_path, (i, 2)) for i in range(2)]

    said = jobs()
    assert log(tmp_path) == CELLS[:2]  # the grid, half of it each
    assert "merge when all shards have ended" in said[0]
    jobs()
    assert log(tmp_path) == CELLS[:2]  # neither twice nor further before the merge
    assert "2 runs are left (report): start the same jobs again" in practice.merge(
        toy, store(), tmp_path
    )
    jobs()
    assert practice.merge(toy, store(), tmp_path).endswith(
        "2 runs taken over: all that is planned is there"
    )
    assert log(tmp_path) == sorted(CELLS)
    alone = engine.run(Toy(), engine.Store(None, toy.settings))
    pd.testing.assert_frame_equal(
        ordered(store().table), ordered(alone), rtol=1e-5, check_dtype=False
    )
    assert practice.merge(toy, store(), tmp_path).startswith("2 tables, 0 runs")


def test_a_choice_needs_the_runs_of_all_shards(tmp_path):
    toy = Toy()
    whole = engine.Store(tmp_path / "toy.csv", toy.settings)
    practice.shard_run(toy, whole, tmp_path, (0, 2))
    assert "2 tables" not in practice.merge(toy, whole, tmp_path)
    practice.shard_run(toy, whole, tmp_path, (0, 2))
    assert tuning.final(whole.known(), "report").empty


@pytest.fixture
def seeded(monkeypatch, tmp_path):
    """A claim in blocks of two seeds, which logs what it measures."""
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(claims, "CLAIMS", {})
    measured = []

    @claims.claim(
        id="squares",
        source="xie2024",
        where="Lemma 1",
        chapter="geometry/01_norms",
        says="Squares are positive.",
        rule="Reproduced: they are.",
        verdict=lambda m: claims.grade(m["least"] > 0),
        summary=lambda raw: {"least": min(raw["square"])},
        settings={"power": 2},
        seeds=range(1, 6),
        block=2,
    )
    def squares(settings, seeds):
        """Square them."""
        measured.append(seeds)
        return {"square": [seed ** settings["power"] for seed in seeds]}

    for module in (parts, __import__("benchmarks.claims.__main__", fromlist=["x"])):
        monkeypatch.setattr(module, "load_all", lambda: claims.CLAIMS)
    return SimpleNamespace(claim=claims.CLAIMS["squares"], measured=measured)


def test_blocks_of_seeds_make_the_result_that_one_machine_makes(seeded, tmp_path):
    claim = seeded.claim
    options = SimpleNamespace(on="here", parts=tmp_path / "parts")
    for i in (0, 0, 1):  # the first one again: it has nothing to do
        options.shard = (i, 2)
        assert collect([claim], options.parts) == (1 if seeded.measured else 0)
        assert not claim.path.exists()
        measure([claim], options)
    assert seeded.measured == [(1, 2), (5,), (3, 4)]
    assert collect([claim], options.parts) == 0
    joined = claim.load()
    assert joined["raw"] == {"square": [1.0, 4.0, 9.0, 16.0, 25.0]}
    assert list(options.parts.iterdir()) == []
    alone = claim.run()
    different = {name for name in alone if alone[name] != joined[name]} - {"seconds", "date"}
    assert different == set()


def test_a_part_of_other_settings_is_measured_again(seeded, tmp_path):
    claim = seeded.claim
    options = SimpleNamespace(on="here", shard=(0, 1), parts=tmp_path)
    measure([claim], options)
    claim.settings["power"] = 4
    assert collect([claim], tmp_path) == 0  # nothing is there, so nothing is missing
    assert not claim.path.exists()
    measure([claim], options)
    assert len(seeded.measured) == 6


RAY = """
import json, sys
from pathlib import Path
import ray
from benchmarks import practice, spread
from companion.recipes import engine
from tests.recipes.test_engine import Toy

def inverse(x):
    return 1 / x

try:
    ray.init(num_cpus=1, include_dashboard=False)
except Exception as error:  # it gives its processes half a minute to start
    print(error, file=sys.stderr)
    sys.exit(77)
folder = Path(sys.argv[1])
toy, lengths, done = Toy(folder), [], []
for _ in range(2):  # the second time nothing is left to do
    engine.run(toy, engine.Store(folder / "toy.csv", toy.settings), spread=practice.on_ray)
    lengths.append(len((folder / "log").read_text().splitlines()))
try:
    done += spread.on_ray(inverse, [2, 4])
    for found in spread.on_ray(inverse, [1, 0, 2]):
        done.append(found)
except ZeroDivisionError:
    done.append("failed")
(folder / "said.json").write_text(json.dumps([lengths, done]))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs kill")
def test_on_ray_a_lost_worker_costs_time_alone_and_a_failure_stops_no_other(tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "kill").touch()
    script = tmp_path / "driver.py"
    script.write_text(RAY)
    spaced = tmp_path / "an environment"  # as it may be called
    spaced.symlink_to(sys.prefix, target_is_directory=True)
    python = spaced / Path(sys.executable).relative_to(sys.prefix)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COMPANION_PROGRESS": "0"}
    run = subprocess.run(
        [str(python), str(script), str(tmp_path)], timeout=600,
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode == 77:
        pytest.skip(f"Ray does not start here: {run.stderr[-300:]}")
    assert run.returncode == 0, run.stderr
    assert not (tmp_path / "kill").exists()  # a worker has died in the middle of a cell
    assert set(log(tmp_path)) == set(CELLS)
    lengths, done = json.loads((tmp_path / "said.json").read_text())
    assert lengths == [len(CELLS) + 1] * 2
    toy = Toy()
    found = engine.Store(tmp_path / "toy.csv", toy.settings).table
    alone = engine.run(toy, engine.Store(None, toy.settings))
    pd.testing.assert_frame_equal(ordered(found), ordered(alone), rtol=1e-5, check_dtype=False)
    assert sorted(done[:2]) == [[2, 0.5], [4, 0.25]]
    assert sorted(done[2:-1]) == [[1, 1.0], [2, 0.5]]
    assert done[-1] == "failed"
