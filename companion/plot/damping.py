"""The damping diagram of the heavy ball: a map of rates, and one point of it looked at."""

import math

import matplotlib.pyplot as plt
import numpy as np

from companion.plot.charts import heatmap
from companion.plot.theme import look

PLACES = {"creeps": (0.05, 0.05), "swings": (1.2, 0.5), "flips": (1.5, 0.02)}
PLACES |= {"diverges": (3.1, 0.3)}
GREY = {"color": "0.4", "lw": 1}


def damping(rates, a, mu, point, roots, run) -> dict:
    """Draw the rate of the heavy ball over all pairs (a, μ), and the roots and run of one of them.

    Parameters
    ----------
    rates : Tensor, shape (len(mu), len(a))
        By which factor a step the run shrinks; grey where that is above one.
    a, mu : Tensor
        The grid: a = ηλ from 0 to 4, μ from 0 to 1.
    point : (float, float)
        The pair that is looked at.
    roots : Tensor, complex
        Of the characteristic equation at that point.
    run : Tensor, shape (steps + 1,)
        x_t / x_0 at that point.

    Returns
    -------
    dict
        The axes ``"map"``, ``"plane"`` and ``"run"`` of a new figure.

    Notes
    -----
    Borders: critical damping at μ = (1 - √a)² and the limit of stability at a = 2 (1 + μ).

    Examples
    --------
    >>> import torch
    >>> run, pair = 0.5 ** torch.arange(3), torch.tensor([0.5 + 0j, 0.0])
    >>> axes = damping(torch.rand(2, 2), [1.0, 3.0], [0.2, 0.8], (0.5, 0.0), pair, run)
    >>> axes["run"].get_xlabel()
    'step'
    >>> plt.close(axes["map"].figure)
    """
    figure = plt.figure(figsize=(9, 6.6))
    axes = figure.subplot_mosaic([["map", "plane"], ["run", "run"]], height_ratios=[2, 1])
    _map(axes["map"], rates, a, mu, point)
    pair = np.asarray(roots)
    rho, angles = np.abs(pair).max(), np.linspace(0, 2 * math.pi, 200)
    for radius, line, label in ((1, "-", "unit circle"), (rho, "--", "radius ρ")):
        x, y = radius * np.cos(angles), radius * np.sin(angles)
        axes["plane"].plot(x, y, line, label=label, **GREY)
    axes["plane"].plot(pair.real, pair.imag, "o", ms=9)
    axes["plane"].set(aspect="equal", xlabel="real part", ylabel="imaginary part")
    axes["plane"].legend(loc="center")
    run, steps = np.asarray(run), np.arange(len(run))
    axes["run"].plot(steps, rho**steps, "--", label="$±ρ^t$", **GREY)
    axes["run"].plot(steps, -(rho**steps), "--", **GREY)
    axes["run"].plot(steps, run, **look("Momentum") | {"linestyle": "-", "marker": "."})
    axes["run"].set(xlabel="step", ylabel="$x_t$ / $x_0$")
    axes["run"].legend()
    return axes


def _map(ax, rates, a, mu, point):
    rates = np.where(np.asarray(rates) > 1, np.nan, rates)
    heatmap(rates, a, mu, "$a = ηλ$", "momentum $μ$", "rate ρ a step", ax=ax)
    fine = np.linspace(0, 4, 400)
    for border, line in (((1 - np.sqrt(fine)) ** 2, "-"), (fine / 2 - 1, "--")):
        ax.plot(fine, border, "k", lw=3.5)
        ax.plot(fine, border, "w" + line, lw=1.5)
    for text, place in PLACES.items():
        ax.text(*place, text, bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1.5})
    ax.plot(*point, "o", color="white", mec="black", ms=10)
    ax.set(xlim=(0, 4), ylim=(0, 0.98))
