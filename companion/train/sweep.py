"""Networks by the hundred: a grid × seeds trained at once by the optimizers' own rules."""

import functools
import itertools
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pandas as pd
import torch
from torch import Tensor, nn

from companion.arguments import whole
from companion.optim.optimizer import Optimizer
from companion.optim.stack import Stack
from companion.progress import bar
from companion.train.arguments import batch_length
from companion.train.devices import choose_device, random_state, to_device
from companion.train.evaluation import cross_entropy
from companion.train.many import train


def sweep(
    model_fn: Callable[[], nn.Module],
    data,
    optimizer,
    grid: dict[str, Sequence],
    *,
    seeds: int | Sequence[int] = 1,
    steps: int,
    batch_size: int = 64,
    test=None,
    every: int = 10,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    schedule: Callable[[int], float] | None = None,
    chunk: int | None = None,
    device=None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train one model for every optimizer, cell of the grid and seed; return all histories.

    Parameters
    ----------
    model_fn : callable
        Returns a new model, of float32 or float64 parameters; called once a seed.
    data, test : Dataset
        Fields x, (n, ...), and y, (n, ...).
    optimizer : type, partial, or dict of them by label
        Classes of `companion.optim`. Fixed options: ``functools.partial(SGD, momentum=0.9)``.
    grid : dict of sequences
        Values by option, crossed. ``beta1`` and ``beta2`` stand for ``betas``.
    seeds : int or sequence of int, default 1
        A number k stands for 0, ..., k - 1. A seed fixes the initial parameters and the batches,
        for all optimizers and cells alike.
    steps, batch_size, every, loss
        As for `companion.train.fit`.
    schedule : callable, optional
        Steps taken so far → factor on lr, as for ``LambdaLR``.
    chunk : int, optional
        Models trained at once; None for all of an optimizer. Halve it when memory runs out.
    device : device or str, optional
        None takes the first GPU, else the CPU.
    progress : bool, default True
        Show a bar if the run takes more than five seconds and somebody watches.

    Returns
    -------
    DataFrame
        ``optimizer``; the grid's columns; ``seed``; ``step``; ``loss``, ``accuracy``,
        ``test_loss``, ``test_accuracy`` as in `companion.train.fit`; ``diverged``: whether a loss
        so far, or a parameter at a report so far, was NaN or infinite. After Ctrl-C: the reports
        up to then.

    Raises
    ------
    ValueError, TypeError
        An argument that cannot be used; options that the optimizer refuses.

    Notes
    -----
    The result is that of training each model alone by the same optimizer, but for the rounding of
    batched arithmetic, and for layers that draw random numbers. Models do not touch each other: one
    that diverges fills with NaN alone. On a CPU the steps of elementwise rules are one compiled
    loop for all models; others, and where no compiler is found, go by tensor operations. Memory:
    `chunk` times one model with its state, gradients and activations.

    Examples
    --------
    >>> from companion.data import digits
    >>> from companion.models import MLP
    >>> from companion.optim import SGD, Adam
    >>> frame = sweep(lambda: MLP([64, 32, 10]), digits(), {"SGD": SGD, "Adam": Adam},
    ...               {"lr": [0.01, 0.1]}, seeds=2, steps=20, every=20)
    >>> frame.groupby(["optimizer", "lr"])["loss"].mean().round(1)
    optimizer  lr
    Adam       0.01    1.8
               0.10    1.2
    SGD        0.01    2.3
               0.10    2.3
    Name: loss, dtype: float64
    """
    steps, every = whole("steps", steps, 0), whole("every", every, 1)
    if not callable(model_fn) or isinstance(model_fn, nn.Module):
        raise TypeError(f"model_fn: expected a function that returns a model, got {model_fn!r}")
    for name, function in {"loss": loss, "schedule": schedule}.items():
        if not callable(function) and (name == "loss" or function is not None):
            raise TypeError(f"{name}: expected a function, got {function!r}")
    if chunk is not None:
        chunk = whole("chunk", chunk, 1)
    device = choose_device(device)
    data = to_device(data, device)
    test = None if test is None else to_device(test, device, "test")
    batch_size = batch_length(batch_size, len(data.x))
    seeds = _seeds(seeds)
    # Every model has a number: its place in the product of optimizers, grid and seeds.
    cells, plan = [], []
    for label, make in _optimizers(optimizer).items():
        first = len(cells)
        cells += [{"optimizer": label, **cell} for cell in _cells(grid)]
        for places, program in _programs(make, _cells(grid)):
            models = list(itertools.product(range(len(places)), seeds))
            size = chunk or len(models)
            for start in range(0, len(models), size):
                part = models[start : start + size]
                rows = [(first + places[c]) * len(seeds) + seeds.index(seed) for c, seed in part]
                plan.append((rows, program, part))
    keys = pd.DataFrame([{**cell, "seed": seed} for cell in cells for seed in seeds])
    task = SimpleNamespace(
        model_fn=model_fn, data=data, test=test, steps=steps, batch_size=batch_size, every=every,
        loss=loss, schedule=schedule, device=device,
    )  # fmt: skip
    frames = []
    with random_state(seeds[0], device), bar(len(keys) * steps, progress) as shown:
        try:
            for rows, program, part in plan:
                stack = program(torch.tensor([cell for cell, _ in part]), device)
                for report in train(task, stack, part, shown):
                    frames.append(keys.loc[rows].assign(**report))
        except KeyboardInterrupt:
            pass  # what there is so far is returned
    if not frames:
        return pd.DataFrame(columns=[*keys, "step", "loss", "diverged"])
    # The reports of a model come together, in their order.
    return pd.concat(frames).sort_index(kind="stable").reset_index(drop=True)


def _cells(grid) -> list[dict]:
    """Return every combination of a grid's values."""
    if not isinstance(grid, dict):
        raise TypeError(f"grid: expected a dict of sequences by option, got {grid!r}")
    for name, values in grid.items():
        if isinstance(values, str) or not hasattr(values, "__len__") or len(values) == 0:
            raise ValueError(f"grid: {name} must be a sequence of values, got {values!r}")
        if name == "betas":
            raise ValueError("grid: write beta1 and beta2 for betas")
    columns = [[v.item() if hasattr(v, "item") else v for v in vs] for vs in grid.values()]
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*columns)]


def _programs(make, cells):
    """Divide cells by the options that are not numbers; return their places and their program.

    A program makes the stack of some of its cells, given by their numbers.
    """
    cls, fixed = getattr(make, "func", make), getattr(make, "keywords", {})
    groups = {}
    for place, cell in enumerate(cells):
        options = vars(cls.hyper(**{**fixed, **cell}))
        numbers = {name: options[name] for name in options if name in cls.numbers}
        structure = {name: value for name, value in options.items() if name not in numbers}
        structure |= {name: value for name, value in cell.items() if name not in numbers}
        # Without momentum there is no buffer, and SGD's dampening is not applied.
        structure["buffer"] = numbers.get("momentum", 0) != 0
        key = tuple((name, repr(value)) for name, value in structure.items())
        groups.setdefault(key, []).append((place, {**fixed, **cell}, numbers))
    programs = []
    for group in groups.values():
        places, options, numbers = zip(*group, strict=True)
        varying = {
            name: torch.tensor([n[name] for n in numbers], dtype=torch.float64)
            for name in numbers[0]
            if len({n[name] for n in numbers}) > 1
        }
        programs.append((places, functools.partial(_program, cls, options[0], varying)))
    return programs


def _program(cls, options: dict, varying: dict, cells, device) -> Stack:
    """Return the stack of models with the numbers of these cells, of shape (models, 1)."""
    stack = Stack(cls, **options)
    for name, values in varying.items():
        setattr(stack.h, name, values[cells].to(device).unsqueeze(-1))
    return stack


def _optimizers(optimizer) -> dict:
    """Return optimizer classes by label."""
    if not isinstance(optimizer, dict):
        optimizer = {None: optimizer}
    result = {}
    for label, make in optimizer.items():
        cls, given = getattr(make, "func", make), getattr(make, "args", ())
        if given or not (isinstance(cls, type) and issubclass(cls, Optimizer)):
            shown = repr(make) if label is None else f"{label}={make!r}"
            raise TypeError(
                "optimizer: expected classes of companion.optim, or partials of them with options "
                f"by name, got {shown}"
            )
        result[cls.__name__ if label is None else label] = make
    return result


def _seeds(seeds) -> list[int]:
    """Return the seeds that a number or a sequence stands for."""
    if isinstance(seeds, str) or not hasattr(seeds, "__len__"):
        numbers = list(range(whole("seeds", seeds)))
    else:
        numbers = [whole("seeds", seed) for seed in seeds]
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"seeds: expected a number of at least 1 or different seeds, got {seeds!r}"
        )
    return numbers
