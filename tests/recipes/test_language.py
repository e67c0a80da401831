"""Language models: accumulation is exact, schedules and groups are torch's, spikes are spikes."""

import copy
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, SequentialLR

from companion import recipes
from companion.data import Draws, text, token_file
from companion.models import GPT, GPTConfig
from companion.recipes import engine, language, loop
from companion.train import decay_groups

TINY = replace(
    language.SMOKE, context=8, tokens=1024, batches=(2, 8), micro=4, report=64, evaluate_every=3
)
CELL = {"phase": "report", "optimizer": "AdamW", "lr": 3e-3, "seed": 0, "batch": 8}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """One thread, and a text of a page."""
    torch.set_num_threads(1)
    page = text()
    page = type(page)(page.ids[:6000], page.vocab)
    monkeypatch.setattr(language, "source", lambda name: page)


def gradients(experiment, accumulate):
    """Return the gradients of a step's first batch, cut into so many, by the loop itself."""
    task = experiment.task(CELL)
    task.model.double()
    kept = {}

    class Record(torch.optim.SGD):
        def step(self):
            kept.update((k, p.grad.clone()) for k, p in task.model.named_parameters())

    task.optimizer = lambda model: Record(model.parameters(), lr=0.0)
    task.accumulate, task.steps, task.schedule, task.clip_norm = accumulate, 1, None, None
    x, y = language.source("").batch(8, 8, torch.Generator().manual_seed(0))
    task.batches = iter(list(zip(x.chunk(accumulate), y.chunk(accumulate), strict=True)))
    loop.train(task)
    return kept


def test_micro_batches_make_the_gradient_of_the_whole():
    experiment = language.Experiment("gpt", TINY)
    whole = gradients(experiment, 1)
    assert sum(g.abs().sum() for g in whole.values()) > 1
    for parts in (2, 4, 8):
        for name, g in gradients(experiment, parts).items():
            torch.testing.assert_close(g, whole[name], rtol=1e-10, atol=1e-13)


def test_a_step_takes_the_windows_of_its_batch():
    experiment = language.Experiment("gpt", TINY)
    for batch, accumulate, micro, steps in ((2, 1, 2, 64), (8, 2, 4, 16)):
        task = experiment.task(CELL | {"batch": batch})
        assert (task.accumulate, task.batches.batch_size, task.steps) == (accumulate, micro, steps)
        assert task.accumulate * task.batches.batch_size * task.steps * 8 == TINY.tokens
        assert task.every * batch * 8 == TINY.report
    assert experiment.task({k: v for k, v in CELL.items() if k != "batch"}).steps == 16
    assert experiment.task(CELL | {"micro": 8}).accumulate == 1


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")  # SequentialLR's own
@pytest.mark.parametrize(("steps", "warmup", "floor"), [(50, 10, 0.1), (33, 1, 0.0)])
def test_the_schedule_is_that_of_torch(steps, warmup, floor):
    def rates(schedule):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
        scheduler, rates = schedule(optimizer), []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return rates

    def theirs(optimizer):
        rise = LinearLR(optimizer, start_factor=1 / warmup, total_iters=max(warmup - 1, 1))
        fall = CosineAnnealingLR(optimizer, steps - warmup, eta_min=0.5 * floor)
        return SequentialLR(optimizer, [rise, fall], milestones=[warmup])

    ours = rates(lambda o: LambdaLR(o, loop.warmup_cosine(steps, warmup, floor)))
    assert ours == pytest.approx(rates(theirs), rel=1e-12)
    assert max(ours) == 0.5
    assert ours[0] == pytest.approx(0.5 / warmup)


def test_matrices_decay_and_each_parameter_has_one_group():
    model = GPT(GPTConfig(20, 8, 2, 2, 8))
    model.head = nn.Linear(8, 20)
    model.head.weight = model.token.weight  # tied
    model.frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)
    decays, rest = decay_groups(model, 0.1)
    assert (decays["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    found = [id(p) for p in (*decays["params"], *rest["params"])]
    assert sorted(found) == sorted({id(p) for p in model.parameters() if p.requires_grad})
    names = {id(p): name for name, p in model.named_parameters()}
    assert all("weight" in names[id(p)] and "norm" not in names[id(p)] for p in decays["params"])
    assert all("norm" in (n := names[id(p)]) or n.endswith("bias") for p in rest["params"])


def test_a_run_decays_by_group():
    task = language.Experiment("gpt", TINY).task(CELL | {"optimizer": "ADOPT"})
    before = copy.deepcopy(task.model.state_dict())
    optimizer = task.optimizer(task.model)
    for _ in range(2):  # the first call of ADOPT moves nothing
        for p in task.model.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
    for name, p in task.model.named_parameters():
        factor = 1 - CELL["lr"] * TINY.weight_decay if p.dim() >= 2 else 1.0
        torch.testing.assert_close(p.detach(), factor * before[name])


def test_token_files_give_windows_and_their_successors(tmp_path):
    for name, low, high in (("train.bin", 0, 60_000), ("val.bin", 60_000, 65_536)):
        np.arange(low, high).astype(np.uint16).tofile(tmp_path / name)
    tokens = token_file(tmp_path)
    draws = Draws(tokens, 500, 7, seed=3)
    for _ in range(3):
        x, y = next(draws)
        assert x.dtype == torch.int64
        assert torch.equal(y, x + 1)
        assert x.min() >= 0
        assert y.max() < 60_000
    assert y.max() > 40_000  # past the largest signed number
    x, y = tokens.windows(7)
    assert torch.equal(x.flatten(), torch.arange(60_000, 65_530))
    assert torch.equal(y, x + 1)
    with pytest.raises(ValueError, match="state: context is 7, these batches have 8"):
        Draws(tokens, 500, 8).load_state_dict(draws.state_dict())
    (tmp_path / "val.bin").write_bytes(b"123")
    with pytest.raises(ValueError, match=r"val\.bin: 3 bytes; expected 2 a token"):
        token_file(tmp_path)
    (tmp_path / "train.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.bin: no such file; expected token number"):
        token_file(tmp_path)


def test_step_sizes_are_chosen_on_text_that_no_report_sees():
    tokens = language.source("")
    (choose, _), (report, _) = (language.held(tokens, TINY, p) for p in ("tune", "report"))
    assert len(choose) == len(report) == TINY.held
    windows = tokens.windows(8).x
    assert torch.equal(choose, windows[:8])
    assert torch.equal(report, windows[len(windows) // 2 :][:8])
    assert len(windows) // 2 > 8


def test_validation_is_the_mean_over_all_windows():
    model = language.Experiment("gpt", TINY).task(CELL).model.double()
    x, y = language.source("").batch(10, 8, torch.Generator().manual_seed(1))
    exact = -model(x).log_softmax(-1).gather(-1, y[..., None]).mean()
    found = language.validation((x, y), 4, model)["val_loss"]  # 4, 4 and 2 windows
    assert found == pytest.approx(exact.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("losses", "height"),
    [
        ([5, 4, 3, 2, 1], 0),
        ([5, 2, 4.5, 1, 2], 2.5),  # the first is the higher
        ([5, 2, 3, 1, 4.5, 0], 3.5),  # the second is
        ([1, 2, 3, 4], 3),  # it never comes back
        ([3, 2, math.inf], math.inf),
        ([3, 2, math.nan], math.inf),
    ],
)
def test_a_spike_is_the_largest_rise_over_the_lowest_before(losses, height):
    assert language.spike(losses) == height


def test_spikes_are_counted_after_the_warm_up():
    rows = [
        {**CELL, "seed": seed, "tokens": 10 * (i + 1), "loss": loss}
        for seed, curve in enumerate(([1, 9, 5, 4, 4.5], [1, 9, 5, 6, 4]))
        for i, loss in enumerate(curve)
    ]
    found = language.spikes(pd.DataFrame(rows), warmup=0.4)
    assert found.spike.tolist() == [0.5, 1.0]
    assert found.seed.tolist() == [0, 1]


def test_a_run_learns_and_a_seed_is_a_run():
    experiment = language.Experiment("gpt", replace(TINY, tokens=4096))
    first = experiment.train(CELL)
    pd.testing.assert_frame_equal(first, experiment.train(CELL))
    assert list(first) == ["step", "tokens", "loss", "val_loss"]
    assert first.tokens.iloc[-1] == 4096
    assert first.val_loss.iloc[-1] < first.val_loss.dropna().iloc[0] - 0.5
    # every third report has a validation, and the last
    assert first.val_loss.notna().sum() == len(first) // 3 + (len(first) % 3 > 0)
    assert experiment.train(CELL | {"seed": 1}).loss.iloc[0] != first.loss.iloc[0]


def test_a_run_that_diverges_says_so(monkeypatch):
    monkeypatch.setattr(language, "loss", lambda model, batch: model.token.weight.sum() * math.nan)
    last = language.Experiment("gpt", TINY).train(CELL).iloc[-1]
    assert (last.loss, last.val_loss) == (math.inf, math.inf)


def test_each_batch_chooses_its_own_step_sizes():
    experiment = language.Experiment("gpt", replace(TINY, lrs=(1.0, 2.0), tuning=(9,), seeds=(0,)))
    grid = experiment.plan(pd.DataFrame())
    assert len(grid) == 2 * 2 * 2
    best = {("AdamW", 2): 1.0, ("ADOPT", 2): 2.0, ("AdamW", 8): 2.0, ("ADOPT", 8): 1.0}
    loss = [abs(c["lr"] - best[c["optimizer"], c["batch"]]) for c in grid]
    table = pd.DataFrame(grid).assign(step=1, tokens=1, val_loss=loss)
    reported = [c for c in experiment.plan(table) if c["phase"] == "report"]
    assert {(c["optimizer"], c["batch"]): c["lr"] for c in reported} == best


def test_the_page_runs_at_smoke_scale():
    experiment = recipes.experiment("gpt", "smoke")
    table = engine.run(experiment, engine.Store(None, experiment.settings))
    assert len(table.groupby(["optimizer", "batch", "seed"])) == 8
    assert np.isfinite(table.loss).all()
    assert language.speed(experiment.task(CELL), steps=1) > 0


def runs(losses: dict) -> pd.DataFrame:
    """Return histories of three reports: the first within the warm-up, the last with the values."""
    rows = []
    for (name, batch), (last, rise) in losses.items():
        for seed in (0, 1, 2):
            off = seed * (0.01 if name == "ADOPT" else 0.02)
            for tokens, loss, val in ((10, 9.0, None), (100, 3.0, None), (200, 3.0 + rise, last)):
                rows.append({
                    "phase": "report", "optimizer": name, "lr": 0.1, "seed": seed, "batch": batch,
                    "step": tokens, "tokens": tokens, "loss": loss, "val_loss": val and val + off,
                })  # fmt: skip
    return pd.DataFrame(rows)


def test_rules_are_compared_by_seed_at_the_end_and_by_their_spikes_after_the_warm_up():
    losses = {("AdamW", 4): (2.0, 0.5), ("ADOPT", 4): (1.5, 0.25)}
    losses |= {("AdamW", 32): (2.0, 0.0), ("ADOPT", 32): (2.5, 0.0)}
    last = language.finals(runs(losses), warmup=0.1)
    assert last.groupby(["batch", "optimizer"]).spike.mean().tolist() == [0.25, 0.5, 0.0, 0.0]
    table = language.compared(last)
    assert table["ADOPT is"].tolist() == ["lower", "higher", "lower", "not told apart"]
    assert table["windows a step"].tolist() == [4, 32, 4, 32]
    assert table["measure"].tolist() == ["validation loss"] * 2 + ["spike"] * 2
    assert [d.split(" [")[0] for d in table["ADOPT − AdamW"]] == ["-0.51", "0.49", "-0.25", "0"]
    lost = last.assign(val_loss=last.val_loss.where(last.batch == 4, math.inf))
    table = language.compared(lost, ["val_loss"])
    assert table.ADOPT.tolist() == [pytest.approx(1.51), math.inf]
    assert table["ADOPT is"].tolist() == ["lower", ""]
