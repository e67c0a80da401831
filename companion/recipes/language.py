"""Language models: a GPT trained on characters or tokens, in small and in large batches.

The ADOPT paper (Section 5) trains GPT-2 on OpenWebText and compares loss curves of AdamW and ADOPT.
"""

import math
import time
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.data import Draws, cache_dir, text, token_file
from companion.models import GPT, GPTConfig
from companion.models.gpt import Block
from companion.optim import ADOPT, AdamW
from companion.recipes import base, loop, report, tuning
from companion.train import decay_groups

# β's: AdamW as in the official code of the ADOPT paper (gpt/), ADOPT as in its adopt.py.
OPTIMIZERS = {
    "AdamW": partial(AdamW, betas=(0.9, 0.95), fused=True),
    "ADOPT": partial(ADOPT, betas=(0.9, 0.9999), decoupled=True, fused=True),
}

WORDS = {"val_loss": "validation loss", "spike": "spike"}


@dataclass(frozen=True)
class Settings:
    """All that a run depends on. Batches are counted in windows, of ``context`` tokens each.

    Attributes
    ----------
    data : str
        A text of `companion.data.text`, a token a character; or "openwebtext": `token_file` in the
        folder of that name.
    vocab : int, optional
        Number of tokens; None for that of the text.
    context, layers, heads, width : int
        Of the model, see `GPTConfig`.
    tokens : int
        That a run trains on, whatever its batch.
    batches : tuple of int
        Windows a step: one experiment each.
    micro : int
        Windows that are in memory at once; a step takes several such batches where it needs more.
    lrs : tuple of float
        The grid of step sizes; one is chosen a rule and batch, on a text of its own.
    tuning, seeds : tuple of int
        Seeds of the choice and of the report, apart.
    warmup : float
        Steps of the linear rise, as a part of all.
    floor : float
        Step size at the end of the cosine, as a part of the highest.
    weight_decay : float
        Of matrices, decoupled.
    clip_norm : float
        Largest norm of the gradient.
    report : int
        Tokens a report: the training loss is a mean over so many, whatever the batch.
    evaluate_every : int
        Reports a validation.
    held : int
        Windows of the validation.
    precision : {"float32", "bfloat16"}
        Of the model's arithmetic.
    """

    data: str
    context: int
    layers: int
    heads: int
    width: int
    tokens: int
    batches: tuple
    micro: int
    lrs: tuple
    tuning: tuple
    seeds: tuple
    warmup: float
    report: int
    evaluate_every: int
    held: int
    vocab: int | None = None
    floor: float = 0.1  # the official code: 6e-4 → 6e-5
    weight_decay: float = 0.1  # the official code
    clip_norm: float = 1.0  # the official code
    precision: str = "float32"


STORED = Settings(  # sizes and grid are ours
    "tiny_shakespeare", 64, 3, 4, 96, tokens=409_600, batches=(4, 32), micro=16,
    lrs=(1e-3, 3e-3, 1e-2), tuning=(1000,), seeds=(0, 1, 2), warmup=0.05, report=4096,
    evaluate_every=20, held=256,
)  # fmt: skip
QUICK = replace(
    STORED, data="pydoc", layers=2, width=64, tokens=32_768, batches=(4, 16), lrs=(3e-3,),
    tuning=(), seeds=(0, 1), report=2048, evaluate_every=16, held=64,
)  # fmt: skip
SMOKE = replace(QUICK, context=16, layers=1, width=16, tokens=4096, report=1024, held=8)
FULL = Settings(  # the official code: 480 windows a step, 12 at once; the model is GPT-2's smallest
    "openwebtext", 1024, 12, 12, 768, tokens=600_000 * 480 * 1024, batches=(60, 480), micro=12,
    lrs=(6e-4,), tuning=(), seeds=(0, 1, 2), warmup=2000 / 600_000, report=1000 * 480 * 1024,
    evaluate_every=1, held=2048, vocab=50_257, precision="bfloat16",
)  # fmt: skip
SCALES = {"gpt": {"smoke": SMOKE, "quick": QUICK, "stored": STORED, "full": FULL}}


class Experiment(base.Experiment):
    """For each batch: rules choose their step sizes first, and report on other seeds and text."""

    def plan(self, table: pd.DataFrame) -> list:
        """Return the cells to run, given the results so far."""
        s, cells = self._settings, []
        for batch in s.batches:
            part = table[table.batch == batch] if len(table) else table
            planned = tuning.plan(part, OPTIMIZERS, s.lrs, s.tuning, s.seeds, chosen)
            cells += [cell | {"batch": batch} for cell in planned]
        return cells

    def task(self, cell: dict) -> loop.Task:
        """Return what is trained in a cell; "batch" is the last of the settings, if not given."""
        s = self._settings
        batch = int(cell.get("batch", s.batches[-1]))
        micro = min(int(cell.get("micro", s.micro)), batch)
        steps = s.tokens // (batch * s.context)
        tokens = source(s.data)
        sizes = (s.vocab or len(tokens.vocab), s.context, s.layers, s.heads, s.width)
        torch.manual_seed(cell["seed"])
        return loop.Task(
            GPT(GPTConfig(*sizes)),
            lambda model: OPTIMIZERS[cell["optimizer"]](
                decay_groups(model, s.weight_decay), lr=cell["lr"]
            ),
            loss,
            Draws(tokens, micro, s.context, cell["seed"]),
            steps=steps,
            every=max(1, s.report // (batch * s.context)),
            schedule=loop.warmup_cosine(steps, round(s.warmup * steps), s.floor),
            evaluate=partial(validation, held(tokens, s, cell["phase"]), micro),
            evaluate_every=s.evaluate_every,
            accumulate=batch // micro,
            clip_norm=s.clip_norm,
            precision=s.precision,
            shard=(Block,),
        )

    def train(self, cell: dict) -> pd.DataFrame:
        """Train one model; a run that diverges ends with a row of infinite losses."""
        history = loop.train(self.task(cell)).reindex(columns=["step", "loss", "val_loss"])
        history.insert(1, "tokens", history.step * int(cell["batch"]) * self._settings.context)
        lost = ~np.isfinite(history.loss)
        return history.assign(val_loss=history.val_loss.mask(lost, math.inf))


def chosen(table: pd.DataFrame) -> dict:
    """Return each rule's step size, given the runs of one batch: of the least loss at the end."""
    return tuning.lowest(table, "val_loss")


@cache
def source(name: str):
    """Return the tokens of a text, or those of the reader's files."""
    return token_file(cache_dir() / name) if name == "openwebtext" else text(name)


def held(tokens, s: Settings, phase: str) -> tuple[Tensor, Tensor]:
    """Return windows that nothing trains on: of its first half to choose by, else of the second."""
    x, y = tokens.windows(s.context)
    middle = len(x) // 2
    start = 0 if phase == "tune" else middle
    end = start + min(s.held, middle)
    return x[start:end], y[start:end]


def loss(model: nn.Module, batch) -> Tensor:
    """Return the mean loss of the next token, in nats."""
    x, y = batch
    logits = model(x).flatten(0, 1)
    dtype = torch.promote_types(logits.dtype, torch.float32)  # not in bfloat16
    return F.cross_entropy(logits.to(dtype), y.flatten())


def validation(windows, micro: int, model: nn.Module) -> dict:
    """Return the mean loss on windows, which are of one length, so many at a time."""
    device = next(model.parameters()).device
    total, (x, y) = 0.0, windows
    for part in zip(x.split(micro), y.split(micro), strict=True):
        part = tuple(z.to(device) for z in part)
        total += loss(model, part).item() * len(part[0])
    return {"val_loss": total / len(x)}


def spike(losses) -> float:
    r"""Return the largest rise of a loss over its lowest value before, :math:`\max_{i < j}`.

    .. math:: \max_j \big( L_j - \min_{i \le j} L_i \big)

    Zero for a loss that never rises, infinite for one that ends not finite.

    Examples
    --------
    >>> spike([4.0, 3.0, 3.5, 2.0, 2.25])
    0.5
    """
    losses = np.asarray(losses, dtype=float)
    if not np.isfinite(losses).all():
        return math.inf
    return float((losses - np.minimum.accumulate(losses)).max())


def spikes(table: pd.DataFrame, warmup: float) -> pd.DataFrame:
    """Return a row a run, as a table of histories has them, with its `spike` after the warm-up."""
    names = ["phase", *tuning.CELL, "batch"]
    after = table[table.tokens > warmup * table.groupby(names).tokens.transform("max")]
    return after.groupby(names, sort=False).loss.agg(spike).rename("spike").reset_index()


def finals(table: pd.DataFrame, warmup: float) -> pd.DataFrame:
    """Return a row a reported run: its cell, the validation loss at its end, and its spike."""
    last = pd.concat(tuning.final(part) for _, part in table.groupby("batch"))
    return last.merge(spikes(table, warmup)).reset_index(drop=True)


def compared(last: pd.DataFrame, columns=("val_loss", "spike")) -> pd.DataFrame:
    """Return a row a batch and column: means of both rules, and their difference paired by seed.

    Parameters
    ----------
    last : DataFrame
        Of `finals`.
    columns : sequence of str
        What to compare.
    """
    rows = []
    for column in columns:
        for batch, part in last.groupby("batch"):
            found = report.summary(part, column, "AdamW").set_index("optimizer").loc["ADOPT"]
            row = {"measure": WORDS[column], "windows a step": batch}
            row |= report.seeds(part, column).mean()
            row |= {"ADOPT − AdamW": found["− AdamW"], "ADOPT is": found.verdict}
            rows.append(row)
    return pd.DataFrame(rows)


def speed(task: loop.Task, steps: int = 3) -> float:
    """Return tokens a CPU-second of so many steps of a task, after one that is not counted."""
    counted = replace(task, evaluate=None, every=steps)
    loop.train(replace(counted, steps=1))
    start = time.process_time()
    loop.train(replace(counted, steps=steps))
    x, _ = next(task.batches)
    return steps * task.accumulate * x.numel() / (time.process_time() - start)
