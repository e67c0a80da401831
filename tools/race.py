"""Draw the race of the landing page as it stands before anybody plays it.

``python tools/race.py`` writes book/_static/race.png, which stays where scripts do not run.
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
START, STEPS, KAPPA = (-3.0, 1.5), 200, 30
RULES = {
    "SGD": (SGD, {"lr": 0.01}),
    "Momentum": (SGD, {"lr": 0.01, "momentum": 0.9}),
    "Adam": (Adam, {"lr": 0.1, "betas": (0.9, 0.99)}),
    "ADOPT": (ADOPT, {"lr": 0.1, "betas": (0.9, 0.99)}),
}


def draw() -> plt.Figure:
    f, x0 = ravine(KAPPA), torch.tensor(START, dtype=torch.float64)
    ways = {
        name: trajectory(cls, gradient(f), x0, STEPS, **options)
        for name, (cls, options) in RULES.items()
    }
    figure, (plane, loss) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    plot.paths(f, ways, (-4, 4), (-2.4, 2.4), minimiser=(0, 0), ax=plane)
    for name, way in ways.items():
        loss.plot(f(way), label=name, **(plot.look(name) | {"marker": ""}))
    loss.set(xlabel="step", ylabel="f(x)", yscale="log")
    loss.legend()
    return figure


def main() -> None:
    plot.style()
    file = io.BytesIO()
    draw().savefig(file, dpi=200)
    with Image.open(file) as image:
        image.convert("RGB").quantize(64).save(PICTURE)


if __name__ == "__main__":
    main()
