"""The command line of the recipes: a run stops, goes on and ends as if it had not stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from companion import recipes
from companion.recipes import launch
from companion.train import checkpoint
from companion.train.identity import digest
from tests.recipes import toy

TOY = Path(toy.__file__)
ONE = ["--optimizer", "ADOPT", "--lr", "0.01", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setattr(recipes, "MODULES", dict(recipes.MODULES))
    monkeypatch.setitem(sys.modules, "companion.recipes.toy", None)
    toy.install()


def call(*arguments, out):
    return launch.main([*map(str, arguments), "--out", str(out)])


def end(folder):
    """Return a run's last checkpoint, and its history without what a clock says."""
    (path,) = folder.glob("step-*.pt")
    content = checkpoint.read(path)
    history = pd.DataFrame(content["rows"])
    pd.testing.assert_frame_equal(history, pd.read_csv(folder / "history.csv"), rtol=1e-12)
    return content, history.drop(columns="seconds")


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_run_that_stops_and_goes_on_ends_with_the_same_bits(tmp_path, monkeypatch):
    """With dropout, batches of two epochs, two batches a step, a schedule and momentum."""
    smoke = ["toy", "--scale", "smoke", *ONE]
    assert call(*smoke, out=tmp_path / "whole") == 0
    squared, calls = toy.Model.squared, []

    def interrupted(model, batch):
        calls.append(model.training)
        if calls.count(True) in (3, 13) and model.training:  # in steps 2 and 7
            signal.raise_signal(signal.SIGINT)
        return squared(model, batch)

    monkeypatch.setattr(toy.Model, "squared", interrupted)
    for step in (2, 7, 12):
        status = call(*smoke, "--resume", out=tmp_path / "parts")
        assert status == (0 if step == 12 else launch.INTERRUPTED)
        (path,) = (tmp_path / "parts").glob("step-*")
        assert path.name == f"step-{step:08d}.pt"
        torch.manual_seed(step)  # what else the process draws
    (a, whole), (b, parts) = (end(tmp_path / name) for name in ("whole", "parts"))
    for name in ("model", "optimizer", "scheduler", "batches", "random"):
        assert digest(a[name]) == digest(b[name]), name
    pd.testing.assert_frame_equal(whole, parts, check_exact=True)


def test_steps_end_a_run_early_and_leave_its_schedule(tmp_path):
    assert call("toy", *ONE, out=tmp_path / "whole") == 0
    assert call("toy", *ONE, "--steps", 7, out=tmp_path / "parts") == 0
    assert end(tmp_path / "parts")[1].step.tolist() == [5, 7]
    assert call("toy", *ONE, "--resume", out=tmp_path / "parts") == 0
    a, b = (end(tmp_path / name)[0] for name in ("whole", "parts"))
    torch.testing.assert_close(a["model"], b["model"], rtol=0, atol=0)


def test_a_history_that_is_ahead_of_the_checkpoint_is_written_anew(tmp_path):
    assert call("toy", *ONE, "--steps", 5, out=tmp_path) == 0
    path = tmp_path / "history.csv"
    path.write_text(path.read_text() + "10,7.0,7.0,1\n")
    assert call("toy", *ONE, "--resume", out=tmp_path) == 0
    history = pd.read_csv(path)
    assert history.step.tolist() == [5, 10, 12]
    assert (history.loss < 1).all()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (["--lr", "0.02"], "cell was {'lr': 0.01} and is {'lr': 0.02}"),
        (["--optimizer", "Adam"], "cell was {'optimizer': 'ADOPT'}"),
        (["--seed", "1"], "cell was {'seed': 0}"),
        (["--scale", "smoke"], "recipe was 'toy, quick' and is 'toy, smoke'"),
        (["--precision", "bfloat16"], "precision was 'float32' and is 'bfloat16'"),
        (["--cell", "extra=3"], "cell was {} and is {'extra': 3}"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, capsys, change, names):
    assert call("toy", *ONE, "--steps", 1, out=tmp_path) == 0
    before = (tmp_path / "step-00000001.pt").read_bytes()
    assert call("toy", *ONE, *change, "--resume", out=tmp_path) == 2
    assert names in capsys.readouterr().err
    assert (tmp_path / "step-00000001.pt").read_bytes() == before


def test_a_changed_setting_of_the_recipe_is_refused(tmp_path, capsys, monkeypatch):
    assert call("toy", *ONE, "--steps", 1, out=tmp_path) == 0
    monkeypatch.setitem(toy.SCALES["toy"], "quick", toy.Settings(batch=7))
    assert call("toy", *ONE, "--resume", out=tmp_path) == 2
    assert "settings was {'batch': 10} and is {'batch': 7}" in capsys.readouterr().err


def test_a_folder_in_use_is_not_overwritten(tmp_path, capsys):
    assert call("toy", *ONE, "--steps", 1, out=tmp_path) == 0
    assert call("toy", *ONE, out=tmp_path) == 2
    assert "pass --resume to go on" in capsys.readouterr().err


def test_settings_are_shown_and_kept_once(tmp_path, capsys):
    assert call("toy", *ONE, "--steps", 6, out=tmp_path) == 0
    text = capsys.readouterr().out
    for line in ("optimizer        ADOPT", "batch            10", "parameters       170"):
        assert text.count(line) == 1
    assert "step 5/6  loss " in text
    assert " a step, 0:00:00 left" in text
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert kept["cell"] == {"phase": "report", "optimizer": "ADOPT", "lr": 0.01, "seed": 0}
    assert kept["settings"]["batch"] == 10


def test_without_an_optimizer_the_whole_comparison_runs(tmp_path, capsys):
    assert call("toy", out=tmp_path) == 0
    assert "2 runs finished" in capsys.readouterr().out
    assert set(pd.read_csv(tmp_path / "runs.csv").seed) == {0, 1}
    assert call("toy", out=tmp_path) == 0  # nothing is left to do


def test_a_recipe_with_its_own_loop_runs_in_one_process(tmp_path, capsys, monkeypatch):
    assert call("plain", *ONE, out=tmp_path / "a") == 0
    assert pd.read_csv(tmp_path / "a" / "history.csv").step.tolist() == [3]
    assert call("plain", *ONE, "--steps", 2, out=tmp_path / "b") == 2
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert call("plain", *ONE, out=tmp_path / "b") == 2
    assert "plain trains in one process" in capsys.readouterr().err


def test_a_step_size_is_asked_for_where_the_recipe_has_many(tmp_path, capsys):
    assert call("toy", "--optimizer", "Adam", out=tmp_path) == 2
    assert "--lr is needed: the recipe's grid is 0.01, 0.02" in capsys.readouterr().err


def test_an_optimizer_that_no_run_is_of_is_refused(tmp_path, capsys):
    assert call("toy", "--optimizer", "Adman", "--lr", 0.1, out=tmp_path) == 2
    assert "--optimizer" in capsys.readouterr().err
    assert call("sac", "--scale", "smoke", "--optimizer", "Adam", "--lr", 0.1, out=tmp_path) == 2
    assert "a run of sac trains all of them" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_scheduler_that_ends_a_run_finds_it_kept(tmp_path):
    here = {**os.environ, "PYTHONPATH": str(TOY.parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TOY), "toy", "--scale", "full", *ONE, "--out", str(tmp_path)]
    process = subprocess.Popen(command, env=here, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not (tmp_path / "history.csv").exists() and time.monotonic() < until:
        time.sleep(0.02)
    process.terminate()
    text, _ = process.communicate(timeout=60)
    assert process.returncode == launch.INTERRUPTED
    assert "interrupted; --resume goes on" in text
    (path,) = tmp_path.glob("step-*.pt")
    content = checkpoint.read(path)
    assert content["step"] == int(path.stem[5:]) >= 5
    assert content["batches"]["epoch"] * 4 + content["batches"]["position"] == 2 * content["step"]
