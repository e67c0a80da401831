"""Images: what ADOPT and Adam depend on, one option at a time, and over a grid of (β1, β2)."""

import math
from dataclasses import replace
from typing import ClassVar

import pandas as pd

from companion.evidence import Interval, paired, verdict
from companion.optim import ADOPT, Adam
from companion.recipes import images, report, tuning
from companion.recipes.images import DIGITS, RESNET, RESNET_FULL, RESNET_QUICK, Variant, smoke

RULES = {"Adam": Adam, "ADOPT": ADOPT}
BETAS = {"Adam": (0.9, 0.999), "ADOPT": (0.9, 0.9999)}
BETA1, BETA2 = (0.0, 0.5, 0.9, 0.99), (0.0, 0.5, 0.9, 0.99, 0.9999)
OPTIONS = {"schedule": ("constant", "cosine"), "β₁": ("β₁",), "β₂": ("β₂",)}  # how names begin
GUESS = math.log(10)  # cross entropy of a guess among ten classes
FAILED = 0.99 * GUESS  # from here on a loss is no better


def around(name: str) -> dict:
    """Return a rule with its defaults, warm-up and cosine, and variants with one thing changed.

    Examples
    --------
    >>> list(around("Adam"))[:4]
    ['Adam', 'Adam, constant', 'Adam, cosine', 'Adam, β₁ = 0']
    """
    rule, (beta1, beta2) = RULES[name], BETAS[name]
    found = {name: Variant(rule)}
    for schedule in ("constant", "cosine"):
        found[f"{name}, {schedule}"] = Variant(rule, {}, schedule, name)
    for other in (0.0, 0.99):
        found[f"{name}, β₁ = {other:g}"] = Variant(rule, {"betas": (other, beta2)}, base=name)
    for other in (0.9, 0.99, *{0.999, 0.9999} - {beta2}):
        found[f"{name}, β₂ = {other:g}"] = Variant(rule, {"betas": (beta1, other)}, base=name)
    if rule is ADOPT:
        found[f"{name}, no clip"] = Variant(rule, {"clip_lambda": None}, base=name)
    return found


def crossed(name: str) -> dict:
    """Return a rule with its defaults, and at every (β1, β2) of the grid.

    Examples
    --------
    >>> list(crossed("Adam"))[:2]
    ['Adam', 'Adam, β₁ = 0, β₂ = 0']
    """
    rule, found = RULES[name], {name: Variant(RULES[name], {}, "root")}
    for beta1 in BETA1:
        for beta2 in BETA2:
            options = {"betas": (beta1, beta2)}
            if (beta1, beta2) != BETAS[name]:
                label = f"{name}, β₁ = {beta1:g}, β₂ = {beta2:g}"
                found[label] = Variant(rule, options, "root", name)
    return found


# All ours; at full scale the network and the course of the step size are those of `RESNET_FULL`.
SENSITIVITY = replace(RESNET, steps=200, warmup=20)
PHASE = replace(
    RESNET, network="small", sizes={"width": 8}, lrs=(1e-3, 3e-3, 1e-2, 3e-2), steps=800, warmup=0,
    pad=0, mirror=False, tested=2_000,
)  # fmt: skip
TWO = {"seeds": (0, 1), "lrs": (1e-2,)}
PHASE_QUICK = replace(PHASE, **{**DIGITS, "pad": 0, "warmup": 0}, sizes={"width": 8, "channels": 1})
SCALES = {
    "sensitivity": {
        "smoke": smoke(RESNET_QUICK),
        "quick": replace(RESNET_QUICK, **TWO),
        "stored": SENSITIVITY,
        "full": RESNET_FULL,
    },
    "phase": {
        "smoke": smoke(PHASE_QUICK),
        "quick": replace(PHASE_QUICK, **TWO),
        "stored": PHASE,
        "full": replace(RESNET_FULL, pad=0, mirror=False),
    },
}


class Experiment(images.Experiment):
    """Each rule chooses one step size, for all of its variants."""

    variants: ClassVar = {
        "sensitivity": around("Adam") | around("ADOPT"),
        "phase": crossed("Adam") | crossed("ADOPT"),
    }


def differences(table: pd.DataFrame, rule: str, column: str) -> pd.DataFrame:
    """Return how much each variant of a rule differs from its centre, paired over seeds.

    Returns
    -------
    DataFrame
        A row a variant: ``mean``, ``low`` and ``high`` of the 95 % interval, ``verdict``. A variant
        of which a run diverged has infinite numbers.
    """
    values, rows = report.seeds(table, column), {}
    for name in values:
        if name.startswith(f"{rule}, "):
            found = Interval(math.inf, math.inf, math.inf)
            if report.finite(values[name]):
                found = paired(values[name], values[rule])
            words = "diverged" if math.isinf(found.mean) else verdict(found)
            rows[name.removeprefix(f"{rule}, ")] = [*found, words]
    return pd.DataFrame.from_dict(rows, "index", columns=["mean", "low", "high", "verdict"])


def spans(table: pd.DataFrame, rule: str, option: str, column: str) -> pd.Series:
    """Return how far values at the end lie apart, by seed, as one option of a rule changes.

    That is the highest less the lowest, over the centre and all variants of the option.

    Parameters
    ----------
    table : DataFrame
        Runs of the experiment "sensitivity".
    rule : {"Adam", "ADOPT"}
    option : {"schedule", "β₁", "β₂"}
    column : str
        What to compare.

    Examples
    --------
    >>> runs = pd.DataFrame({"phase": "report", "optimizer": ["Adam", "Adam, β₁ = 0", "Adam, β₂"],
    ...                      "lr": 0.1, "seed": 0, "step": 5, "loss": [1.0, 3.0, 9.0]})
    >>> spans(runs, "Adam", "β₁", "loss").tolist()
    [2.0]
    """
    values = report.seeds(table, column)
    begin = tuple(f"{rule}, {word}" for word in OPTIONS[option])
    part = values[[name for name in values if name == rule or name.startswith(begin)]]
    return part.max(axis=1) - part.min(axis=1)


def pair(rule: str, variant) -> tuple:
    """Return (β1, β2) of a variant."""
    return variant.options.get("betas", BETAS[rule])


def field(table: pd.DataFrame, rule: str, column: str) -> pd.DataFrame:
    """Return the median over seeds of a column at the end: a row a β2, a column a β1."""
    last = tuning.final(table).groupby("optimizer")[column].median()
    values = {pair(rule, v): last[name] for name, v in crossed(rule).items()}
    rows = [[values[beta1, beta2] for beta1 in BETA1] for beta2 in BETA2]
    return pd.DataFrame(rows, index=list(BETA2), columns=list(BETA1))


def failures(table: pd.DataFrame, rule: str) -> pd.Series:
    """Return by seed at what share of the grid of (β1, β2) a rule ends at `FAILED` or above."""
    last = tuning.final(table)
    # Adam's default β2 is not of the grid.
    grid = [name for name, v in crossed(rule).items() if pair(rule, v)[1] in BETA2]
    part = last[last.optimizer.isin(grid)]
    return (part.loss >= FAILED).groupby(part.seed).mean()
