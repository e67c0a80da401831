"""The iterates of a rule on a problem, and the loop that makes them."""

import inspect

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
    project : (float, float) or callable, optional
        An interval that x is clamped to after each step, or a function of x.
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
    """Yield ``(t, x)`` for t = 0, 1, …, steps.

    Parameters are those of `trajectory`. Nothing is stored, so that summaries can be streamed.

    Examples
    --------
    >>> from companion.optim import SGD
    >>> walk = iterates(SGD, lambda x: x, torch.tensor([8.0]), 2, lr=0.5)
    >>> [(t, x.item()) for t, x in walk]
    [(0, 8.0), (1, 4.0), (2, 2.0)]
    """
    check_start(x0, steps)
    stack, lr = stacked(optimizer, hyper)
    x = x0.detach().expand(stack.shape(x0)).clone()
    with bar(steps, progress) as shown:
        for t, after in walk(stack, lr, x, bind(grad, x.device, seed), steps, project):
            shown.update(t > 0)
            yield t, after


def check_start(x0, steps) -> None:
    """Raise unless these are a start and a number of steps."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ValueError(f"steps must be a whole number of at least 0, got {steps!r}")
    if not isinstance(x0, Tensor) or not x0.is_floating_point() or x0.dim() == 0:
        raise TypeError(f"x0 must be a floating-point tensor of shape (..., d), got {x0!r}")


def stacked(optimizer, hyper: dict):
    """Return the stack of these options, and lr as a function of the step or ``None``."""
    lr = hyper.get("lr")
    if not callable(lr):
        return Stack(optimizer, **hyper), None
    return Stack(optimizer, **{**hyper, "lr": lr(1)}), lr


def bind(grad, device, seed: int):
    """Return grad as a function of x alone, after its reset, with a generator of its own."""
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
    generator = torch.Generator(device).manual_seed(seed)
    return lambda x: grad(x, generator)


def walk(stack, lr, x, oracle, steps: int, project=None, step=None, s=None):
    """Yield ``(t, x)`` for t = 0, 1, …, steps; the loop of every engine in this room.

    Parameters
    ----------
    stack : Stack
    lr : callable or None
        The step size as a function of the step, if it is one.
    x : Tensor
        Start.
    oracle : callable
        From x to the gradient.
    steps : int
    project : (float, float) or callable, optional
    step : callable, optional
        Steps in place of the stack, with the same arguments.
    s : NamedTuple, optional
        The state that goes with it.
    """
    if step is None:
        with torch.no_grad():
            step, s = stack.step, stack.init(x)
    yield 0, x
    for t in range(1, steps + 1):
        if lr:
            stack.set_lr(lr(t))
        g = oracle(x)
        if g.shape != x.shape:
            raise ValueError(
                f"grad must return the shape of x, {tuple(x.shape)}, got {tuple(g.shape)}"
            )
        with torch.no_grad():
            x, s = step(x, g.detach(), s, float(t))
            if project is not None:
                x = project(x) if callable(project) else x.clamp(*project)
        yield t, x
