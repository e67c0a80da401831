"""Images: what ADOPT and Adam depend on, one option at a time, and over a grid of (β1, β2)."""

from dataclasses import replace
from typing import ClassVar

from companion.optim import ADOPT, Adam
from companion.recipes import images
from companion.recipes.images import DIGITS, RESNET, RESNET_FULL, RESNET_QUICK, Variant, smoke

RULES = {"Adam": Adam, "ADOPT": ADOPT}
BETAS = {"Adam": (0.9, 0.999), "ADOPT": (0.9, 0.9999)}
BETA1, BETA2 = (0.0, 0.5, 0.9, 0.99), (0.0, 0.5, 0.9, 0.99, 0.9999)


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
    RESNET, network="small", sizes={"width": 8}, lrs=(1e-3, 3e-3, 1e-2), steps=800, warmup=0,
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
