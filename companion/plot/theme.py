"""The look of every figure: colours, line styles, markers, the stamp of how it was made."""

import sys
from collections import Counter

import matplotlib as mpl
import matplotlib.pyplot as plt
import seaborn as sns

from companion import scale

COLOURS = sns.color_palette("colorblind").as_hex()
BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, _, GREY, _, SKY = COLOURS  # two are too pale
DASH, DOTS, DASHDOT = (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1))
LOOKS = {
    "SGD": (BLUE, "-", "o"),
    "Momentum": (SKY, DASH, "s"),
    "Nesterov": (BROWN, DASHDOT, "8"),
    "AdaGrad": (GREEN, DASH, "D"),
    "RMSprop": (PURPLE, DASHDOT, "v"),
    "Adam": (ORANGE, "-", "^"),
    "AdamW": (BLUE, DASH, ">"),
    "Adamax": (BLUE, DASHDOT, "H"),
    "AMSGrad": (GREEN, DASHDOT, "P"),
    "AdaFom": (RED, DOTS, "<"),
    "AdaBound": (GREY, DASH, "h"),
    "AdaShift": (SKY, DASHDOT, "p"),
    "ADOPT": (RED, DASH, "X"),
    "SignSGD": (GREY, DOTS, "s"),
    "AdaSGD": (PURPLE, "-", "d"),
    "BlockwiseAdam": (BROWN, DOTS, "*"),
}
HUES = (BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, GREY, SKY)
LINES, MARKERS = ("-", DASH, DASHDOT, DOTS), "o^sDvPX*"
OTHERS = [
    (colour, LINES[(i + turn) % 4], MARKERS[i])
    for turn in range(4)
    for i, colour in enumerate(HUES)
]
LABELS = {"lr": "step size", "step": "step", "loss": "loss", "beta1": "β₁", "beta2": "β₂"}
BAND = {"alpha": 0.2, "linewidth": 0}


def style() -> None:
    """Set the style of the book for all figures that follow; call it once a notebook.

    It starts from Matplotlib's defaults: a ``matplotlibrc`` of the user, who may have LaTeX set the
    text, changes no figure. The backend stays the user's. In a notebook, figures have two pixels
    where a sharp screen shows them.
    """
    draft = scale.name() == "smoke"  # figures that nobody looks at are drawn quickly
    settings = {
        "axes.titlesize": 13,
        "axes.titlelocation": "left",
        "axes.labelsize": 13,
        "figure.constrained_layout.use": not draft,
        "figure.dpi": 40 if draft else 100,
        "figure.facecolor": "white",
        "figure.figsize": (6, 4),
        "font.size": 12,
        "grid.alpha": 0.6,
        "legend.fontsize": 11,
        "lines.linewidth": 2,
        "lines.markersize": 6,
        "savefig.facecolor": "white",
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
    }
    mpl.rcdefaults()
    sns.set_theme(style="whitegrid", palette="colorblind", rc=settings)
    if draft:
        _in_notebooks("png", bbox_inches=None)  # drawn once: a crop takes a second time
    else:
        _in_notebooks("retina", bbox_inches="tight")  # two pixels where a screen shows them


def _in_notebooks(format: str, *, bbox_inches: str | None) -> None:
    """Have notebooks draw figures in a format, cropped or not, and once."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if shell is not None and hasattr(shell, "kernel"):
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats(format, bbox_inches=bbox_inches)
        if "inline" in mpl.get_backend():
            plt.switch_backend(mpl.get_backend())  # installs a hook, now rather than later
            plt.uninstall_repl_displayhook()  # which draws each figure once more, for nobody


def look(name: str) -> dict:
    """Return the colour, line style and marker that belong to an optimizer.

    Parameters
    ----------
    name : str
        A name of `companion.optim`, or ``"Momentum"`` or ``"Nesterov"`` for these uses of SGD.

    Returns
    -------
    dict
        ``color``, ``linestyle`` and ``marker``, as ``ax.plot`` takes them.

    Examples
    --------
    >>> look("Adam")["marker"]
    '^'
    """
    if name not in LOOKS:
        raise ValueError(f"name must be one of {', '.join(LOOKS)}, got {name!r}")
    return dict(zip(("color", "linestyle", "marker"), LOOKS[name], strict=True))


def looks(names) -> dict:
    """Return a look for each name: an optimizer's own, and any that is still free for the others.

    Examples
    --------
    >>> looks(["Adam", "batch of 8"])["Adam"] == look("Adam")
    True
    """
    names = list(dict.fromkeys(names))
    chosen = {name: LOOKS[name] for name in names if name in LOOKS}
    for name in names:
        if name not in chosen:
            # The colour that is used least, then the line style, then the marker.
            used = Counter(part for look in chosen.values() for part in look)
            free = [look for look in OTHERS if look not in chosen.values()]
            chosen[name] = min(free, key=lambda look: [used[part] for part in look])
    keys = ("color", "linestyle", "marker")
    return {name: dict(zip(keys, chosen[name], strict=True)) for name in names}


def stamp(target, seeds=None, extra=None, stored=False) -> None:
    """Write in small grey letters how a figure was made: its scale, its seeds, and anything else.

    Parameters
    ----------
    target : Axes or Figure
        Above which axes, or below which figure.
    seeds : int or sequence, optional
        How many, or which, seeds.
    extra : str, optional
        Such as the data set.
    stored : bool, default False
        The figure shows results of `companion.results`, which were made beforehand, and are the
        same at every scale of the page.

    Examples
    --------
    >>> figure, ax = plt.subplots()
    >>> stamp(ax, seeds=range(5))
    >>> ax.texts[0].get_text().endswith("scale, 5 seeds")
    True
    >>> plt.close(figure)
    """
    count = seeds if seeds is None or isinstance(seeds, int) else len(seeds)
    parts = ["stored results" if stored else f"{scale.name()} scale"]
    if count is not None:
        parts.append(f"{count} seed" if count == 1 else f"{count} seeds")
    text = ", ".join(parts + ([extra] if extra else []))
    if isinstance(target, plt.Axes):
        place = {"xycoords": "axes fraction", "ha": "right", "va": "bottom"}
        target.annotate(text, (1, 1.01), fontsize=9, color="0.4", **place)
    else:
        target.supxlabel(text, x=0.99, ha="right", fontsize=9, color="0.4")
