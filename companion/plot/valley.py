"""Same valley, new rule: the figure that closes the chapters on rules."""

import matplotlib.pyplot as plt
import torch

from companion.optim import ADOPT, SGD, AdaGrad, Adam, AMSGrad, RMSprop
from companion.plot.charts import points_of
from companion.plot.theme import LINES, looks, stamp
from companion.problems.quadratic import Quadratic
from companion.simulate.trajectory import trajectory

VALLEY = Quadratic([1.0, 30.0])
START = torch.tensor([-4.0, 1.0], dtype=torch.float64)
SIGMA = 2.0
LATE, DRAWS = 10, 200  # last steps and draws of the noise that the legend's mean loss is over
BALL = {"lr": 0.005, "momentum": 0.9}
RULES = {  # the lr of 1, 2, 3, 5 times a power of ten with the least mean loss of the late steps
    "SGD": (SGD, {"lr": 0.05}),
    "Momentum": (SGD, BALL),
    "Nesterov": (SGD, {**BALL, "nesterov": True}),
    "AdaGrad": (AdaGrad, {"lr": 1.0}),
    "RMSprop": (RMSprop, {"lr": 0.1, "alpha": 0.9}),
    "Adam": (Adam, {"lr": 0.2}),
    "AMSGrad": (AMSGrad, {"lr": 0.2}),
    "ADOPT": (ADOPT, {"lr": 0.3}),
}
OLDER = [(shade, line) for shade in ("0.55", "0.2") for line in LINES[1:] + LINES[:1]]


def valley(rules, ax=None, new=None, steps=60, seed=0) -> plt.Axes:
    r"""Draw the path of each rule in one fixed noisy valley: a new rule beside the older ones.

    The valley is the same in every chapter, so that readers can compare their figures:

    .. math::

        f(x) = \tfrac12 (x_1^2 + 30 x_2^2), \qquad g_t = \nabla f(x_{t-1}) + 2 \, \xi_t,
        \qquad x_0 = (-4, 1),

    with normal :math:`\xi_t` that are the same for all rules. Every step is a dot. One path says
    little of a noisy rule, so the legend gives, after the step size, the mean of f over the last
    ten steps of 200 paths, each with noise of its own; the first of them is drawn.

    Parameters
    ----------
    rules : sequence of str, or dict of str to (type, dict)
        Names of ``SGD``, ``Momentum``, ``Nesterov``, ``AdaGrad``, ``RMSprop``, ``Adam``,
        ``AMSGrad`` and ``ADOPT``, which run with their default options (momentum .9; RMSprop with
        alpha .9) and the step size that does best here over many draws of the noise, of 1, 2, 3
        and 5 times a power of ten. Or labels, each with an optimizer class and its options, such
        as ``{"mine": (Adam, {"lr": 0.3})}``. Besides the new one at most eight.
    ax : Axes, optional
        Where to draw.
    new : str, optional
        The label drawn in colour, the others being grey; the last if left out. A label that is an
        optimizer's name has that optimizer's colour.
    steps : int, default 60
        Steps of each rule, at least 10. The step sizes of the names are tuned for 60.
    seed : int
        Of the noise: another seed draws another path, and 199 others for the legend.

    Returns
    -------
    Axes
        Stamped with the number of steps and the seed of the noise.

    Raises
    ------
    ValueError
        No rules or too many, a name that is not known, ``new`` not among them, or too few steps.

    Notes
    -----
    Cost: ``steps`` gradients of 200 paths a rule, about 20 milliseconds. The steps are those of
    `companion.simulate.trajectory`, the package's own. A path that leaves the window is cut there.
    The axes of the valley are those of the coordinates, which suits rules that scale each of them.

    Examples
    --------
    >>> ax = valley(["SGD", "Momentum", "Adam"])
    >>> [text.get_text().split(",")[0] for text in ax.get_legend().get_texts()]
    ['SGD', 'Momentum', 'Adam']
    >>> plt.close(ax.figure)
    """
    rules = _rules(rules)
    new = _checked(rules, new, steps)
    ax = ax or plt.subplots(figsize=(7, 4.6))[1]
    _level_lines(ax)
    handles, older = {}, [name for name in rules if name != new]
    for name in [*older, new]:  # the new rule lies on top
        path = _paths(*rules[name], steps, seed)
        style = {**looks(rules)[name], "lw": 2, "zorder": 4}
        if name != new:
            shade, line = OLDER[older.index(name)]
            style.update(color=shade, linestyle=line, lw=1, zorder=3)
        label, drawn = _label(name, rules, path), points_of(path[:, 0])
        (handles[name],) = ax.plot(*drawn.T, ms=4 if name == new else 3, label=label, **style)
    ax.plot(*START, "o", color="black", ms=7, zorder=5)
    ax.plot(0, 0, "*", color="white", mec="black", ms=14, zorder=5)
    ax.legend(
        handles=[handles[name] for name in rules],
        title=f"step size: mean loss, last {LATE} steps, {DRAWS} draws",
        loc="lower center",
        ncols=min(2, len(rules)),
        title_fontsize=10,
        fontsize=10,
    )
    stamp(ax, extra=f"{steps} steps, one draw of the noise (seed {seed})")
    return ax


def _rules(rules) -> dict:
    """Return rules as a dictionary; ValueError on a name that is not known."""
    if isinstance(rules, dict):
        return rules
    for name in rules:
        if name not in RULES:
            raise ValueError(f"rules must be among {', '.join(RULES)}, got {name!r}")
    return {name: RULES[name] for name in rules}


def _checked(rules, new, steps) -> str:
    """Return the new rule's label; raise ValueError on what `valley` cannot draw."""
    if not 1 <= len(rules) <= 1 + len(OLDER):
        raise ValueError(f"rules must hold 1 to {1 + len(OLDER)} rules, got {len(rules)}")
    new = list(rules)[-1] if new is None else new
    if new not in rules:
        raise ValueError(f"new must be one of {', '.join(rules)}, got {new!r}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < LATE:
        raise ValueError(f"steps must be a whole number of at least {LATE}, got {steps!r}")
    return new


def _paths(optimizer, options, steps, seed) -> torch.Tensor:
    """Return the iterates of a rule in the valley for all draws, of shape (steps + 1, DRAWS, 2)."""
    start = START.expand(DRAWS, 2)
    return trajectory(optimizer, VALLEY.noisy(SIGMA), start, steps, seed=seed, **options)


def _label(name, rules, path) -> str:
    """Return what the legend says of a rule."""
    lr = rules[name][1].get("lr")
    size = f", {lr:g}" if isinstance(lr, int | float) else ""
    return f"{name}{size}: {VALLEY.loss(path[-LATE:]).mean():.2g}"


def _level_lines(ax) -> None:
    """Draw where f is 1/16, 1/4, 1, 4, 16 and 64, over the window."""
    across, along = torch.linspace(-4.6, 2.6, 200), torch.linspace(-2.0, 1.25, 200)
    x1, x2 = torch.meshgrid(across, along, indexing="xy")
    heights = VALLEY.loss(torch.stack([x1, x2], -1))
    levels = [4.0**k for k in range(-2, 4)]
    ax.contour(x1, x2, heights, levels, colors="0.8", linewidths=0.8, zorder=1)
    ax.set(xlim=(-4.6, 2.6), ylim=(-2.0, 1.25), xlabel="$x_1$ (flat)", ylabel="$x_2$ (steep)")
    ax.grid(False)
