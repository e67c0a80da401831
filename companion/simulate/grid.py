"""Run a rule over a grid of hyper-parameters and seeds for ten million steps, in little memory."""

import math

import torch
from torch import Tensor

from companion.interrupt import Interrupt
from companion.kernels.build import Untranslatable
from companion.kernels.cells import GridKernel
from companion.progress import bar
from companion.simulate.summary import Result, Summary
from companion.simulate.trajectory import bind, check_start, stacked, walk

TEMPORARIES = 16  # float64 tensors of the size of x that a step may hold, its gradient included


def run(
    optimizer,
    grad,
    x0: Tensor,
    steps: int,
    *,
    seeds: int | None = None,
    seed: int = 0,
    times=None,
    observe=None,
    level=None,
    minimiser=None,
    project=None,
    dtype: torch.dtype = torch.float64,
    device=None,
    memory: int = 2 * 2**30,
    kernel: bool = True,
    progress: bool = True,
    **hyper,
) -> Result:
    r"""Step a grid of hyper-parameters, seeds and starts, and keep summaries only.

    Parameters
    ----------
    optimizer : type
        A class of `companion.optim`; its own ``update`` makes every step.
    grad : callable
        ``grad(x)`` or ``grad(x, generator)``, from (cells, seeds, d) to the same shape; all cells
        come as one dimension. Its random numbers must not depend on the number of cells. If it
        walks through data it has a method ``reset()``: see `companion.problems.oracles`.
    x0 : Tensor
        Start, of shape (d,), (seeds, d) or (cells..., seeds, d).
    steps : int
        Number of gradients T.
    seeds : int, optional
        Number of seeds; by default what x0 and the hyper-parameters say.
    seed : int
        Seeds the generator that all seeds draw from.
    times : sequence of int, optional
        Steps at which to take quantiles, from 0 (the start) to T; by default at most 64 from 1 to
        T, evenly spaced on a logarithmic scale.
    observe : callable, optional
        From (cells, seeds, d) to (cells, seeds): the number whose quantiles and drift are kept. By
        default x itself if d = 1, and ‖x - x*‖ otherwise, where a missing minimiser counts as zero.
    level : float, optional
        Record when x first reaches this level, from below or above; d = 1 only.
    minimiser : float, sequence or Tensor, optional
        x*, of shape (d,) or (), for the growth criterion.
    project : (float, float) or callable, optional
        An interval that x is clamped to after each step, or a function of x.
    dtype : torch.dtype
        ``torch.float64``, or ``torch.float32`` for speed. Hyper-parameters stay in float64: 1 - β
        keeps its digits.
    device : torch.device, optional
        By default that of x0.
    memory : int
        Bytes. Cells are run in chunks, one after the other, that fit.
    kernel : bool
        Step by one kernel made of the rule where that is possible (on a CPU, for rules without
        averages, given a C++ compiler); else, and where False, by tensor operations. Both round
        alike up to the last digits.
    progress : bool
        Show a progress bar.
    **hyper
        Options of the optimizer. Each is a number or a tensor whose last dimension is 1, such as
        (cells..., 1, 1). ``lr`` and ADOPT's ``clip_lambda`` may be functions of the step.

    Returns
    -------
    Result
        Also after an interrupt from the keyboard, with what there is.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or does not broadcast.

    Notes
    -----
    Cost: T gradients of the whole grid. Memory: x, the optimizer's state and about 16 temporaries
    for one chunk; for the whole grid the last x, 40 bytes for each time and cell, and 8 bytes an
    element with ``level``. ``growth`` compares with T/4 rather than with the start:
    the transient is over by then. Small grids, and any grid on a busy machine, are faster under
    ``torch.set_num_threads(1)``: threads wait for each other at every operation.

    Examples
    --------
    Gradients of 3 once in three and -1 otherwise: the mean points down, Adam with β2 = 0 goes up.

    >>> from companion.optim import Adam
    >>> from companion.problems import Samples
    >>> slopes = torch.tensor([3.0, -1.0, -1.0], dtype=torch.float64)
    >>> oracle = Samples(lambda x, i: slopes[i].expand_as(x), n=3, order="reshuffled")
    >>> beta2 = torch.tensor([0.0, 0.999]).view(-1, 1, 1)
    >>> result = run(
    ...     Adam, oracle, torch.zeros(1), 3000, seeds=8, project=(-1, 1), level=0.9,
    ...     lr=0.01, beta1=0.0, beta2=beta2,
    ... )
    >>> result.x.mean((-2, -1)).round(decimals=1).tolist()
    [1.0, -1.0]
    >>> (result.first_passage >= 0).tolist()[1]
    [False, False, False, False, False, False, False, False]
    """
    check_start(x0, steps)
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype!r}")
    x0 = x0.detach().to(device or x0.device, dtype)
    cells = _Cells(*stacked(optimizer, hyper), x0, seeds)
    summary = Summary(cells.start(slice(None)), steps, times, observe, level, minimiser)
    chunks = cells.chunks(memory, summary)
    if project is not None and not callable(project):
        low, high = project
        project = lambda x: x.clamp_(low, high)  # noqa: E731
    with Interrupt() as interrupt, bar(steps * len(chunks), progress) as shown, torch.no_grad():
        for chunk in chunks:
            t, x = 0, cells.start(chunk)
            try:
                for t, x in cells.walk(chunk, bind(grad, x0.device, seed), steps, project, kernel):
                    summary.take(chunk, t, x)
                    shown.update(t > 0)
                    if interrupt.asked:
                        break
            except KeyboardInterrupt:  # an oracle's own, or the second one
                interrupt.asked = True
            finally:
                summary.close(chunk, t, x)
            if interrupt.asked:
                break
    return summary.result(cells.shape, interrupt.asked)


class _Cells:
    """A grid laid out: its cells as one dimension, in chunks, each with its hyper-parameters.

    Parameters
    ----------
    stack : Stack
    lr : callable or None
        The step size as a function of the step, if it is one.
    x0 : Tensor
        Start, which broadcasts.
    seeds : int or None
    """

    def __init__(self, stack, lr, x0: Tensor, seeds):
        if seeds is not None and (isinstance(seeds, bool) or not isinstance(seeds, int)):
            raise TypeError(f"seeds must be a whole number, got {seeds!r}")
        shape = stack.shape(x0)
        shape = torch.Size((*([1] * (2 - len(shape))), *shape))
        if seeds is not None and (seeds < 1 or shape[-2] not in (1, seeds)):
            raise ValueError(f"seeds is {seeds}, but x0 and the options have {shape[-2]}")
        self.shape = torch.Size((*shape[:-2], seeds or shape[-2], shape[-1]))
        self.stack, self.lr, self.length = stack, lr, math.prod(shape[:-2])
        self.x0 = self._flat(x0)

    def _flat(self, value: Tensor) -> Tensor:
        """Return a tensor that broadcasts against (cells..., seeds, d) with its cells as one."""
        value = value[(None,) * (len(self.shape) - value.dim())]
        if value.shape[:-2].numel() == 1:
            return value.reshape(1, *value.shape[-2:])
        return value.expand(*self.shape[:-2], -1, -1).flatten(0, -3)

    def start(self, chunk: slice) -> Tensor:
        """Return the start of some cells; in memory the cells lie side by side."""
        x = self.x0.expand(self.length, *self.shape[-2:])[chunk]
        return x.permute(1, 2, 0).clone(memory_format=torch.contiguous_format).permute(2, 0, 1)

    def part(self, chunk: slice, unexpanded: bool = False):
        """Return the stack of some cells, and its lr as a function of the step or ``None``.

        Parameters
        ----------
        chunk : slice
        unexpanded : bool
            Leave the cells in their dimensions, where there is one chunk only: a kernel has far
            fewer powers to compute then.
        """

        def of_these(value):
            if not isinstance(value, Tensor):
                return value
            value = value.to(self.x0.device, torch.float64)
            if unexpanded:
                return value[(None,) * (len(self.shape) - value.dim())]
            value = self._flat(value)
            return value if len(value) == 1 else value[chunk]

        def at_each_step(function):
            return lambda t: of_these(function(t))

        stack, lr = self.stack.mapped(of_these), self.lr and at_each_step(self.lr)
        for name, value in vars(stack.h).items():
            if callable(value):
                setattr(stack.h, name, at_each_step(value))
        if lr:
            stack.set_lr(lr(1))
        return stack, lr

    def chunks(self, memory: int, summary: Summary) -> list:
        """Return slices of cells, each of which can be run in this memory, summaries included."""
        one = self.start(slice(0, 1))
        state = self.part(slice(0, 1))[0].init(one)
        for_all = self.length * summary.size(one)
        each = 8 * TEMPORARIES * one.numel() + sum(z.nbytes for z in state if z is not None)
        if memory < for_all + each:
            raise ValueError(
                f"memory must be at least {for_all + each} bytes for {self.length} cells of "
                f"{self.shape[-2]} seeds at {len(summary.times)} times, got {memory!r}"
            )
        length = min(self.length, int(memory - for_all) // each)
        starts = range(0, self.length, length)
        return [slice(i, min(i + length, self.length)) for i in starts]

    def walk(self, chunk: slice, oracle, steps: int, project, kernel: bool):
        """Yield ``(t, x)`` of some cells, stepped by one kernel where there is one."""
        x, (stack, lr) = self.start(chunk), self.part(chunk)
        if not kernel:
            return walk(stack, lr, x, oracle, steps, project)
        s = stack.init(x)
        whole = len(x) == self.length
        wide, wide_lr = self.part(chunk, unexpanded=whole)
        try:
            step = GridKernel(
                stack.rule, wide.h, x, s, self.shape[:-2] if whole else x.shape[:1], lr is None
            )
        except Untranslatable:
            return walk(stack, lr, x, oracle, steps, project)
        return walk(wide, wide_lr, x, oracle, steps, project, step, s)
