"""Checks of the exercises of the chapter on blockwise Adam."""

import torch

from companion.checks import check, expect, fail


def _vector(*values):
    return torch.tensor(values, dtype=torch.float64)


@check
def check_second_moment(second_moment):
    """Exercise 1: the second moments of blocks, ``second_moment(v, g, labels, beta2)``."""
    g = _vector(3.0, 4.0, -1.0, 2.0, 2.0)
    for labels, v, beta2, expected in (
        ([0, 0, 0, 0, 0], [0.0], 0.0, [34 / 5]),
        ([0, 0, 1, 1, 1], [1.0, 2.0], 0.9, [0.9 + 1.25, 1.8 + 0.3]),
        ([1, 0, 2, 0, 2], [0.0, 0.0, 8.0], 0.5, [5.0, 4.5, 4 + 1.25]),
    ):
        got = second_moment(_vector(*v), g, torch.tensor(labels), beta2)
        hint = "average g² over the coordinates of each block"
        expect(got, _vector(*expected), hint=hint, what=f"labels = {labels}, beta2 = {beta2}")


@check
def check_refines(refines):
    """Exercise 2: whether one partition refines another, ``refines(fine, coarse)``."""
    for fine, coarse, expected in (
        ([0, 1, 2, 3], [0, 0, 1, 1], True),
        ([0, 0, 1, 1], [0, 1, 2, 3], False),
        ([0, 0, 1, 1], [0, 0, 0, 0], True),
        ([0, 0, 1, 1], [1, 1, 0, 0], True),  # the same blocks by other names
        ([0, 1, 1, 0], [0, 0, 1, 1], False),
        ([2, 0, 1, 0], [1, 0, 1, 0], True),
    ):
        got = refines(torch.tensor(fine), torch.tensor(coarse))
        if got is ... or got is None:
            expect(got, expected)  # says "not yet"
        if bool(got) != expected:
            word = "refines" if expected else "does not refine"
            fail(f"{fine} {word} {coarse}", "can a fine block meet two coarse ones?")


@check
def check_constant(constant):
    """Exercise 3: the smoothness constant of a diagonal matrix, ``constant(h, labels)``."""
    h = _vector(100.0, 1.0, -3.0, 2.0)
    for labels, expected in (
        ([0, 0, 0, 0], 400.0),
        ([0, 1, 1, 1], 109.0),
        ([0, 0, 1, 1], 206.0),
        ([1, 0, 1, 0], 204.0),
        ([0, 1, 2, 3], 106.0),
    ):
        hint = "the number of coordinates of a block times its largest absolute entry"
        expect(constant(h, torch.tensor(labels)), expected, hint=hint, what=f"labels = {labels}")


@check
def check_moments(moments):
    """Exercise 4: second moments that Adam-mini keeps for one attention layer."""
    for C, n in ((64, 4), (768, 12), (8, 8)):
        hint = "queries and keys go by heads, the other two by rows"
        expect(moments(C, n), 2 * n + 2 * C, hint=hint, what=f"C = {C}, n = {n}")
