"""Random columns and their products with an operator: a few at a time, watched, free of NaN."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from companion.hessian.base import LinearOperator
from companion.progress import bar

COLUMNS = 16  # that go through the operator together, as far as they fit into
NUMBERS = 2**27  # float64 numbers, 1 GiB


def chunks(total: int, d: int) -> Iterator[int]:
    """Yield how many of ``total`` columns of d numbers go through the operator together."""
    most = max(1, min(COLUMNS, NUMBERS // d))
    for start in range(0, total, most):
        yield min(most, total - start)


def multiply(op: LinearOperator, V: Tensor) -> Tensor:
    """Return ``op @ V``; a FloatingPointError if it holds NaN or infinity."""
    product = op @ V
    if not bool(product.isfinite().all()):
        raise FloatingPointError("op: a product holds NaN or infinity")
    return product


def pairs(
    op: LinearOperator, n: int, draw: Callable[[int], Tensor], progress: bool, desc: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield V and A V for n columns in chunks, where ``draw(k)`` gives the next k, (d, k)."""
    with bar(n, progress, "product", desc=desc) as shown:
        for k in chunks(n, op.d):
            V = draw(k)
            yield V, multiply(op, V)
            shown.update(k)


def seeded(seed: int) -> torch.Generator:
    """Return a generator on the CPU: one seed, one draw, on any device."""
    return torch.Generator().manual_seed(seed)


def signs(op: LinearOperator, generator: torch.Generator) -> Callable[[int], Tensor]:
    """Return what draws k probes of independent signs as columns (d, k)."""

    def draw(k):
        bits = torch.randint(2, (k, op.d), generator=generator, dtype=torch.int8)
        return (2 * bits - 1).T.to(op.device, op.dtype)

    return draw


def gaussian(op: LinearOperator, n: int, generator: torch.Generator) -> Tensor:
    """Return n normal probes as columns (d, n), drawn in float64."""
    return torch.randn(n, op.d, generator=generator, dtype=torch.float64).T.to(op.device, op.dtype)
