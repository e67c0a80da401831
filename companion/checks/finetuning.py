"""Checks of the exercises of the chapter on fine-tuning."""

import math

from companion.checks import against


@against(
    [(576, 576, 8), (192, 576, 8), (7, 5, 1)],
    hint={
        "trained": "B has m r entries and A has r n",
        "bytes": "m and v for each entry that is trained, four bytes each",
    },
)
def check_lora_size(m, n, r):
    """Exercise 1: what LoRA trains in a matrix, and the bytes of Adam's state."""
    return r * (m + n), 8 * r * (m + n)


@against(
    [
        ([1.0, 0.0], [0.0, 1.0], 2, 5, 0.3),
        ([0.5, -2.0], [1.5, 1.0], 7, 3, 0.1),
        ([0.5, -2.0], [1.5, 1.0], 4, 4, 2.0),
    ],
    hint="turn k by (s - t) theta, and take its product with q",
)
def check_rotary_score(q, k, t, s, theta):
    """Exercise 2: the score of a rotated query and a rotated key."""
    (a, b), (c, d) = (
        (z[0] * math.cos(u) - z[1] * math.sin(u), z[0] * math.sin(u) + z[1] * math.cos(u))
        for z, u in ((q, t * theta), (k, s * theta))
    )
    return a * c + b * d
