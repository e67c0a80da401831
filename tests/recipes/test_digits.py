"""The recipes on digits are plain training loops: the same numbers as torch.optim's Adam."""

from itertools import pairwise

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from companion import recipes
from companion.data import Batches
from companion.recipes import engine, loop, mnist, tuning


def plain(model, data, cell, s, *, factor, weight_decay=0.0, clip_norm=None):
    """Train by torch.optim.Adam; the losses of all steps."""
    optimizer = torch.optim.Adam(model.parameters(), cell["lr"], weight_decay=weight_decay)
    batches, losses = Batches(tuple(data), s["batch"], seed=cell["seed"]), []
    for t in range(s["steps"]):
        optimizer.param_groups[0]["lr"] = cell["lr"] * factor(t)
        x, y = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


def network(*sizes):
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    return nn.Sequential(*[z for layer in layers for z in (layer, nn.ReLU())][:-1])


def started_from(model, other):
    """Give a plain network the initial values of a recipe's."""
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        p.data.copy_(q.data)
    return model


def accuracy(model, data):
    with torch.no_grad():
        return (model(data.x).argmax(1) == data.y).double().mean().item()


CELL = {"phase": "report", "optimizer": "Adam", "lr": 0.01, "seed": 3}


def test_mnist_is_adam_with_a_falling_step_size():
    experiment = recipes.experiment("mnist", "smoke")
    history, s = experiment.train(CELL), experiment.settings
    data, test = mnist.images("digits")
    torch.manual_seed(CELL["seed"])
    model = network(64, s["hidden"], 10)
    losses = plain(
        model, data, CELL, s, factor=lambda t: (t + 1) ** -0.5, weight_decay=s["weight_decay"]
    )
    assert history.step.tolist() == [2, 4]
    assert history.loss.tolist() == pytest.approx([sum(losses[:2]) / 2, sum(losses[2:]) / 2])
    assert history.test_accuracy.iloc[-1] == pytest.approx(accuracy(model, test))


def test_mnist_chooses_on_held_back_images_and_reports_on_others():
    experiment = recipes.experiment("mnist", "smoke")
    table = engine.run(experiment, engine.Store(None, experiment.settings))
    last, s = tuning.final(table), experiment.settings
    assert set(last.optimizer) == set(mnist.OPTIMIZERS)
    assert sorted(set(last.seed)) == list(s["seeds"])
    tuned = tuning.final(table, "tune")
    for name, part in tuned.groupby("optimizer"):
        best = part.sort_values(["test_accuracy", "lr"], ascending=[False, True]).lr.iloc[0]
        assert set(last[last.optimizer == name].lr) == {best}


def test_mnist_says_that_a_run_has_diverged():
    cell = CELL | {"lr": 1e38}
    last = recipes.experiment("mnist", "smoke").train(cell).iloc[-1]
    assert last.loss == last.test_loss == float("inf")
    assert last.test_accuracy == 0


def test_digits_is_adam_with_warm_up_cosine_and_clip():
    experiment = recipes.experiment("digits", "smoke")
    s, task = experiment.settings, experiment.task(CELL)
    model = started_from(network(64, *[s["hidden"]] * s["layers"], 10), task.model)
    history = loop.train(task)
    factor = loop.warmup_cosine(s["steps"], s["warmup"])
    data, test = mnist.images("digits")
    losses = plain(model, data, CELL, s, factor=factor, clip_norm=s["clip_norm"])
    pairs = [sum(losses[i : i + 2]) / 2 for i in range(0, s["steps"], 2)]
    assert history.loss.tolist() == pytest.approx(pairs, rel=1e-5)
    assert history.accuracy.iloc[-1] == pytest.approx(accuracy(model, test))


def test_digits_tunes_nothing():
    experiment = recipes.experiment("digits", "smoke")
    cells = experiment.plan(pd.DataFrame())
    assert {(c["phase"], c["lr"]) for c in cells} == {("report", 0.003)}
    assert len(cells) == 4
