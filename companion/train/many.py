"""Models of one architecture side by side: every step is one for all of them."""

import contextlib

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from companion.data import Batches
from companion.kernels.build import Untranslatable
from companion.kernels.cells import RowKernel
from companion.optim.stack import Stack
from companion.train.devices import mode
from companion.train.evaluation import count_correct, scalar

SAMPLES = 2**16  # models × samples at once where nothing is learned


class Models:
    """Models with parameters, and what else they hold, stacked to (models, ...).

    Parameters
    ----------
    model_fn : callable
        Returns a new model.
    loss : callable
        As for `companion.train.fit`.
    seeds : sequence of int
        Of the initial parameters: one model is made for each.
    slot : Tensor
        Which seed each of the models has, (models,).
    """

    def __init__(self, model_fn, loss, seeds, slot: Tensor):
        self.loss, models = loss, []
        for seed in seeds:
            torch.manual_seed(seed)
            model = model_fn()
            if not isinstance(model, nn.Module) or model in models:
                raise TypeError(
                    f"model_fn: expected a function that returns a new Module, got {model!r}"
                )
            models.append(model.to(slot.device))
        self.base, self.params, self.fixed = models[0], {}, {}
        named = [dict([*m.named_parameters(), *m.named_buffers()]) for m in models]
        for name, value in named[0].items():
            stacked = torch.stack([n[name].detach() for n in named])[slot]
            (self.params if value.requires_grad else self.fixed)[name] = stacked
            if value.requires_grad and value.dtype not in (torch.float32, torch.float64):
                raise TypeError(f"model_fn: {name} is {value.dtype}, expected float32 or float64")
        if not self.params:
            raise ValueError("model_fn: the model has no parameters to train")

    def _measure(self, params, fixed, x, y) -> dict:
        """Return the loss and the accuracy of one model."""
        output = functional_call(self.base, {**params, **fixed}, (x,))
        result = {"loss": scalar(self.loss, self.loss(output, y))}
        right = count_correct(output, y)
        return result if right is None else {**result, "accuracy": right.double() / y.numel()}

    def measure(self, params, x, y, *, shared: bool) -> dict:
        """Return the losses and accuracies, (models,) each.

        Parameters
        ----------
        params : dict of Tensor
        x, y : Tensor
            (models, batch, ...), or (batch, ...) where the models share them.
        """
        if shared and self.fixed:  # batch normalisation wants samples for each of its statistics
            x, y = (z.expand(len(next(iter(params.values()))), *z.shape) for z in (x, y))
            shared = False
        data = None if shared else 0
        function = vmap(self._measure, in_dims=(0, 0, data, data), randomness="different")
        return function(params, self.fixed, x, y)

    def gradients(self, x, y, *, shared: bool) -> tuple[dict, dict]:
        """Return what `measure` does, and the gradients by name."""
        leaves = {name: p.detach().requires_grad_() for name, p in self.params.items()}
        result = self.measure(leaves, x, y, shared=shared)
        total, grads = result["loss"].sum(), {}
        if total.requires_grad:
            # One backward pass for all: a model's loss depends on its own parameters only.
            found = torch.autograd.grad(total, leaves.values(), allow_unused=True)
            grads = {name: g for name, g in zip(leaves, found, strict=True) if g is not None}
        if not grads:
            raise ValueError("loss: no parameter has a gradient from it; is it detached?")
        return {name: value.detach() for name, value in result.items()}, grads

    def test(self, data) -> dict:
        """Return the mean loss and accuracy on a whole data set, as lists."""
        x, y = data
        size = max(1, SAMPLES // len(next(iter(self.params.values()))))
        sums = {}
        with torch.no_grad(), mode(self.base, training=False):
            for inputs, targets in zip(x.split(size), y.split(size), strict=True):
                result = self.measure(self.params, inputs, targets, shared=True)
                for name, value in result.items():
                    sums[name] = sums.get(name, 0) + value.double() * len(inputs)
        return {f"test_{name}": (total / len(x)).tolist() for name, total in sums.items()}

    def finite(self) -> Tensor:
        """Return whether all parameters of each model are finite, (models,)."""
        return torch.stack([p.isfinite().flatten(1).all(1) for p in self.params.values()]).all(0)


class Update:
    """The optimizer's steps of all models, in place: by one kernel where that can be had.

    Parameters
    ----------
    stack : Stack
        The rule, with hyper-parameters that are numbers or of shape (models, 1).
    params : dict of Tensor
        By name, (models, ...).
    schedule : callable or None
        Steps taken so far → factor on lr.
    """

    def __init__(self, stack: Stack, params: dict, schedule):
        self.stack, self.schedule, self.lr = stack, schedule, stack.h.lr
        for name, p in params.items():
            stack.divide(name, p[0])
        self.x = {name: p.view(len(p), -1) for name, p in params.items()}
        self.state = {name: stack.init(x, name) for name, x in self.x.items()}
        self.count = dict.fromkeys(params, 0)  # a late gradient begins a count of its own
        self.kernel, self.names = None, None

    def __call__(self, grads: dict, step: int) -> None:
        """Step the parameters that have a gradient."""
        if self.schedule is not None:
            self.stack.set_lr(self.lr * float(self.schedule(step - 1)))
        for name in grads:
            self.count[name] += 1
        if self.names is None:
            self._build(list(grads))
        grads = {name: g.reshape(len(g), -1) for name, g in grads.items()}
        counts = {self.count[name] for name in grads}
        if self.kernel is not None and len(counts) == 1 and self.names == list(grads):
            self.kernel(grads.values(), float(counts.pop()))
            return
        problems = {
            name: (self.x[name], g, self.state[name], float(self.count[name]))
            for name, g in grads.items()
        }
        for name, (x, s) in self.stack.steps(problems).items():
            self.x[name].copy_(x)
            for old, new in zip(self.state[name], s, strict=True):
                if new is not None:
                    old.copy_(new)

    def _build(self, names: list) -> None:
        self.names = names
        problems = [(self.x[name], self.state[name]) for name in names]
        with contextlib.suppress(Untranslatable):  # the same step goes by tensor operations then
            self.kernel = RowKernel(self.stack.rule, self.stack.h, problems, self.schedule is None)


def train(task, stack: Stack, part: list, shown):
    """Train models together, and yield their reports as columns.

    Parameters
    ----------
    task : object
        The arguments of `companion.train.sweep`.
    stack : Stack
    part : list of (int, int)
        Cell and seed of each model.
    shown : tqdm
        Counts steps of models.
    """
    seeds = list(dict.fromkeys(seed for _, seed in part))
    slot = torch.tensor([seeds.index(seed) for _, seed in part], device=task.device)  # (models,)
    models = Models(task.model_fn, task.loss, seeds, slot)
    update = Update(stack, models.params, task.schedule)
    batches = [Batches(torch.arange(len(task.data.x)), task.batch_size, seed=s) for s in seeds]
    shared = len(seeds) == 1
    sums, samples = {}, 0
    diverged = torch.zeros(len(part), dtype=torch.bool, device=task.device)
    with mode(models.base, training=True):
        for step in range(1, task.steps + 1):
            drawn = [next(b).to(task.device) for b in batches]
            index = drawn[0] if shared else torch.stack(drawn)[slot]  # ([models,] batch)
            result, grads = models.gradients(task.data.x[index], task.data.y[index], shared=shared)
            with torch.no_grad():
                update(grads, step)
            for name, value in result.items():
                sums[name] = sums.get(name, 0) + value.double() * index.shape[-1]
            samples += index.shape[-1]
            diverged |= ~torch.isfinite(result["loss"])
            shown.update(len(part))
            if step % task.every == 0 or step == task.steps:
                report = {name: (total / samples).tolist() for name, total in sums.items()}
                if task.test is not None:
                    report |= models.test(task.test)
                diverged |= ~models.finite()
                yield {"step": step, **report, "diverged": diverged.tolist()}
                sums, samples = {}, 0
