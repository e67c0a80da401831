"""Draw the race of the landing page as it stands before anybody plays it.

``python -m tools.race`` writes book/_static/race.png, which stays where scripts do not run.
"""

import io
from pathlib import Path

import matplotlib as mpl
import torch
from PIL import Image

mpl.use("agg")

import matplotlib.pyplot as plt

from companion import plot
from companion.optim import ADOPT, SGD, Adam
from companion.problems import gradient, ravine
from companion.simulate import trajectory

PICTURE = Path(__file__).resolve().parent.parent / "book" / "_static" / "race.png"
LANDSCAPE, START, STEPS = ravine(30), (-3.0, 1.5), 200
PLANE = (-4, 4), (-2.4, 2.4)
RULES = {
    "SGD": (SGD, {"lr": 0.01}),
    "Momentum": (SGD, {"lr": 0.01, "momentum": 0.9}),
    "Adam": (Adam, {"lr": 0.1, "betas": (0.9, 0.99)}),
    "ADOPT": (ADOPT, {"lr": 0.1, "betas": (0.9, 0.99)}),
}


def ways() -> dict:
    """Return the path of each rule, of shape (steps + 1, 2)."""
    slope, start = gradient(LANDSCAPE), torch.tensor(START, dtype=torch.float64)
    return {
        name: trajectory(cls, slope, start, STEPS, **options)
        for name, (cls, options) in RULES.items()
    }


def draw() -> plt.Figure:
    """Return the picture: paths, and loss."""
    figure, (plane, loss) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    drawn = ways()
    plot.paths(LANDSCAPE, drawn, *PLANE, minimiser=(0, 0), ax=plane)
    for name, way in drawn.items():
        loss.plot(LANDSCAPE(way), label=name, **(plot.look(name) | {"marker": ""}))
    loss.set(xlabel="step", ylabel="f(x)", yscale="log", ylim=(1e-8, None))
    loss.legend()
    return figure


def main() -> None:
    """Write the picture, in 64 colours."""
    plot.style()
    file = io.BytesIO()
    draw().savefig(file, dpi=200)
    with Image.open(file) as image:
        image.convert("RGB").quantize(64).save(PICTURE)


if __name__ == "__main__":
    main()
