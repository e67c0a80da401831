"""Run an optimizer's own rule on many copies of a problem at once.

The convention of every array here is ``(cells..., seeds, d)``: the last dimension is the parameter
vector of one problem, the one before it the seeds, and those in front the cells of a grid of
hyper-parameters. Random gradients differ between seeds and are the same in every cell (common
random numbers), so cells differ by their hyper-parameters alone.
"""

import inspect
import itertools

import pandas as pd
import torch
from torch import Tensor

from companion.optim.stack import Stack
from companion.progress import bar


def trajectory(
    optimizer,
    grad,
    x0: Tensor,
    steps: int,
    *,
    seed: int = 0,
    every: int = 1,
    project=None,
    progress: bool = False,
    **hyper,
) -> Tensor:
    """Return the iterates of an optimizer on a problem, for a whole grid at once.

    Parameters
    ----------
    optimizer : type
        A class of `companion.optim`; its own ``update`` makes every step.
    grad : callable
        ``grad(x)`` or ``grad(x, generator)``, from (..., d) to (..., d). If it has a method
        ``reset()``, that is called before the first step.
    x0 : Tensor
        Start, of shape (d,), (seeds, d) or (cells..., seeds, d), floating point; float64 unless
        speed matters. It is broadcast against the hyper-parameters.
    steps : int
        Number of gradients.
    seed : int
        Seeds the generator that ``grad`` draws from.
    every : int
        Keep one iterate in so many.
    project : callable, optional
        Applied to x after each step, such as ``lambda x: x.clamp(-1, 1)``.
    progress : bool
        Show a progress bar.
    **hyper
        Options of the optimizer. Each is a number or a tensor whose last dimension is 1, such as
        (cells, 1, 1). ``lr`` may also be a function of the step t = 1, 2, ….

    Returns
    -------
    Tensor
        Of shape (steps // every + 1, ..., d); the first entry is the start.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or does not broadcast.

    Notes
    -----
    Cost: ``steps`` gradients of the whole batch; memory: the tensor returned. Averages and maxima
    inside a rule act over the last dimension, so every leading index is a problem of its own.

    Examples
    --------
    >>> from companion.optim import SGD
    >>> lr = torch.tensor([[0.5], [1.0]])  # two cells
    >>> trajectory(SGD, lambda x: x, torch.tensor([8.0]), 3, lr=lr).squeeze(-1)
    tensor([[8., 8.],
            [4., 0.],
            [2., 0.],
            [1., 0.]])
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ValueError(f"every must be a whole number of at least 1, got {every!r}")
    kept = None
    walk = iterates(
        optimizer, grad, x0, steps, seed=seed, project=project, progress=progress, **hyper
    )
    for t, x in walk:
        if kept is None:
            kept = x.new_empty(steps // every + 1, *x.shape)
        if t % every == 0:
            kept[t // every] = x
    return kept


def iterates(optimizer, grad, x0, steps, *, seed=0, project=None, progress=False, **hyper):
    """Yield ``(t, x)`` for t = 0, 1, …, steps; the loop that every engine of this module runs.

    Parameters are those of `trajectory`. Nothing is stored, so that summaries can be streamed.

    Examples
    --------
    >>> from companion.optim import SGD
    >>> walk = iterates(SGD, lambda x: x, torch.tensor([8.0]), 2, lr=0.5)
    >>> [(t, x.item()) for t, x in walk]
    [(0, 8.0), (1, 4.0), (2, 2.0)]
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ValueError(f"steps must be a whole number of at least 0, got {steps!r}")
    if not isinstance(x0, Tensor) or not x0.is_floating_point() or x0.dim() == 0:
        raise TypeError(f"x0 must be a floating-point tensor of shape (..., d), got {x0!r}")
    schedule = hyper["lr"] if callable(hyper.get("lr")) else None
    if schedule:
        hyper["lr"] = schedule(1)
    stack = Stack(optimizer, **hyper)
    x = x0.detach().expand(stack.shape(x0)).clone()
    oracle = bind(grad, torch.Generator(x.device).manual_seed(seed))
    with torch.no_grad():
        s = stack.init(x)
    yield 0, x
    with bar(steps, progress) as shown:
        for t in range(1, steps + 1):
            if schedule:
                stack.set_lr(schedule(t))
            g = oracle(x)
            if g.shape != x.shape:
                raise ValueError(
                    f"grad must return the shape of x, {tuple(x.shape)}, got {tuple(g.shape)}"
                )
            with torch.no_grad():
                x, s = stack.step(x, g.detach(), s, float(t))
                if project is not None:
                    x = project(x)
            shown.update()
            yield t, x


def tidy(values: Tensor, column: str = "loss", **dimensions) -> pd.DataFrame:
    """Return a tensor as a table with one row a number.

    Parameters
    ----------
    values : Tensor
        Of any shape.
    column : str
        Name of the column that holds the numbers.
    **dimensions : sequence
        One a dimension of ``values``, in order: its name and the labels along it.

    Returns
    -------
    pandas.DataFrame
        With a column a dimension and the column of numbers.

    Examples
    --------
    >>> tidy(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), step=[0, 10], seed=range(2))
       step  seed  loss
    0     0     0   1.0
    1     0     1   2.0
    2    10     0   3.0
    3    10     1   4.0
    """
    labels = [v.tolist() if isinstance(v, Tensor) else list(v) for v in dimensions.values()]
    lengths = tuple(len(v) for v in labels)
    if lengths != tuple(values.shape):
        raise ValueError(
            f"values has shape {tuple(values.shape)}, but the labels of "
            f"{', '.join(dimensions) or 'no dimension'} have lengths {lengths}"
        )
    frame = pd.DataFrame(itertools.product(*labels), columns=list(dimensions))
    frame[column] = values.detach().flatten().tolist()
    return frame


def bind(grad, generator):
    """Return grad as a function of x alone, after its reset."""
    if hasattr(grad, "reset"):
        grad.reset()
    try:
        parameters = list(inspect.signature(grad).parameters.values())
    except ValueError:  # built in C
        return grad
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    second = positional[1] if len(positional) > 1 else None
    if second is None or (second.default is not second.empty and second.name != "generator"):
        return grad
    return lambda x: grad(x, generator)
