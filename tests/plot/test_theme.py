import subprocess
import sys

import matplotlib.pyplot as plt
import pytest

from companion import optim, plot


def test_only_plot_imports_matplotlib():
    code = "import sys, companion, companion.simulate, companion.problems, companion.checks\n"
    code += "import companion.scale, companion.show\nsys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_style_is_opaque_and_readable(monkeypatch):
    monkeypatch.setenv("COMPANION_SCALE", "quick")
    plot.style()
    assert plt.rcParams["figure.facecolor"] == plt.rcParams["savefig.facecolor"] == "white"
    assert plt.rcParams["figure.constrained_layout.use"]
    assert plt.rcParams["font.size"] >= 12
    assert plt.rcParams["figure.dpi"] >= 100


def test_a_users_settings_change_no_figure():
    settings = dict(plt.rcParams)
    hostile = {
        "text.usetex": True,
        "text.latex.preamble": r"\usepackage{nothing}",
        "font.family": "serif",
        "mathtext.fontset": "stix",
        "axes.prop_cycle": plt.cycler(color=["black"]),
        "axes.formatter.use_mathtext": True,
        "axes.spines.top": False,
        "lines.marker": "x",
        "image.cmap": "gray",
        "savefig.bbox": "tight",
        "savefig.transparent": True,
        "savefig.dpi": 7,
        "figure.autolayout": True,
        "xtick.direction": "in",
        "legend.loc": "lower left",
        "path.sketch": (1, 100, 2),
    }
    plt.rcParams.update(hostile)
    plot.style()
    assert dict(plt.rcParams) == settings
    figure, ax = plt.subplots()
    ax.set_xlabel("_ % needs no LaTeX")
    figure.canvas.draw()


def test_every_optimizer_has_a_look_that_needs_no_colour():
    assert set(optim.__all__) <= set(plot.LOOKS)
    seen = [plot.look(name) for name in plot.LOOKS]
    assert len({(str(one["linestyle"]), one["marker"]) for one in seen}) == len(seen)
    assert len({tuple(map(str, one.values())) for one in seen}) == len(seen)
    with pytest.raises(ValueError, match=r"name must be one of SGD, .* got 'Adamm'"):
        plot.look("Adamm")


def test_other_names_get_looks_of_their_own():
    names = ["Adam", *(f"batch {i}" for i in range(15)), "SGD", "Adam"]
    chosen = plot.looks(names)
    assert list(chosen) == names[:-1]
    assert chosen["Adam"] == plot.look("Adam")
    assert chosen["SGD"] == plot.look("SGD")
    assert len({tuple(map(str, one.values())) for one in chosen.values()}) == 17
    two = plot.looks(["Adam", "mine"])
    assert two["Adam"]["color"] != two["mine"]["color"]
    assert two["Adam"]["linestyle"] != two["mine"]["linestyle"]


@pytest.mark.parametrize(
    ("seeds", "extra", "stored", "text"),
    [
        (5, None, False, "smoke scale, 5 seeds"),
        (range(1), "digits", False, "smoke scale, 1 seed, digits"),
        (None, None, False, "smoke scale"),
        (3, "MNIST", True, "stored results, 3 seeds, MNIST"),
    ],
)
def test_stamp_says_scale_and_seeds(monkeypatch, seeds, extra, stored, text):
    monkeypatch.setenv("COMPANION_SCALE", "smoke")
    figure, ax = plt.subplots()
    plot.stamp(ax, seeds, extra, stored)
    plot.stamp(figure, seeds, extra, stored)
    assert ax.texts[0].get_text() == figure.get_supxlabel() == text
    figure.canvas.draw()


COUNTED = """
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from companion import plot
draw, drawn = Figure.draw, []
Figure.draw = lambda figure, renderer: (drawn.append(figure), draw(figure, renderer))
plot.style()
"""


@pytest.mark.elsewhere
def test_a_notebook_draws_a_figure_once(monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat.v4"), pytest.importorskip("nbclient")
    monkeypatch.setenv("COMPANION_SCALE", "smoke")  # without a crop, which takes a second time
    cells = map(nbformat.new_code_cell, (COUNTED, "plt.subplots();", "print(len(drawn))"))
    notebook = nbformat.new_notebook(cells=list(cells))
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    assert "image/png" in notebook.cells[1].outputs[0].data
    assert notebook.cells[2].outputs[0].text == "1\n"
