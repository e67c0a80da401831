"""An animation as HTML that needs nothing from elsewhere, and that keyboards and readers can use.

It does not start by itself: a button plays it and a slider moves through it. Until then, and where
scripts do not run, its last picture is shown.
"""

import hashlib
import html
import json
from dataclasses import dataclass


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
        What the animation shows.

    Examples
    --------
    >>> "<button" in page(["AAAA", "BBBB"], [0, 10], "Two pictures.")
    True
    """
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
