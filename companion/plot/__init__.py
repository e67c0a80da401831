"""One look for every figure; the only room that draws.

Each optimizer has a colour, a line style and a marker of its own, the same in every chapter, so
that no figure needs colour to be read. Functions draw on ``ax`` (a new one if left out) and return
it; titles and limits are the caller's.
"""

from companion.plot.animation import Animation, animate, animate_paths
from companion.plot.charts import curves, heatmap, paths, sensitivity
from companion.plot.damping import damping
from companion.plot.theme import (
    BAND,
    BLUE,
    BROWN,
    GREEN,
    GREY,
    LABELS,
    LOOKS,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    look,
    looks,
    stamp,
    style,
)
from companion.plot.valley import valley

__all__ = ["style", "look", "looks", "stamp", "curves", "sensitivity", "heatmap", "paths"]
__all__ += ["animate", "animate_paths", "Animation", "damping", "valley", "LOOKS", "LABELS", "BAND"]
__all__ += ["BLUE", "ORANGE", "GREEN", "RED", "PURPLE", "BROWN", "GREY", "SKY"]
