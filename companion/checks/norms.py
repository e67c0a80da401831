"""Checks of the exercises of the chapter on norms and steepest descent."""

import torch

from companion.checks import Unfinished, check, expect, fail


def _pair(answer, what):
    """Return an answer as two values, or stop the check."""
    if answer is None or answer is ...:
        raise Unfinished("the answer is still to be written")
    if not isinstance(answer, tuple) or len(answer) != 2:
        fail(f"expected a pair, {what}, got {type(answer).__name__}", "return two values")
    return answer


@check
def check_weighted(weighted):
    """Exercise 1: dual norm and steepest step for max |s_i| / w_i."""
    w = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    g = torch.tensor([3.0, -1.0, 4.0], dtype=torch.float64)
    dual, step = _pair(weighted(g, w), "the dual norm and the step")
    hint = "put r = s / w: in r the norm is that of l-infinity, and the gradient is w g"
    expect(dual, torch.tensor(7.0, dtype=torch.float64), hint=hint, what="dual norm")
    want = torch.tensor([-7.0, 14.0, -3.5], dtype=torch.float64)
    hint = "minus the dual norm times the step of norm one that attains it"
    expect(step, want, hint=hint, what="step")


@check
def check_block_step(block_step):
    """Exercise 2: steepest step in the norm of a partition."""
    hint = "the dual norm times sqrt(d_b) g / |g| in each block; where does the minus go?"
    for g, labels, want in (
        # Lengths 5 and 2 in blocks of 2 and 1: the dual norm is 5 sqrt(2) + 2.
        ([3.0, 4.0, -2.0], [0, 0, 1], [-7.697056, -10.262742, 9.071068]),
        # The same coordinates in another order.
        ([3.0, -2.0, 4.0], [1, 0, 1], [-7.697056, 9.071068, -10.262742]),
        ([3.0, 4.0], [0, 1], [-7.0, -7.0]),
        ([3.0, 4.0], [0, 0], [-6.0, -8.0]),
    ):
        got = block_step(torch.tensor(g, dtype=torch.float64), torch.tensor(labels))
        expect(got, want, hint=hint, what=f"g = {g}, labels = {labels}")


@check
def check_tight(tight):
    """Exercise 3: the step size at which the theorem is sharp, and the ratio to the bound."""
    for K, x0 in ((1.0, 1.0), (5.0, 0.3)):
        eta, ratio = _pair(tight(K, x0), "the step size and the ratio")
        what = f"K = {K}, x0 = {x0}"
        expect(eta, 2 * x0, hint="the jump goes from x0 to -x0", what=f"step size, {what}")
        hint = "the gradient stays at K x0; which term of the bound is left for large T?"
        expect(ratio, 1.0, hint=hint, what=f"ratio, {what}")


@check
def check_advantage(advantage):
    """Exercise 4: the guarantee of sign descent over that of gradient descent."""
    like = {"dtype": torch.float64}
    ones, first = torch.ones(3, **like), torch.tensor([2.0, 0.0, 0.0], **like)
    spread = torch.diag(torch.tensor([1.0, 0.5, 0.1], **like))
    mixed = torch.tensor([[2.0, -1.0, 1.0], [-1.0, 2.0, 1.0], [1.0, 1.0, 2.0]], **like)
    for name, g, H, want in (
        ("a diagonal Hessian", ones, spread, 3 / 1.6),
        ("a sparse gradient", first, spread, 1 / 1.6),
        # The best signs give 8, less than the sum of absolute values, 12.
        ("signs that do not fit together", ones, mixed, 3 * 3 / 8),
    ):
        hint = "try all signs for L-infinity; the other constant is the largest eigenvalue"
        got = advantage(g, H)
        expect(got, torch.tensor(want, **like), 1e-6, hint=hint, what=name)
