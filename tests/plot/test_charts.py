import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from companion import plot, problems
from companion.simulate import tidy


def runs(name, values):
    """Return a frame of a tensor (steps, seeds)."""
    values = torch.as_tensor(values, dtype=torch.float64)
    steps, seeds = values.shape
    return tidy(values, step=range(steps), seed=range(seeds)).assign(optimizer=name)


def lines(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def draw(ax):
    ax.figure.canvas.draw()


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
