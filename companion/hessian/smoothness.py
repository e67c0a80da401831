"""One table of the constants by which the theory measures smoothness."""

import time
from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from companion.hessian.base import LinearOperator
from companion.hessian.bracket import norm_inf_1, smoothness_bracket
from companion.hessian.eigenvalues import spectral_norm
from companion.hessian.norms import norm11
from companion.hessian.operators import Hessian
from companion.optim.blocks import divide, resolve


def partition_labels(parameters: Mapping[str, Tensor], partition) -> Tensor:
    """Return the block of each coordinate of flattened parameters, int64 of shape (d,).

    Parameters
    ----------
    parameters : mapping of str to Tensor
        By name, in the order in which they are flattened; real.
    partition : str or callable
        As for ``BlockwiseAdam``: "elements", "rows", "tensor", or a function (p, name) -> blocks.

    Examples
    --------
    >>> parameters = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    >>> partition_labels(parameters, "rows").tolist()
    [0, 0, 0, 1, 1, 1, 2, 3]
    """
    labels, number = [], 0
    for name, p in parameters.items():
        own = divide(resolve(partition), p, name)
        if isinstance(own, int):
            own = torch.arange(p.numel()) // (p.numel() // own)
        own = own.flatten().cpu().unique(return_inverse=True)[1]
        labels.append(own + number)
        number += int(own.max()) + 1
    return torch.cat(labels)


def smoothness_table(
    op: LinearOperator,
    partition="elements",
    *,
    rtol: float = 0.05,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    r"""Measure ‖H‖₂, ‖H‖_{1,1}/d, ‖H‖_{∞→1}/d, Λ_Φ(H)/d and d‖H‖₂ of a symmetric operator.

    Divided by d they share a scale: ‖H‖_{∞→1} ≤ Λ ≤ min(‖H‖_{1,1}, d‖H‖₂), where Λ is that of
    single coordinates, and Λ_Φ lies between it and d‖H‖₂ for every partition Φ.

    Parameters
    ----------
    op : LinearOperator
        H, of shape (d, d).
    partition : "elements", None, int or Tensor
        Φ, as for `smoothness_bracket`.
    rtol : float, default 0.05
        Relative standard error of the (1,1)-norm.
    seed : int, default 0
        Of everything that is drawn.
    progress : bool, default True
        Show a bar for each quantity that takes more than five seconds.

    Returns
    -------
    pandas.DataFrame
        Indexed by the quantity. ``value`` (of Λ the lower bound); ``lower`` and ``upper``: bounds,
        NaN where none is known, a 95 % interval for the (1,1)-norm; ``products`` and ``seconds``
        that it took.
    """
    d, rows = op.d, {}

    def measure(name, estimate, *arguments, **options):
        begun = time.perf_counter()
        answer = estimate(op, *arguments, seed=seed, progress=progress, **options)
        rows[name] = {"products": answer.products, "seconds": time.perf_counter() - begun}
        return answer

    norm = measure("‖H‖₂", spectral_norm)
    sums = measure("‖H‖₁,₁ / d", norm11, rtol=rtol)
    signs = measure("‖H‖∞→1 / d", norm_inf_1)
    constant = measure("Λ / d", smoothness_bracket, partition)
    rows["d ‖H‖₂"] = {"products": 0, "seconds": 0.0}
    bounds = {  # value, lower, upper
        "‖H‖₂": (norm.value, norm.value, norm.value + norm.error),
        "‖H‖₁,₁ / d": [(sums.value + z * sums.stderr) / d for z in (0, -1.96, 1.96)],
        "‖H‖∞→1 / d": (signs.value / d, signs.value / d, torch.nan),
        "Λ / d": (constant.lower / d, constant.lower / d, constant.upper / d),
        "d ‖H‖₂": (d * norm.value, d * norm.value, d * (norm.value + norm.error)),
    }
    for name, three in bounds.items():
        three = dict(zip(("value", "lower", "upper"), map(float, three), strict=True))
        rows[name] = three | rows[name]
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("quantity")


def smoothness_report(
    model,
    loss,
    data,
    partition="elements",
    *,
    rtol: float = 0.05,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    r"""Measure the smoothness of a network's loss where it stands.

    That is the `smoothness_table` of its Hessian.

    Parameters
    ----------
    model, loss, data
        As for `Hessian`: a module, a mean loss of (model(x), y), and one batch (x, y) or several.
    partition : str or callable, default "elements"
        Φ, as for ``BlockwiseAdam``: "elements" for Adam's constant, "tensor", "rows", or a function
        (p, name) -> blocks. For AdaSGD's single block see the row ‖H‖₂.
    rtol, seed, progress
        As for `smoothness_table`.

    Returns
    -------
    pandas.DataFrame

    Notes
    -----
    Costs some hundred to some thousand products, most of them for Λ, and memory for 200 columns.

    Examples
    --------
    >>> model = torch.nn.Linear(3, 1).double()
    >>> x, y = torch.ones(8, 3).double(), torch.ones(8, 1).double()
    >>> table = smoothness_report(model, torch.nn.functional.mse_loss, (x, y))
    >>> table.value.round(2).tolist()  # H = 2·𝟙𝟙ᵀ, with d = 4
    [8.0, 8.0, 8.0, 8.0, 32.0]
    """
    op = Hessian(model, loss, data)
    labels = partition_labels(op.parameters, partition)
    return smoothness_table(op, labels, rtol=rtol, seed=seed, progress=progress)
