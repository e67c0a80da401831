"""Checks of the exercises of the chapter on quadratics."""

import math

import torch

from companion.checks import Unfinished, check, expect, fail


@check
def check_turned(turned):
    """Exercise 1: the (1,1)-norm of diag(1, 0), turned by an angle."""
    for angle in (0.0, math.pi / 4, 1.0, 2.0, -0.5):
        expect(
            turned(angle),
            (abs(math.cos(angle)) + abs(math.sin(angle))) ** 2,
            hint="the turned matrix is q q^T for a unit vector q; sum the sizes of its entries",
            what=f"angle = {angle:.3g}",
        )


@check
def check_ones(ones):
    """Exercise 2: (1,1)-norm / d of k ones and d - k zeros, after a random rotation."""
    hint = "both the trace and the trace of the square are k; do not forget the diagonal"
    # By hand: 1/10 + 9 sqrt(2/pi) sqrt(9 / 1080), and the identity, which no rotation changes.
    for k, d, want in ((1, 10, 0.7555291), (3, 10, 1.3013372), (10, 10, 1.0), (2, 1000, 1.1275615)):
        expect(ones(k, d), want, 1e-5, hint=hint, what=f"k = {k}, d = {d}")


@check
def check_spearman(spearman):
    """Exercise 3: Spearman's rank correlation, with ties."""
    for x, y, want, hint in (
        ([1.0, 2.0, 3.0], [10.0, 100.0, 1000.0], 1.0, "correlate ranks, not values"),
        ([1.0, 2.0, 3.0, 4.0], [4.0, 2.0, 3.0, 1.0], -0.8, "correlate ranks, not values"),
        ([2.0, 3.0, 1.0, 4.0], [1.0, 3.0, 2.0, 4.0], 0.8, "a rank is a place, not what is there"),
        ([1.0, 1.0, 2.0], [1.0, 2.0, 3.0], math.sqrt(0.75), "equal values share the mean rank"),
    ):
        like = {"dtype": torch.float64}
        got = spearman(torch.tensor(x, **like), torch.tensor(y, **like))
        got = got.item() if isinstance(got, torch.Tensor) and got.numel() == 1 else got
        expect(got, want, 1e-9, hint=hint, what=f"x = {x}, y = {y}")


@check
def check_twin(twin):
    """Exercise 4: start and gradient of the rotated problem."""
    angle = torch.tensor(0.5, dtype=torch.float64)
    c, s = angle.cos(), angle.sin()
    R = torch.stack([c, -s, s, c]).view(2, 2)
    start = torch.tensor([2.0, 1.0], dtype=torch.float64)
    slopes = torch.tensor([1.0, 10.0], dtype=torch.float64)
    answer = twin(lambda x: x * slopes, start, R)
    if answer is None or answer is ...:
        raise Unfinished("the answer is still to be written")
    if not isinstance(answer, tuple) or len(answer) != 2 or not callable(answer[0]):
        fail("expected a gradient function and a start", "return grad, x0")
    grad, begin = answer
    expect(begin, R.T @ start, hint="x = R x', so what is x' at the start?", what="start")
    point = torch.tensor([[0.3, -0.2], [1.0, 4.0]], dtype=torch.float64)
    want = ((point @ R.T) * slopes) @ R
    expect(grad(point), want, hint="the chain rule for f(R x'): R^T grad f(R x')", what="gradient")
