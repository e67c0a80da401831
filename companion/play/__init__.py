"""What a playable figure needs: the package's rules in JavaScript, and the same random numbers.

`figure` puts one into a notebook or on a page. ``static/core.js`` steps the rules that
`companion.play.rules` prints; it touches no page, so any engine of JavaScript runs it.
``static/figure.js`` says what a figure is made of, ``static/stage.js`` shows it, and each file of
``static/figures`` is one.
"""

from companion.play.draws import Draws
from companion.play.playable import Playable, figure, names

__all__ = ["Draws", "Playable", "figure", "names"]
