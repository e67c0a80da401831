"""Checks of the exercises of the chapter on images."""

from companion.checks import against


@against(
    [(1, 0.999), (2, 0.5), (100, 0.999), (1000, 0.9999)],
    hint={
        "Adam": "unroll v, as for ADOPT; only Adam starts from zero and divides",
        "ADOPT": "unroll v: it starts as g₁², and a step multiplies what was there by β₂",
    },
)
def check_first_weight(t, beta2):
    """Exercise 1: weight of the first squared gradient in Adam's corrected v and in ADOPT's v."""
    adam, adopt = 0.0, 0.0
    for step in range(1, t + 1):
        adam = beta2 * adam + (1 - beta2) * (step == 1)
        adopt = 1.0 if step == 1 else beta2 * adopt
    return adam / (1 - beta2**t), adopt


@against(
    [(24, 2, 4), (96, 3, 7), (8, 1, 1)],
    hint="weights and biases of four layers, two norms, and a bias a head and relative position",
)
def check_block_parameters(dim, heads, window):
    """Exercise 2: parameters of a block of a Swin transformer, with four times as many units."""
    layers = {"queries, keys, values": (dim, 3 * dim), "out": (dim, dim)}
    layers |= {"up": (dim, 4 * dim), "down": (4 * dim, dim)}
    places = {(a - c, b - d) for a in range(window) for b in range(window)
              for c in range(window) for d in range(window)}  # fmt: skip
    return sum(n * m + m for n, m in layers.values()) + 2 * (2 * dim) + heads * len(places)
