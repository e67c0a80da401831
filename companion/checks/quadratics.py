"""Checks of the exercises of the chapter on quadratics."""

import math

import torch

from companion.checks import against, agree, check, double, expect, fail, guarded, several


@against(
    [0.0, math.pi / 4, 1.0, 2.0, -0.5],
    hint="the turned matrix is q q^T for a unit vector q; sum the sizes of its entries",
)
def check_turned(angle):
    """Exercise 1: the (1,1)-norm of diag(1, 0), turned by an angle."""
    return (abs(math.cos(angle)) + abs(math.sin(angle))) ** 2


@against(
    # By hand: 1/10 + 9 sqrt(2/pi) sqrt(9 / 1080), and the identity, which no rotation changes.
    [(1, 10), (3, 10), (10, 10), (2, 1000)],
    hint="both the trace and the trace of the square are k; do not forget the diagonal",
)
def check_ones(k, d):
    """Exercise 2: (1,1)-norm / d of k ones and d - k zeros, after a random rotation."""
    square = (k - k**2 / d) / ((d - 1) * (d + 2))  # the mean one, off the diagonal
    return k / d + (d - 1) * math.sqrt(2 / math.pi * square)


@check
def check_spearman(spearman):
    """Exercise 3: Spearman's rank correlation, with ties."""

    def reference(x, y):
        ranks = [(z < z[:, None]).sum(1) + (z == z[:, None]).sum(1) / 2 for z in (x, y)]
        return torch.corrcoef(torch.stack(ranks).double())[0, 1]

    for x, y, hint in (
        ([1.0, 2.0, 3.0], [10.0, 100.0, 1000.0], "correlate ranks, not values"),
        ([1.0, 2.0, 3.0, 4.0], [4.0, 2.0, 3.0, 1.0], "correlate ranks, not values"),
        ([2.0, 3.0, 1.0, 4.0], [1.0, 3.0, 2.0, 4.0], "a rank is a place, not what is there"),
        ([1.0, 1.0, 2.0], [1.0, 2.0, 3.0], "equal values share the mean rank"),
        # Here sharing the lowest, the highest or the next rank gives something else.
        ([1.0, 2.0, 2.0, 2.0, 3.0], [2.0, 1.0, 4.0, 4.0, 3.0], "equal values share the mean rank"),
    ):
        agree(spearman, reference, [(double(x), double(y))], hint)


@check
def check_twin(twin):
    """Exercise 4: start and gradient of the rotated problem."""
    c, s = math.cos(0.5), math.sin(0.5)
    R, start, slopes = double([[c, -s], [s, c]]), double([2.0, 1.0]), double([1.0, 10.0])
    grad, begin = several(twin(lambda x: x * slopes, start, R), "grad", "x0")
    if not callable(grad):
        fail("expected a gradient function and a start", "return grad, x0")
    expect(begin, R.T @ start, hint="x = R x', so what is x' at the start?", what="start")
    agree(
        guarded(grad),
        lambda x: ((x @ R.T) * slopes) @ R,
        [double([0.3, -0.2]), double([[0.3, -0.2], [1.0, 4.0]])],
        hint="the chain rule for f(R x'): R^T grad f(R x')",
    )
