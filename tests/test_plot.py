import base64
import io
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from bs4 import BeautifulSoup
from PIL import Image

from companion import optim, plot, problems
from companion.simulate import tidy


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        plot.style()
        yield
        plt.close("all")


def runs(name, values):
    """Return a frame of a tensor (steps, seeds)."""
    values = torch.as_tensor(values, dtype=torch.float64)
    steps, seeds = values.shape
    return tidy(values, step=range(steps), seed=range(seeds)).assign(optimizer=name)


def lines(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def draw(ax):
    ax.figure.canvas.draw()


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


def test_curves_draw_the_median_and_band_of_each_optimizer():
    values = np.arange(1.0, 12)[None] * np.array([[1.0], [2.0], [4.0]])
    ax = plot.curves(pd.concat([runs("Adam", values), runs("SGD", 10 * values)]))
    drawn = lines(ax)
    assert list(drawn) == ["Adam", "SGD"]
    for name, line in drawn.items():
        look = plot.look(name)
        assert (line.get_color(), line.get_marker()) == (look["color"], look["marker"])
        assert line.get_xdata().tolist() == [0, 1, 2]
    assert drawn["Adam"].get_ydata().tolist() == [6, 12, 24]
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 2  # the 10 % quantile of 1, 2, …, 11
    assert band[:, 1].max() == 40
    assert (ax.get_yscale(), ax.get_xlabel()) == ("log", "step")
    assert ax.get_ylabel() == "loss (median, 10%–90% of seeds)"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Adam", "SGD"]
    draw(ax)


def test_curves_can_span_the_range_or_no_band():
    frame = runs("Adam", [[1.0, 2.0, 9.0], [1.0, 2.0, 9.0]])
    ax = plot.curves(frame, band="range", logy=False)
    vertices = ax.collections[0].get_paths()[0].vertices
    assert (vertices[:, 1].min(), vertices[:, 1].max()) == (1, 9)
    assert ax.get_ylabel() == "loss (median, range of seeds)"
    assert ax.get_yscale() == "linear"
    own = plt.figure().add_subplot()
    assert plot.curves(frame, band=None, ax=own) is own
    assert not own.collections
    assert own.get_ylabel() == "loss"


def test_curves_end_with_a_cross_where_the_median_run_diverges():
    frame = runs("SGD", [[1.0, 1.0, 1.0], [2.0, 3.0, np.inf], [np.nan, 5.0, np.inf], [np.nan] * 3])
    ax = plot.curves(frame, band="range")
    main, cross = ax.lines
    np.testing.assert_array_equal(main.get_ydata(), [1, 3, np.nan, np.nan])
    assert (cross.get_marker(), cross.get_xydata().tolist()) == ("x", [[1, 3]])
    draw(ax)
    assert ax.get_ylim()[1] < 100


def test_curves_name_numbers_by_their_column():
    frame = pd.concat(runs("Adam", torch.ones(2, 1)).assign(lr=lr) for lr in (0.1, 0.001))
    ax = plot.curves(frame, hue="lr")
    assert list(lines(ax)) == ["step size = 0.1", "step size = 0.001"]
    assert ax.get_ylabel() == "loss"  # one seed: no band to speak of


def test_sensitivity_clips_and_marks_what_diverged():
    lr = [0.1, 1.0, 10.0]
    adam = tidy(
        torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, np.inf], [5.0, 5.0, 5.0]]), lr=lr, seed=range(3)
    )
    sgd = tidy(torch.tensor([[1.0] * 3, [np.nan] * 3, [np.inf] * 3]), lr=lr, seed=range(3))
    frame = pd.concat([adam.assign(optimizer="Adam"), sgd.assign(optimizer="SGD")])
    ax = plot.sensitivity(frame, limit=4.0)
    drawn = lines(ax)
    assert drawn["Adam"].get_ydata().tolist() == [2, 2, 4]
    assert drawn["SGD"].get_ydata().tolist() == [1, 4, 4]
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert [line.get_xdata().tolist() for line in crosses] == [[1, 10], [1, 10]]
    heights = [set(line.get_ydata()) for line in crosses]
    assert all(len(h) == 1 and min(h) > 4 for h in heights)
    assert heights[0] != heights[1]  # crosses of two optimizers do not hide each other
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "step size")
    assert "× diverged" in [text.get_text() for text in ax.texts]
    draw(ax)
    everything = pd.concat([sgd.assign(optimizer="SGD", loss=np.nan)])
    draw(plot.sensitivity(everything))


def test_sensitivity_says_nothing_of_divergence_where_there_is_none():
    frame = tidy(torch.ones(3, 2), lr=[1, 2, 3], seed=range(2)).assign(optimizer="Adam")
    ax = plot.sensitivity(frame)
    assert not ax.texts
    assert len(ax.lines) == 1


@pytest.mark.parametrize("function", [plot.curves, plot.sensitivity])
def test_a_missing_column_is_named(function):
    with pytest.raises(ValueError, match="frame has no column 'optimizer'; it has"):
        function(pd.DataFrame({"step": [1], "lr": [1.0], "loss": [1.0]}))


def test_heatmaps_share_colours_within_limits():
    for log in (False, True):
        ax = plot.heatmap([[1.0, 4.0]], [1.0, 2.0], [1.0], label=None, log=log, limits=(1.0, 16.0))
        assert ax.figure.axes == [ax]
        assert ax.collections[0].norm(4.0) == pytest.approx(0.5 if log else 0.2)
        draw(ax)


def test_heatmap_places_cells_around_their_centres():
    values = torch.tensor([[1.0, 2.0, np.nan], [4.0, 5.0, -6.0]])
    ax = plot.heatmap(
        values,
        torch.tensor([0.1, 1.0, 10.0]),
        [1, 2],
        "step size",
        "β",
        "loss",
        logx=True,
        log=True,
    )
    mesh = ax.collections[0]
    edges = mesh.get_coordinates()
    np.testing.assert_allclose(edges[0, :, 0], 10 ** np.array([-1.5, -0.5, 0.5, 1.5]), rtol=1e-6)
    np.testing.assert_allclose(edges[:, 0, 1], [0.5, 1.5, 2.5])
    assert mesh.get_array().mask.tolist() == [[False, False, True], [False, False, True]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step size", "β")
    assert ax.figure.axes[1].get_ylabel() == "loss"
    draw(ax)
    draw(plot.heatmap([[1.0]], [2.0], [3.0]))
    with pytest.raises(ValueError, match=r"values must have shape \(1, 2\), got \(1, 1\)"):
        plot.heatmap([[1.0]], [2.0, 3.0], [3.0])


PATHS = {
    "SGD": torch.linspace(-1.5, 1, 20)[:, None].repeat(1, 2),
    "Adam": torch.linspace(-1.5, 0.5, 12)[:, None].repeat(1, 2),
}
WINDOW = {"xlim": (-2, 2), "ylim": (-1, 3)}


def test_paths_draw_each_trajectory_over_the_field():
    ax = plot.paths(problems.rosenbrock, PATHS, **WINDOW, minimiser=(1, 1))
    drawn = lines(ax)
    assert list(drawn) == ["SGD", "Adam"]
    for name, line in drawn.items():
        np.testing.assert_array_equal(line.get_xydata(), PATHS[name])
        assert line.get_color() == plot.look(name)["color"]
    assert len([line for line in ax.lines if line.get_marker() == "*"]) == 1
    assert (ax.get_xlim(), ax.get_ylim()) == ((-2, 2), (-1, 3))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")
    draw(ax)
    with pytest.raises(ValueError, match=r"must have shape \(T, 2\), got \(5, 3\)"):
        plot.paths(problems.rosenbrock, {"SGD": torch.ones(5, 3)}, **WINDOW)


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
    draw(ax)


def animate(**options):
    return plot.animate_paths(
        problems.rosenbrock, PATHS, **WINDOW, **{"alt": 'Adam & "SGD"', "frames": 8, **options}
    )


def test_animation_is_small_accessible_and_needs_nothing_from_elsewhere():
    animation = animate(minimiser=(1, 1))
    page = BeautifulSoup(animation._repr_html_(), "html.parser")
    assert page.img["alt"] == 'Adam & "SGD"'
    assert page.button.text == "Play"
    assert page.input["aria-valuetext"] == "step 19"
    assert repr(animation) == f"Animation({len(animation.data):,} characters of HTML)"
    assert page.input["aria-label"]
    assert page.input["max"] == page.input["value"] == "7"
    assert not re.search(r"https?:", animation.data)
    pictures = re.findall(r'"(iVBOR[^"]+)"', animation.data)
    assert len(set(pictures)) == 8
    assert page.img["src"].endswith(pictures[-1])
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert image.size == (495, 360)
    assert "[0, 3, 5, 8, 11, 14, 16, 19]" in animation.data
    assert not plt.get_fignums()
    assert animate().data == animate().data


def test_fifty_frames_stay_within_the_budget():
    assert len(animate(frames=50).data) < 1_500_000


def test_animation_refuses_to_be_too_large_or_silent():
    with pytest.raises(ValueError, match=r"more than budget=10; lower frames=8 or dpi=90"):
        animate(budget=10)
    with pytest.raises(ValueError, match="alt must say what the animation shows"):
        animate(alt=" ")
