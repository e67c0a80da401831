"""Cells of an experiment: each runs once, is kept whole, and a run that stops goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from companion.recipes import tuning
from companion.recipes.engine import Store, run

ROOT = Path(__file__).resolve().parents[2]


class Toy:
    """Halves a number: two cells choose, one a seed reports."""

    name, settings = "toy", {"width": 3, "lrs": [0.5, 1.0]}

    def __init__(self, folder=None, wait=0.0):
        self.folder, self.wait = folder, wait

    def plan(self, table):
        return tuning.plan(
            table, ["A"], self.settings["lrs"], [9], [0, 1], lambda t: tuning.lowest(t, "loss")
        )

    def train(self, cell):
        time.sleep(self.wait)
        if self.folder:
            with open(Path(self.folder, "log"), "a") as file:
                file.write(f"{cell['phase']} {cell['lr']:g} {cell['seed']}\n")
            kill = Path(self.folder, "kill")
            if cell["phase"] == "report" and kill.exists():
                kill.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        loss = [1 / 3, abs(1 - cell["lr"]) + cell["seed"] / 7]
        return pd.DataFrame({"step": [1, 2], "loss": loss})


CELLS = ["tune 0.5 9", "tune 1 9", "report 1 0", "report 1 1"]


def test_what_is_chosen_is_reported_on_other_seeds(tmp_path):
    table = run(Toy(), Store(tmp_path / "toy.csv", Toy.settings))
    last = tuning.final(table)
    assert last.lr.tolist() == [1.0, 1.0]
    assert last.seed.tolist() == [0, 1]
    again = Store(tmp_path / "toy.csv", Toy.settings)
    pd.testing.assert_frame_equal(again.table, table.reset_index(drop=True), rtol=1e-5)
    assert tuning.edges(table, tuning.lowest(table, "loss")) == ["A"]


def test_a_cell_runs_once_and_more_seeds_can_follow(tmp_path):
    store = Store(tmp_path / "toy.csv", Toy.settings)
    store.add(
        {"phase": "tune", "optimizer": "A", "lr": 1.0, "seed": 9},
        Toy().train({"lr": 1.0, "seed": 9, "phase": "tune"}),
        0,
        {},
    )
    run(Toy(tmp_path), store)
    run(Toy(tmp_path), Store(tmp_path / "toy.csv", Toy.settings))
    assert sorted((tmp_path / "log").read_text().split("\n")) == sorted(
        ["", *CELLS[:1], *CELLS[2:]]
    )


def test_a_table_that_is_ahead_of_its_record_loses_the_half_made_cell(tmp_path):
    store = Store(tmp_path / "toy.csv", Toy.settings)
    run(Toy(), store)
    record = (tmp_path / "toy.json").read_text()
    (tmp_path / "toy.json").write_text(record.replace('"seed": 1\n', '"seed": 2\n'))
    assert Store(tmp_path / "toy.csv", Toy.settings).table.seed.tolist() == [9] * 4 + [0] * 2


def test_other_settings_are_refused(tmp_path):
    run(Toy(), Store(tmp_path / "toy.csv", Toy.settings))
    with pytest.raises(ValueError, match="made with other settings: width"):
        Store(tmp_path / "toy.csv", {"width": 4, "lrs": [1.0]})
    assert len(Store(tmp_path / "toy.csv", {"width": 3, "lrs": [1.0]}).runs) == 4


@pytest.mark.skipif(os.name != "posix", reason="needs kill")
def test_a_killed_process_costs_nothing_but_time(tmp_path):
    (tmp_path / "kill").touch()
    table = run(Toy(tmp_path), Store(tmp_path / "toy.csv", Toy.settings), jobs=2)
    assert len(table) == 8
    assert not table.duplicated().any()
    assert set((tmp_path / "log").read_text().split("\n")) == {"", *CELLS}


SCRIPT = """
from tests.recipes.test_engine import Toy
from companion.recipes.engine import Store, run
if __name__ == "__main__":
    run(Toy({folder!r}, 0.4), Store({folder!r} + "/toy.csv", Toy.settings), jobs={jobs})
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_keeps_what_is_in_hand_and_the_same_call_goes_on(tmp_path, jobs):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(tmp_path), jobs=jobs))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(script)], env=environment, start_new_session=True
    )
    until = time.monotonic() + 60
    while not (tmp_path / "toy.json").exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    before = Store(tmp_path / "toy.csv", Toy.settings)
    assert 1 <= len(before.runs) < 4
    assert len(run(Toy(tmp_path), before)) == 8
    assert len((tmp_path / "log").read_text().split()) == 3 * 4


def test_shards_share_the_cells():
    stores = [Store(None, Toy.settings) for _ in range(2)]
    for i in range(2):
        run(Grid(), stores[i], shard=(i, 2))
    seeds = [set(store.table.seed) for store in stores]
    assert seeds == [{0, 2}, {1}]


class Grid(Toy):
    def plan(self, table):
        return [{"phase": "report", "optimizer": "A", "lr": 1.0, "seed": s} for s in range(3)]


def test_a_seed_cannot_choose_and_report():
    with pytest.raises(ValueError, match=r"seeds: \[1\] would choose"):
        tuning.plan(pd.DataFrame(), ["A"], [1.0], [1, 2], [0, 1], None)


def test_without_seeds_of_a_choice_there_is_nothing_to_choose():
    cells = tuning.plan(pd.DataFrame(), ["A", "B"], {"A": [0.5], "B": [1.0]}, (), [3])
    assert [tuple(cell.values()) for cell in cells] == [
        ("report", "A", 0.5, 3),
        ("report", "B", 1.0, 3),
    ]
    with pytest.raises(ValueError, match="tuning: no seeds to choose"):
        tuning.plan(pd.DataFrame(), ["A"], [0.5, 1.0], (), [3])
