"""Checks of the exercises of the chapter on networks in rotated coordinates."""

import torch

from companion.checks import check, expect
from companion.rotation import haar


def _vector(*values):
    return torch.tensor(values, dtype=torch.float64)


@check
def check_paired(paired):
    """Exercise 1: mean and standard error of paired differences, ``paired(a, b)``."""
    hint = "take the difference seed by seed; its standard deviation (n - 1), over √n"
    for a, b, expected in (
        ((1.0, 5.0, 9.0), (2.0, 5.0, 11.0), (-1.0, (1 / 3) ** 0.5)),
        ((2.0, 4.0), (1.0, 3.0), (1.0, 0.0)),  # the seeds differ, their difference does not
        ((0.0, 4.0, 0.0, 4.0), (1.0, 1.0, 1.0, 1.0), (1.0, (4 / 3) ** 0.5)),
    ):
        got = paired(_vector(*a), _vector(*b))
        if isinstance(got, tuple):
            got = torch.stack([torch.as_tensor(v, dtype=torch.float64) for v in got])
        expect(got, _vector(*expected), hint=hint, what=f"a = {list(a)}, b = {list(b)}")


@check
def check_rotated_product(rotated_product):
    """Exercise 2: the Hessian of the rotated loss times v, ``rotated_product(product, R, v)``."""
    generator = torch.Generator().manual_seed(0)
    for d in (3, 5):
        A = torch.randn(d, d, generator=generator, dtype=torch.float64)
        v = torch.randn(d, generator=generator, dtype=torch.float64)
        H, R = A + A.T, haar(d, seed=d, dtype=torch.float64)
        Q = R.dense()
        expect(
            rotated_product(lambda u, H=H: H @ u, R, v),
            Q.T @ H @ Q @ v,
            hint="differentiate L(R x') twice; R.T is the transpose",
            what=f"d = {d}",
        )


@check
def check_spread(spread):
    """Exercise 3: the relative variance of one rotated second moment, ``spread(G)``."""
    hint = "the two traces, of G and of G @ G, in the proposition"
    for name, G, expected in (
        ("the identity", torch.eye(4), 0.0),  # a rotation changes nothing
        ("one gradient", torch.outer(*[torch.tensor([1.0, 2.0, -2.0])] * 2), 0.8),
        ("G = diag(3, 1)", torch.diag(torch.tensor([3.0, 1.0])), 0.125),
        ("G = [[2, 1], [1, 2]]", torch.tensor([[2.0, 1.0], [1.0, 2.0]]), 0.125),
    ):
        expect(spread(G.double()), expected, hint=hint, what=name)
