"""An animation as HTML that needs nothing from elsewhere, and that keyboards and readers can use.

It does not start by itself: a button plays it and a slider moves through it. Until then, and where
scripts do not run, its last picture is shown.
"""

import base64
import hashlib
import html
import io
import json
from dataclasses import dataclass

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from companion.plot.charts import field, points_of, trajectory_lines


@dataclass(frozen=True, repr=False)
class Animation:
    """HTML of an animation, which notebooks show.

    Attributes
    ----------
    data : str
        The HTML.
    """

    data: str

    def __repr__(self):
        """Return a short text: notebooks store it beside the HTML."""
        return f"Animation({len(self.data):,} characters of HTML)"

    def _repr_html_(self):
        return self.data


def page(pictures, steps, alt) -> str:
    """Return HTML with an image, a button, a slider and the script that joins them.

    Parameters
    ----------
    pictures : list of str
        PNG files as base64.
    steps : list of int
        The step that each picture shows, for screen readers.
    alt : str
        What the animation shows, for those who cannot see it.

    Raises
    ------
    ValueError
        ``alt`` is empty; no pictures, or not one step a picture.

    Examples
    --------
    >>> "<button" in page(["AAAA", "BBBB"], [0, 10], "Two pictures.")
    True
    """
    if not alt.strip():
        raise ValueError("alt must say what the animation shows, got an empty text")
    if not len(pictures) == len(steps) > 0:
        raise ValueError(
            f"pictures: expected one for each of {len(steps)} steps, got {len(pictures)}"
        )
    name = "animation" + hashlib.sha256("".join(pictures).encode()).hexdigest()[:12]
    alt = html.escape(alt, quote=True)
    last = len(pictures) - 1
    return f"""<figure id="{name}" class="animation" style="margin:0" role="group"
 aria-label="Animation">
<img alt="{alt}" src="data:image/png;base64,{pictures[-1]}" style="max-width:100%">
<div style="display:flex; gap:0.5em; max-width:495px">
<button type="button">Play</button>
<input type="range" min="0" max="{last}" value="{last}" aria-label="frame"
 aria-valuetext="step {steps[-1]}" style="flex:1">
</div>
<script>
(() => {{
  const root = document.getElementById("{name}");
  const [image, button, slider] = ["img", "button", "input"].map(tag => root.querySelector(tag));
  const pictures = {json.dumps(pictures)};
  const steps = {json.dumps(steps)};
  let timer = null;
  const show = () => {{
    image.src = "data:image/png;base64," + pictures[slider.value];
    slider.setAttribute("aria-valuetext", "step " + steps[slider.value]);
  }};
  const stop = () => {{ clearInterval(timer); timer = null; button.textContent = "Play"; }};
  const next = () => {{
    slider.value = Number(slider.value) + 1;
    show();
    if (Number(slider.value) === {last}) stop();
  }};
  slider.addEventListener("input", () => {{ stop(); show(); }});
  button.addEventListener("click", () => {{
    if (timer) return stop();
    if (Number(slider.value) === {last}) slider.value = 0;
    show();
    button.textContent = "Pause";
    timer = setInterval(next, 120);
  }});
}})();
</script>
</figure>"""


def animate(figures, steps, alt, budget=1_500_000) -> Animation:
    """Return an animation of figures, drawn and closed one by one.

    Parameters
    ----------
    figures : iterable of Figure
        The pictures, all of one size.
    steps : list of int
        The step that each picture shows.
    alt : str
        What the animation shows, for those who cannot see it.
    budget : int
        Most characters of HTML.

    Raises
    ------
    ValueError
        If ``alt`` is empty, there is not one step a figure, or the result exceeds the budget.

    Examples
    --------
    >>> figures = (plt.figure(figsize=(1, 1)) for _ in range(2))
    >>> animate(figures, [0, 1], alt="Two empty pictures.")
    Animation(... characters of HTML)
    """
    pictures = []
    for figure in figures:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pictures.append(_png(canvas))
        plt.close(figure)
    return _within(budget, page(pictures, list(steps), alt))


def animate_paths(
    f, trajectories, xlim, ylim, alt, minimiser=None, frames=50, dpi=90, budget=1_500_000
) -> Animation:
    """Return an animation of `paths`, as HTML that needs nothing from elsewhere.

    It does not start by itself: a button plays it and a slider moves through it. Until then, and
    where scripts do not run, its last frame is shown.

    Parameters
    ----------
    f, trajectories, xlim, ylim, minimiser
        As for `paths`. Shorter trajectories wait at their end.
    alt : str
        What the animation shows, for those who cannot see it.
    frames : int
        How many pictures, evenly spread over the steps.
    dpi : int
        Dots per inch of a figure 5.5 by 4 inches.
    budget : int
        Most characters of HTML.

    Returns
    -------
    Animation
        With the HTML in ``data``.

    Raises
    ------
    ValueError
        If ``alt`` is empty, or the result is larger than the budget.

    Examples
    --------
    >>> straight = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    >>> window = {"xlim": (-1, 2), "ylim": (-1, 2)}
    >>> animate_paths(lambda x: x.square().sum(-1), {"SGD": straight}, **window, alt="A line.")
    Animation(... characters of HTML)
    """
    figure = mpl.figure.Figure(figsize=(5.5, 4), dpi=dpi, layout="constrained", facecolor="white")
    canvas, ax = FigureCanvasAgg(figure), figure.add_subplot()
    field(f, xlim, ylim, minimiser, ax)
    points = [points_of(path) for path in trajectories.values()]
    lines = trajectory_lines(trajectories, ax)
    ax.legend(loc="best")
    count = ax.set_title("step 0")
    canvas.draw()
    figure.set_layout_engine("none")  # keep this layout; then the field is drawn only once
    for artist in (count, *lines):
        artist.set_animated(True)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)
    steps = np.unique(np.linspace(0, max(map(len, points)) - 1, frames).round().astype(int))
    pictures = []
    for step in steps:
        count.set_text(f"step {step}")
        for line, path in zip(lines, points, strict=True):
            line.set_data(path[: step + 1, 0], path[: step + 1, 1])
            line.set_markevery([min(step, len(path) - 1)])
        canvas.restore_region(still)
        for artist in (count, *lines):
            ax.draw_artist(artist)
        pictures.append(_png(canvas))
    return _within(budget, page(pictures, steps.tolist(), alt))


def _within(budget: int, text: str) -> Animation:
    if len(text) > budget:
        raise ValueError(
            f"the animation has {len(text):,} characters, more than budget={budget:,}: "
            "take fewer frames, or a lower dpi"
        )
    return Animation(text)


def _png(canvas) -> str:
    """Return the drawn picture as base64 of a PNG with 256 colours, a third of the full size."""
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    file = io.BytesIO()
    picture = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    picture.save(file, "png")
    return base64.b64encode(file.getvalue()).decode()
