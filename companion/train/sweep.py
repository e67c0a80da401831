"""Networks by the hundred: a grid × seeds trained at once by the optimizers' own rules."""

import functools
import inspect
import itertools
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from companion.data import Batches
from companion.optim.base import Optimizer, group_mean_square, named, shaped, use_blocks
from companion.progress import bar
from companion.train.arguments import batch_length, whole
from companion.train.devices import choose_device, random_state, to_device
from companion.train.evaluation import count_correct, cross_entropy

EVALUATION_BATCH = 2**16  # models × samples at once where nothing is learned


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
        so far was NaN or infinite. After Ctrl-C: the reports up to then.

    Raises
    ------
    ValueError, TypeError
        An argument that cannot be used; options that the optimizer refuses.

    Notes
    -----
    The result is that of training each model alone by the same optimizer, but for the rounding of
    batched arithmetic, and for layers that draw random numbers. Models do not touch each other: one
    that diverges fills with NaN alone. Memory: `chunk` times one model with its state, gradients
    and activations.

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
                for report in _train(task, program, part, shown):
                    frames.append(keys.loc[rows].assign(**report))
        except KeyboardInterrupt:
            pass  # what there is so far is returned
    if not frames:
        return pd.DataFrame(columns=[*keys, "step", "loss", "diverged"])
    # The reports of a model come together, in their order.
    return pd.concat(frames).sort_index(kind="stable").reset_index(drop=True)


def _train(task, program, part, shown):
    """Train the models of a part together, and yield their reports as columns."""
    cells = torch.tensor([cell for cell, _ in part])
    seeds = list(dict.fromkeys(seed for _, seed in part))
    slot = torch.tensor([seeds.index(seed) for _, seed in part], device=task.device)  # (B,)
    base, params, fixed = _stack(task, seeds, slot)
    numbers = {name: value[cells].to(task.device) for name, value in program.varying.items()}
    program.divide(params)
    state = vmap(program.init)(params, numbers)
    batches = [Batches(torch.arange(len(task.data.x)), task.batch_size, seed=s) for s in seeds]

    def evaluate(params, fixed, x, y):
        output = functional_call(base, {**params, **fixed}, (x,))
        result = {"loss": task.loss(output, y)}
        if result["loss"].dim():
            raise ValueError(f"loss: expected a scalar, got shape {tuple(result['loss'].shape)}")
        right = count_correct(output, y)
        return result if right is None else {**result, "accuracy": right.double() / y.numel()}

    forward = vmap(evaluate, randomness="different")
    sums, samples = {}, 0
    diverged = torch.zeros(len(part), dtype=torch.bool, device=task.device)
    for step in range(1, task.steps + 1):
        index = torch.stack([next(b) for b in batches]).to(task.device)[slot]  # (B, batch)
        x, y = task.data.x[index], task.data.y[index]  # (B, batch, ...)
        leaves = {name: p.requires_grad_() for name, p in params.items()}
        result = forward(leaves, fixed, x, y)
        # One backward pass for all: a model's loss depends on its own parameters only.
        grads = torch.autograd.grad(result["loss"].sum(), leaves.values(), allow_unused=True)
        grads = {name: g for name, g in zip(leaves, grads, strict=True) if g is not None}
        factor = 1.0 if task.schedule is None else float(task.schedule(step - 1))
        with torch.no_grad():
            update = functools.partial(program.update, t=float(step), factor=factor)
            moved, state = vmap(update)(params, grads, state, numbers)
            params = {name: moved.get(name, p).detach() for name, p in params.items()}
            for name, value in result.items():
                sums[name] = sums.get(name, 0) + value.detach().double() * index.shape[1]
            samples += index.shape[1]
            diverged |= ~torch.isfinite(result["loss"])
        shown.update(len(part))
        if step % task.every == 0 or step == task.steps:
            report = {name: (total / samples).tolist() for name, total in sums.items()}
            if task.test is not None:
                report |= _test(task, base, evaluate, params, fixed)
            yield {"step": step, **report, "diverged": diverged.tolist()}
            sums, samples = {}, 0


def _test(task, base, evaluate, params, fixed) -> dict:
    """Evaluate all models on the test set."""
    x, y = task.test
    models = len(next(iter(params.values())))
    size = max(1, EVALUATION_BATCH // models)
    forward = vmap(evaluate, in_dims=(0, 0, None, None))
    sums = {}
    base.eval()
    with torch.no_grad():
        for start in range(0, len(x), size):
            part = slice(start, start + size)
            for name, value in forward(params, fixed, x[part], y[part]).items():
                sums[name] = sums.get(name, 0) + value.double() * len(x[part])
    base.train()
    return {f"test_{name}": (total / len(x)).tolist() for name, total in sums.items()}


def _stack(task, seeds, slot):
    """Return a model, its trained parameters, and what else it holds, both stacked to (B, ...)."""
    models = []
    for seed in seeds:
        torch.manual_seed(seed)
        model = task.model_fn()
        if not isinstance(model, nn.Module) or model in models:
            raise TypeError(
                f"model_fn: expected a function that returns a new Module, got {model!r}"
            )
        models.append(model.to(task.device))
    params, fixed = {}, {}
    named = [dict([*m.named_parameters(), *m.named_buffers()]) for m in models]
    for name, value in named[0].items():
        stacked = torch.stack([n[name].detach() for n in named])[slot]
        (params if value.requires_grad else fixed)[name] = stacked
        if value.requires_grad and value.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"model_fn: {name} is {value.dtype}, expected float32 or float64")
    if not params:
        raise ValueError("model_fn: the model has no parameters to train")
    return models[0].train(), params, fixed


class _Program:
    """An optimizer's steps for one model as pure functions, to be mapped over the models."""

    def __init__(self, optimizer: Optimizer, constants: dict, varying: dict):
        self.optimizer = optimizer
        self.constants = constants  # options that all models share
        self.varying = varying  # options of each cell, (cells,), float64
        self.partition = {}  # blocks by parameter

    def hyper(self, numbers, factor=1.0) -> SimpleNamespace:
        h = SimpleNamespace(**self.constants, **numbers)
        h.lr = h.lr * factor
        return h

    def divide(self, params) -> None:
        """Choose the blocks of each parameter, (B, ...), as its optimizer does."""
        if self.optimizer.block == "partition":
            self.partition = {k: self.optimizer.blocks(p[0], k) for k, p in params.items()}

    def init(self, params, numbers):
        """Return the state of one model by parameter and field, fields that are None left out."""
        h, state = self.hyper(numbers), {}
        for name, x in params.items():
            blocks = self.partition.get(name)
            use_blocks(h, blocks)
            fields = self.optimizer.init(shaped(x, blocks), h)._asdict()
            state[name] = {field: v for field, v in fields.items() if v is not None}
        return state

    def update(self, params, grads, state, numbers, t, factor):
        """Return the parameters and the state of one model after a step."""
        cls, h = self.optimizer, self.hyper(numbers, factor)
        moved, after = {}, dict(state)
        if cls.block == "group":
            gradients = (cls.gradient(params[k], g, h) for k, g in grads.items())
            h.mean_square = group_mean_square(gradients)
        for name, g in grads.items():
            blocks = self.partition.get(name)
            use_blocks(h, blocks)
            fields = dict.fromkeys(cls.State._fields) | state[name]
            x, g = shaped(params[name], blocks), shaped(g, blocks)
            x, s = cls.update(x, g, cls.State(**fields), t, h)
            moved[name] = x.reshape(params[name].shape)
            after[name] = {field: v for field, v in s._asdict().items() if v is not None}
        return moved, after


def _cells(grid) -> list[dict]:
    """Return every combination of a grid's values."""
    for name, values in grid.items():
        if isinstance(values, str) or not hasattr(values, "__len__") or len(values) == 0:
            raise ValueError(f"grid: {name} must be a sequence of values, got {values!r}")
        if name == "betas":
            raise ValueError("grid: write beta1 and beta2 for betas")
    columns = [[v.item() if hasattr(v, "item") else v for v in vs] for vs in grid.values()]
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*columns)]


def _programs(make, cells):
    """Divide cells by the options that are not numbers; return their places and their program."""
    groups = {}
    for place, cell in enumerate(cells):
        optimizer = _instance(make, cell)
        options = vars(named(optimizer.param_groups[0]))
        numbers = {name: value for name, value in options.items() if isinstance(value, float)}
        structure = {name: value for name, value in options.items() if name not in numbers}
        key = {name: value for name, value in structure.items() if not callable(value)}
        key |= {name: value for name, value in cell.items() if name not in numbers}
        # Without momentum there is no buffer, and SGD's dampening is not applied.
        key["buffer"] = numbers.get("momentum", 0) != 0
        groups.setdefault(tuple(key.items()), []).append((place, optimizer, numbers, structure))
    programs = []
    for group in groups.values():
        places, optimizers, numbers, structure = zip(*group, strict=True)
        columns = {name: [n[name] for n in numbers] for name in numbers[0]}
        varying = {
            name: torch.tensor(values, dtype=torch.float64)
            for name, values in columns.items()
            if len(set(values)) > 1
        }
        constants = {name: values[0] for name, values in columns.items() if name not in varying}
        programs.append((places, _Program(optimizers[0], structure[0] | constants, varying)))
    return programs


def _instance(make, cell: dict) -> Optimizer:
    """Return the optimizer of a cell, for one unused parameter: it checks and completes options."""
    cls = getattr(make, "func", make)
    options = {**getattr(make, "keywords", {}), **cell}
    allowed = inspect.signature(cls).parameters
    if "betas" in allowed:
        beta1, beta2 = options.get("betas", allowed["betas"].default)
        options["betas"] = options.pop("beta1", beta1), options.pop("beta2", beta2)
    return cls([torch.zeros(1)], **options)


def _optimizers(optimizer) -> dict:
    """Return optimizer classes by label."""
    if not isinstance(optimizer, dict):
        optimizer = {None: optimizer}
    result = {}
    for label, make in optimizer.items():
        cls = getattr(make, "func", make)
        if not (isinstance(cls, type) and issubclass(cls, Optimizer)):
            shown = repr(make) if label is None else f"{label}={make!r}"
            raise TypeError(
                "optimizer: expected classes of companion.optim or partials of them, got " + shown
            )
        result[cls.__name__ if label is None else label] = make
    return result


def _seeds(seeds) -> list[int]:
    seeds = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds: expected a number of at least 1 or different seeds, got {seeds}")
    return seeds
