"""Images: what is planned, what is learnt from, what decays, and that every scale runs."""

import math
from argparse import Namespace
from dataclasses import replace

import pandas as pd
import pytest
import torch

from companion import recipes
from companion.optim import ADOPT, Adam
from companion.recipes import engine, image_data, image_grids, images, launch, loop, report

NAMES = ["resnet", "swin", "sensitivity", "phase"]


def cell(optimizer, lr=0.01, phase="report"):
    return {"phase": phase, "optimizer": optimizer, "lr": lr, "seed": 0}


@pytest.mark.parametrize("name", NAMES)
def test_each_variant_trains(name):
    experiment = recipes.experiment(name, "smoke")
    first, *_, last = experiment.choices
    for variant in (first, last):
        history = experiment.train(cell(variant))
        assert history.step.tolist() == [2, 3]
        assert history.notna().all(axis=None)


def test_the_whole_comparison_runs_and_is_reported():
    experiment = recipes.experiment("resnet", "smoke")
    table = engine.run(experiment, engine.Store(None, experiment.settings))
    assert report.seeds(table, "test_accuracy").shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "variant"),
    [("sensitivity", "ADOPT, no clip"), ("phase", "ADOPT, β₁ = 0.9, β₂ = 0"), ("resnet", "Adam")],
)
def test_the_command_line_runs_a_variant_that_is_planned_late(name, variant):
    experiment = recipes.experiment(name, "full")
    options = Namespace(name=name, optimizer=variant, lr=1e-3, seed=0, cell=[])
    assert launch.cell_of(experiment, options) == cell(variant, 1e-3)
    options.optimizer = f"{variant}, or so"
    with pytest.raises(ValueError, match="--optimizer"):
        launch.cell_of(experiment, options)


@pytest.mark.parametrize("name", ["sensitivity", "phase"])
def test_variants_take_the_step_size_of_their_rule(name):
    experiment = recipes.experiment(name, "stored")
    first = experiment.plan(pd.DataFrame())
    assert {c["optimizer"] for c in first} == {"Adam", "ADOPT"}
    best = {"Adam": 1e-3, "ADOPT": 3e-3}
    table = pd.DataFrame(first).assign(step=1)
    table["test_loss"] = (table.lr != table.optimizer.map(best)).astype(float)
    reported = experiment.plan(table)[len(first) :]
    assert len(reported) == len(experiment.choices) * 3
    assert all(c["lr"] == best[c["optimizer"].partition(",")[0]] for c in reported)


def test_one_thing_is_changed_at_a_time():
    for name, rule in image_grids.RULES.items():
        centre, *others = (
            {"betas": image_grids.BETAS[name], "clip_lambda": 0.25, "schedule": v.schedule}
            | v.options
            for v in image_grids.around(name).values()
        )
        assert tuple(rule([torch.zeros(1)]).defaults["betas"]) == centre["betas"]
        assert all(sum(a[k] != centre[k] for k in centre) == 1 for a in others)


def test_a_grid_has_each_pair_once():
    for name in image_grids.RULES:
        pairs = [
            v.options.get("betas", image_grids.BETAS[name])
            for v in image_grids.crossed(name).values()
        ]
        grid = [(a, b) for a in image_grids.BETA1 for b in image_grids.BETA2]
        assert len(set(pairs)) == len(pairs)
        assert set(grid) | {image_grids.BETAS[name]} == set(pairs)


def test_images_held_back_are_not_learnt_from():
    learn, held = image_data.parts("digits", 1, 300)
    everything, test = image_data.parts("digits", 1, 0)
    assert (len(learn.y), len(held.y), len(everything.y), len(test.y)) == (1137, 300, 1437, 360)
    rows = torch.cat([learn.x, held.x]).flatten(1).sort(0).values
    assert torch.equal(rows, everything.x.flatten(1).sort(0).values)


def test_pixels_are_averaged():
    fine, coarse = image_data.tensors("digits", 1)[1], image_data.tensors("digits", 2)[1]
    torch.testing.assert_close(coarse.x[5, 0, 1, 2], fine.x[5, 0, 2:4, 4:6].mean())


def test_relative_positions_biases_and_norms_do_not_decay():
    experiment = recipes.experiment("swin", "quick")
    task = experiment.task(cell("ADOPT"))
    decayed, kept = task.optimizer(task.model).param_groups
    names = {id(p): name for name, p in task.model.named_parameters()}
    assert decayed["weight_decay"] == experiment.settings["weight_decay"]
    assert decayed["decoupled"]
    assert kept["weight_decay"] == 0
    assert {names[id(p)].rpartition(".")[2] for p in decayed["params"]} == {"weight"}
    assert not any("norm" in names[id(p)] for p in decayed["params"])
    assert len(decayed["params"]) + len(kept["params"]) == len(names)


def test_the_step_size_rises_in_the_variants_with_warm_up():
    s = replace(images.RESNET, steps=100, warmup=10)
    rise, fall = (images.schedule(s, name) for name in ("warm-up", "cosine"))
    assert [rise(t) for t in (0, 4, 9)] == [0.1, 0.5, 1.0]
    assert fall(0) == 1
    assert fall(50) == pytest.approx(0.5)
    assert images.schedule(s, "constant") is None
    assert images.schedule(s, "root")(300) == 0.5


def test_a_run_that_diverges_has_a_row_of_infinite_loss():
    settings = replace(images.SCALES["resnet"]["smoke"], steps=8, every=1, batch=4)
    experiment = images.Experiment("resnet", settings)
    experiment.choices = {"ADOPT": images.Variant(ADOPT, {"eps": 0.0, "clip_lambda": None})}
    last = experiment.train(cell("ADOPT", lr=1e30)).iloc[-1]
    assert (last.loss, last.test_loss, last.test_accuracy) == (math.inf, math.inf, 0)


def test_an_image_net_of_ones_own_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="imagenet/train: expected a folder of images"):
        recipes.experiment("swin", "full").task(cell("ADOPT"))


def test_differences_are_paired_with_the_centre():
    experiment = recipes.experiment("sensitivity", "stored")
    rows = [
        cell(name, 0.1) | {"seed": seed, "step": 1, "test_loss": seed + shift}
        for name, shift in {"ADOPT": 0.0, "ADOPT, no clip": 0.5, "Adam": 9.0}.items()
        for seed in range(3)
    ]
    found = image_grids.differences(pd.DataFrame(rows), "ADOPT", "test_loss")
    assert found.index.tolist() == ["no clip"]
    assert found.iloc[0].tolist() == [0.5, 0.5, 0.5, "higher"]
    assert "ADOPT, no clip" in experiment.choices


def test_a_field_has_a_row_for_each_beta2():
    rows = [
        cell(name, 0.1) | {"step": 1, "loss": v.options.get("betas", (0.9, 0.9999))[1]}
        for name, v in image_grids.crossed("ADOPT").items()
    ]
    field = image_grids.field(pd.DataFrame(rows), "ADOPT", "loss")
    assert field.index.tolist() == list(image_grids.BETA2)
    assert field.columns.tolist() == list(image_grids.BETA1)
    assert (field.to_numpy() == field.index.to_numpy()[:, None]).all()


def test_a_span_is_over_the_values_of_one_option_of_one_rule():
    ends = {
        "ADOPT": (1.0, 2.0),
        "ADOPT, β₂ = 0.9": (1.5, 1.0),
        "ADOPT, β₂ = 0.99": (1.2, 5.0),
        "ADOPT, β₁ = 0": (-9.0, 9.0),
        "ADOPT, no clip": (-9.0, 9.0),
        "Adam, β₂ = 0.9": (-9.0, 9.0),
    }
    rows = [
        cell(name, 0.1) | {"seed": seed, "step": 1, "test_loss": loss}
        for name, losses in ends.items()
        for seed, loss in enumerate(losses)
    ]
    found = image_grids.spans(pd.DataFrame(rows), "ADOPT", "β₂", "test_loss")
    assert found.tolist() == [0.5, 4.0]


def test_each_variant_belongs_to_one_option_or_is_without_clip():
    names = [
        name.partition(", ")[2] for rule in ("Adam", "ADOPT") for name in image_grids.around(rule)
    ]
    words = [word for begin in image_grids.OPTIONS.values() for word in begin]
    assert all(sum(name.startswith(w) for w in words) == 1 for name in set(names) - {"", "no clip"})


@pytest.mark.parametrize("rule", ["Adam", "ADOPT"])
def test_failures_are_counted_over_the_grid_alone(rule):
    failed = {(0.9, 0.0): 2.3, (0.99, 0.5): math.inf, (0.0, 0.9): 2.27}  # 2.27 < 0.99 log 10
    failed[image_grids.BETAS["Adam"]] = math.inf  # no β2 of the grid
    rows = [
        cell(name, 0.1) | {"seed": seed, "step": 1, "loss": seed * failed.get(betas, 1.0)}
        for name, v in image_grids.crossed(rule).items()
        for betas in [v.options.get("betas", image_grids.BETAS[rule])]
        for seed in (0, 1)
    ]
    table = pd.DataFrame(rows).fillna(0.0)  # 0 · ∞
    assert image_grids.failures(table, rule).tolist() == [0.0, 2 / 20]


@pytest.mark.parametrize(("rule", "beta2"), [(Adam, 0.9), (ADOPT, 0.99)])
def test_ratios_are_those_of_the_rule(rule, beta2):
    gradients = [3.0, 1.0, 4.0, 1.0, 5.0]
    task = loop.Task(
        torch.nn.Linear(2, 1, bias=False),
        lambda model: rule(model.parameters(), lr=1e-3),
        lambda model, g: g * model.weight.sum(),
        iter(torch.tensor(gradients)),
        steps=5,
        every=5,
    )
    found = images.ratios(task, beta2, rule is Adam)
    for t in range(2, 6):
        squares = [g**2 for g in gradients[:t]]
        if rule is ADOPT:
            v = squares[0]
            for g2 in squares[1:-1]:
                v = beta2 * v + (1 - beta2) * g2
        else:
            weights = [beta2 ** (t - 1 - i) for i in range(t)]
            v = sum(w * g2 for w, g2 in zip(weights, squares, strict=True)) / sum(weights)
        u, row = gradients[t - 1] / math.sqrt(v), found.iloc[t - 2]
        assert (row.step, row["median"], row.high) == pytest.approx((t, u, u), rel=1e-5)
        assert row.clipped == (u > (t - 1) ** 0.25)
