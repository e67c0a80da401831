"""Checks of the exercises of the chapter on blockwise Adam."""

import torch

from companion.checks import against, double


def _labels(*blocks):
    return torch.tensor(blocks)


G = double([3.0, 4.0, -1.0, 2.0, 2.0])


@against(
    [
        (double([0.0]), G, _labels(0, 0, 0, 0, 0), 0.0),
        (double([1.0, 2.0]), G, _labels(0, 0, 1, 1, 1), 0.9),
        (double([0.0, 0.0, 8.0]), G, _labels(1, 0, 2, 0, 2), 0.5),
    ],
    hint="average g² over the coordinates of each block",
)
def check_second_moment(v, g, labels, beta2):
    """Exercise 1: the second moments of blocks, ``second_moment(v, g, labels, beta2)``."""
    means = [g[labels == b].square().mean() for b in range(len(v))]
    return beta2 * v + (1 - beta2) * torch.stack(means)


@against(
    [
        (_labels(0, 1, 2, 3), _labels(0, 0, 1, 1)),
        (_labels(0, 0, 1, 1), _labels(0, 1, 2, 3)),
        (_labels(0, 0, 1, 1), _labels(0, 0, 0, 0)),
        (_labels(0, 0, 1, 1), _labels(1, 1, 0, 0)),  # the same blocks by other names
        (_labels(0, 1, 1, 0), _labels(0, 0, 1, 1)),
        (_labels(2, 0, 1, 0), _labels(1, 0, 1, 0)),
        (_labels(0, 1, 0, 1), _labels(0, 0, 1, 1)),  # no neighbours share a fine block
        (_labels(0, 1, 2, 0, 1, 2), _labels(0, 0, 1, 0, 1, 1)),  # one of three blocks meets two
    ],
    hint="can a fine block meet two coarse ones?",
)
def check_refines(fine, coarse):
    """Exercise 2: whether one partition refines another, ``refines(fine, coarse)``."""
    return all(len(coarse[fine == b].unique()) == 1 for b in fine.unique())


@against(
    [
        (double([100.0, 1.0, -3.0, 2.0]), _labels(*blocks))
        for blocks in ([0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 2, 3])
    ],
    hint="the number of coordinates of a block times its largest absolute entry",
)
def check_constant(h, labels):
    """Exercise 3: the smoothness constant of a diagonal matrix, ``constant(h, labels)``."""
    return sum((labels == b).sum() * h[labels == b].abs().max() for b in labels.unique())


@against([(64, 4), (768, 12), (8, 8)], hint="queries and keys go by heads, the other two by rows")
def check_moments(C, n):
    """Exercise 4: second moments that Adam-mini keeps for one attention layer."""
    return 2 * n + 2 * C
