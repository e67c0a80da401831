"""Charts: curves over steps, sensitivity to a hyper-parameter, fields, and paths in the plane."""

from numbers import Number

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.patheffects import Normal, Stroke

from companion.plot.theme import BAND, LABELS, looks

DIVERGED = 1e300  # stands for NaN and infinity, so that quantiles stay numbers


def curves(
    frame, x="step", y="loss", hue="optimizer", ax=None, logy=True, band=(0.1, 0.9)
) -> plt.Axes:
    """Draw the median of y over seeds against x, one line for each value of hue, with a band.

    Parameters
    ----------
    frame : pandas.DataFrame
        Tidy: a row a seed and x, such as `companion.simulate.tidy` returns.
    x, y, hue : str
        Columns.
    ax : Axes, optional
        Where to draw.
    logy : bool
        Logarithmic y.
    band : (float, float), "range" or None
        Quantiles over the seeds that the band spans; ``"range"`` is from lowest to highest.

    Returns
    -------
    Axes

    Notes
    -----
    NaN and infinity count as the largest value. A line ends, with a cross, where the median run
    has diverged.

    Examples
    --------
    >>> rows = {"optimizer": "SGD", "step": [0, 0, 1, 1], "seed": [0, 1, 0, 1]}
    >>> ax = curves(pd.DataFrame({**rows, "loss": [4.0, 4.0, 1.0, 3.0]}))
    >>> ax.lines[0].get_ydata().tolist()
    [4.0, 2.0]
    >>> plt.close(ax.figure)
    """
    ax = ax or plt.subplots()[1]
    low, high = (0, 1) if band == "range" else band or (0.5, 0.5)
    groups = list(_groups(frame, hue, [x, y]))
    top = frame[y][np.isfinite(frame[y])].max()
    for label, look_, rows in groups:
        q = _quantiles(rows, x, y, (low, 0.5, high))
        median = q[0.5].where(q[0.5] <= top)  # what lies above has diverged
        ax.plot(q.index, median, label=label, markevery=max(1, len(q) // 8), **look_)
        if low < high:
            edge = q[high].clip(upper=top)
            ax.fill_between(q.index, q[low], edge, median.notna(), color=look_["color"], **BAND)
        if median.isna().any() and median.notna().any():
            end = median.last_valid_index()
            ax.plot([end], [median[end]], "x", color=look_["color"], ms=10, mew=3)
    if logy:
        ax.set_yscale("log")
    several = low < high and frame.groupby([hue, x]).size().max() > 1
    _finish(ax, x, y, hue, _spread(low, high) if several else "")
    return ax


def sensitivity(frame, x="lr", y="loss", hue="optimizer", ax=None, limit=None) -> plt.Axes:
    """Draw the final y against a hyper-parameter x: median over seeds, band from lowest to highest.

    Parameters
    ----------
    frame : pandas.DataFrame
        Tidy: a row a run.
    x, y, hue : str
        Columns.
    ax : Axes, optional
        Where to draw.
    limit : float, optional
        A run that ends above this has diverged, as have NaN and infinity; the largest finite y if
        left out. Crosses above the limit show where at least one seed has diverged.

    Returns
    -------
    Axes

    Examples
    --------
    >>> runs = pd.DataFrame({"optimizer": "SGD", "lr": [0.1, 1.0], "loss": [0.5, float("inf")]})
    >>> ax = sensitivity(runs, limit=2.0)
    >>> ax.lines[0].get_ydata().tolist()  # clipped at the limit
    [0.5, 2.0]
    >>> plt.close(ax.figure)
    """
    ax = ax or plt.subplots()[1]
    finite = frame[y][np.isfinite(frame[y])]
    limit = limit if limit is not None else (finite.max() if len(finite) else 1.0)
    diverged = False
    for row, (label, look_, rows) in enumerate(_groups(frame, hue, [x, y])):
        q = _quantiles(rows, x, y, (0, 0.5, 1))
        lost = q.index[q[1] > limit]
        q = q.clip(upper=limit)
        ax.plot(q.index, q[0.5], label=label, **look_)
        ax.fill_between(q.index, q[0], q[1], color=look_["color"], **BAND)
        if len(lost):
            diverged = True
            height = limit * 1.5 ** (row + 1)  # a row of crosses for each line
            ax.plot(lost, [height] * len(lost), "x", color=look_["color"], ms=7, mew=2)
    if diverged:
        ax.axhline(limit, color="0.4", lw=1, ls=":")
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        ax.annotate("× diverged", (0.01, limit), (0, 2), **place)
    ax.set(xscale="log", yscale="log")
    _finish(ax, x, y, hue, _spread(0, 1))
    return ax


def heatmap(
    values,
    x,
    y,
    xlabel="",
    ylabel="",
    label="",
    ax=None,
    logx=False,
    logy=False,
    log=False,
    limits=(None, None),
) -> plt.Axes:
    """Draw a field over a grid of two hyper-parameters, such as a phase diagram.

    Parameters
    ----------
    values : Tensor or array
        Of shape (len(y), len(x)). NaN and infinity are left grey.
    x, y : sequence of float
        Positions of the columns and rows.
    xlabel, ylabel, label : str
        What the axes and the colours mean, with units. ``label=None``: no colour bar.
    ax : Axes, optional
        Where to draw.
    logx, logy, log : bool
        Logarithmic x, y and colours.
    limits : (float or None, float or None)
        Values at the ends of the colours, so that several fields share them; by default their own.

    Returns
    -------
    Axes

    Examples
    --------
    >>> ax = heatmap([[1.0, 2.0]], x=[0.1, 0.9], y=[1.0], xlabel="β₂", label="loss")
    >>> ax.get_xlabel()
    'β₂'
    >>> plt.close(ax.figure)
    """
    ax = ax or plt.subplots()[1]
    values = np.asarray(values, dtype=float)
    if values.shape != (len(y), len(x)):
        raise ValueError(f"values must have shape ({len(y)}, {len(x)}), got {values.shape}")
    values = np.ma.masked_invalid(np.ma.masked_less_equal(values, 0) if log else values)
    norm = (mpl.colors.LogNorm if log else mpl.colors.Normalize)(*limits)
    mesh = ax.pcolormesh(_edges(x, logx), _edges(y, logy), values, norm=norm, cmap="viridis")
    if label is not None:
        ax.figure.colorbar(mesh, ax=ax, label=label)
    ax.grid(False)
    ax.set(xlabel=xlabel, ylabel=ylabel, facecolor="0.75")
    ax.set_xscale("log" if logx else "linear")
    ax.set_yscale("log" if logy else "linear")
    return ax


def paths(f, trajectories, xlim, ylim, minimiser=None, ax=None) -> plt.Axes:
    """Draw trajectories in the plane on the contours of f (dark is low).

    Parameters
    ----------
    f : callable
        From (..., 2) to (...).
    trajectories : dict of str to Tensor
        Labels and iterates of shape (T, 2).
    xlim, ylim : (float, float)
        The window.
    minimiser : (float, float), optional
        Marked by a star.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes

    Examples
    --------
    >>> straight = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    >>> ax = paths(lambda x: x.square().sum(-1), {"SGD": straight}, (-1, 2), (-1, 2))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['SGD']
    >>> plt.close(ax.figure)
    """
    ax = ax or plt.subplots()[1]
    field(f, xlim, ylim, minimiser, ax)
    for line, path in zip(trajectory_lines(trajectories, ax), trajectories.values(), strict=True):
        points = points_of(path)
        line.set_data(points[:, 0], points[:, 1])
        line.set_markevery([len(points) - 1])
    ax.legend(loc="best")
    return ax


def _edges(centres, log) -> np.ndarray:
    """Return the edges of cells around their centres, halfway on the axis's own scale."""
    centres = np.asarray(torch.as_tensor(centres).tolist(), dtype=float)
    z = np.log(centres) if log else centres
    middle = (z[1:] + z[:-1]) / 2
    first, last = (2 * z[0] - middle[0], 2 * z[-1] - middle[-1]) if len(z) > 1 else (z - 1, z + 1)
    edges = np.hstack([first, middle, last])
    return np.exp(edges) if log else edges


def field(f, xlim, ylim, minimiser, ax):
    """Draw the contours of f, evenly spaced in the logarithm of its height over the lowest."""
    x1, x2 = np.meshgrid(np.linspace(*xlim, 200), np.linspace(*ylim, 200))
    z = f(torch.as_tensor(np.stack([x1, x2], -1))).detach().numpy()
    height = z - z.min()
    height = np.log10(height + 1e-3 * np.median(height) + 1e-300)
    ax.contourf(x1, x2, height, levels=14, cmap="cividis", alpha=0.75)
    if minimiser is not None:
        ax.plot(*minimiser, "*", color="white", mec="black", ms=14, zorder=3)
    ax.set(xlim=xlim, ylim=ylim, xlabel="$x_1$", ylabel="$x_2$")
    ax.grid(False)


def trajectory_lines(trajectories, ax):
    """Mark each start; return an empty line a trajectory, outlined to stand out from the field."""
    for path in trajectories.values():
        ax.plot(*points_of(path)[0], "o", color="black", ms=5, zorder=4)
    outline = [Stroke(linewidth=4, foreground="white"), Normal()]
    return [
        ax.plot([], [], label=label, path_effects=outline, lw=2, mec="white", ms=9, **look_)[0]
        for label, look_ in looks(trajectories).items()
    ]


def points_of(path) -> np.ndarray:
    """Return a trajectory of shape (T, 2) as an array; ValueError on another shape."""
    points = torch.as_tensor(path).detach().cpu().numpy()
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"each of trajectories must have shape (T, 2), got {points.shape}")
    return points


def _groups(frame, hue, columns):
    """Yield label, look and rows for each value of hue, in order of appearance."""
    missing = [c for c in (hue, *columns) if c not in frame]
    if missing:
        raise ValueError(f"frame has no column {missing[0]!r}; it has {list(frame)}")
    values = list(frame[hue].unique())
    prefix = f"{LABELS.get(hue, hue)} = "
    labels = [f"{prefix}{v:g}" if isinstance(v, Number) else str(v) for v in values]
    for value, label, look_ in zip(values, labels, looks(labels).values(), strict=True):
        yield label, look_, frame[frame[hue] == value]


def _quantiles(rows, x, y, q):
    """Return quantiles of y over seeds: a row for each x, a column for each quantile."""
    known = rows[y].where(np.isfinite(rows[y]), DIVERGED)
    groups = known.groupby(rows[x])
    return pd.DataFrame({level: groups.quantile(level) for level in q})


def _spread(low, high) -> str:
    return "median, range" if (low, high) == (0, 1) else f"median, {low:.0%}–{high:.0%}"


def _finish(ax, x, y, hue, spread):
    ylabel = LABELS.get(y, y)
    ax.set(xlabel=LABELS.get(x, x), ylabel=f"{ylabel} ({spread} of seeds)" if spread else ylabel)
    ax.legend()
