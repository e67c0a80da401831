"""The recipe of the hierarchical VAE."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from companion import recipes
from companion.data import Batches
from companion.recipes import loop
from companion.recipes.vae import CLIP, SCALES, Annealed, Evaluation, Experiment

SMALL = replace(SCALES["vae"]["quick"], steps=12, every=1, tested=100, anneal=0.5)
CELL = {"phase": "report", "optimizer": "ADOPT", "lr": 3e-3, "seed": 0}


def test_the_weight_of_kl_rises_and_goes_on_after_a_stop():
    def batches():
        return Annealed(Batches(torch.rand(20, 1, 2, 2), 4, seed=3), rise=5)

    torch.manual_seed(0)
    whole = batches()
    seen = [next(whole) for _ in range(9)]
    assert [w.unique().tolist() for _, w in seen[:7]] == [
        [pytest.approx(z)] for z in (0, 0.2, 0.4, 0.6, 0.8, 1, 1)
    ]
    torch.manual_seed(0)
    first = batches()
    for _ in range(3):
        next(first)
    torch.manual_seed(0)
    second = batches()
    second.load_state_dict(first.state_dict())
    for (x, w), (y, v) in zip(seen[3:], second, strict=False):
        assert torch.equal(x, y)
        assert torch.equal(w, v)


def test_an_evaluation_repeats_itself_and_leaves_the_seeds_alone():
    model = Experiment("vae", SMALL).model()
    evaluate = Evaluation(torch.rand(30, 1, 8, 8))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = evaluate(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert first == evaluate(model)
    assert first["nelbo"] == first["reconstruction"] + first["kl"]
    torch.manual_seed(1)
    x = torch.rand(30, 1, 8, 8)
    assert Evaluation(x).images.unique().tolist() == [0, 1]
    assert torch.equal(Evaluation(x).images, Evaluation(x).images)


def test_the_loss_is_the_bound_with_the_annealed_weight():
    task = Experiment("vae", SMALL).task(CELL)
    with torch.no_grad():
        for p in task.model.parameters():
            p.normal_(0, 0.2)
    x = torch.rand(6, 1, 8, 8).round()
    losses = []
    for weight in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        losses.append(task.loss(task.model, (x, torch.full((6,), weight))).item())
    torch.manual_seed(0)
    parts = task.model(torch.bernoulli(x))
    assert losses[0] == pytest.approx(parts.reconstruction.mean().item(), rel=1e-6)
    assert losses[2] - losses[1] == pytest.approx(parts.kl.sum(1).mean().item() / 2, rel=1e-3)


def peak(optimizer):
    history = loop.train(Experiment("vae", SMALL).task(CELL | {"optimizer": optimizer}))
    return history.get("nelbo").fillna(math.inf).max(), history


def test_without_its_clip_adopt_explodes():
    clipped, history = peak("ADOPT")
    assert clipped < 45
    assert history.nelbo.iloc[-1] < history.nelbo.iloc[0]
    unclipped, history = peak("ADOPT, no clip")
    assert unclipped > 1000
    assert history.nelbo.iloc[0] < 45


@pytest.mark.parametrize("name", ["Adamax", "Adam"])
def test_a_dozen_steps_bring_the_bound_down(name):
    history = loop.train(Experiment("vae", SMALL).task(CELL | {"optimizer": name, "lr": 0.01}))
    assert history.nelbo.iloc[-1] < 41 < 43 < history.nelbo.iloc[0]


def test_one_step_size_is_reported_at_once_and_a_grid_is_tuned_first():
    cells = recipes.experiment("vae-clip", "stored").plan(pd.DataFrame())
    assert {cell["phase"] for cell in cells} == {"report"}
    assert {cell["optimizer"] for cell in cells} == set(CLIP)
    assert len(cells) == 10
    cells = recipes.experiment("vae", "stored").plan(pd.DataFrame())
    assert [cell["phase"] for cell in cells] == ["tune"] * 9


def test_the_full_scale_is_nvaes():
    s = SCALES["vae"]["full"]
    assert s.steps * s.batch == 400 * 60_000
    factor = loop.warmup_cosine(s.steps, round(s.warmup * s.steps), s.floor)
    assert factor(s.steps * 5 // 400) == 1.0
    assert s.lrs["Adamax"][0] * factor(s.steps) == pytest.approx(1e-4)
    assert (s.width, s.latent, s.groups, s.stem, s.cells) == (32, 20, (5, 10), 2, 2)
