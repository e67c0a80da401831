"""One kernel for many problems side by side, whose hyper-parameters differ from cell to cell."""

import torch
from torch import Tensor

from companion.kernels.build import Untranslatable
from companion.kernels.cpp import TYPES, CppKernel
from companion.kernels.printed import Tensors
from companion.kernels.trace import Program, Trace


class CellKernel:
    """A rule's ``update`` as one loop over all elements, x and the state in place.

    What depends on hyper-parameters alone is computed for each cell by tensor operations, in
    float64, and enters the loop as one more input.

    Parameters
    ----------
    rule : type
        A class of `companion.optim`.
    h : Hyper
        Hyper-parameters: numbers, or tensors, one value a cell. ``h.lr`` may change from step to
        step, and be a tensor then if it is one now.
    problems : list of (Tensor, NamedTuple)
        x and the state of each tensor; both are overwritten at every step.
    steady_lr : bool
        Whether ``h.lr`` stays what it is.
    cell : {"block", "element"}
        As for `companion.kernels.printed.Printed`.

    Raises
    ------
    Untranslatable
        If the rule cannot become such a loop: step by `companion.optim.stack.Stack` instead.

    Notes
    -----
    Cost: one pass over x, g and the state, and a few operations on tensors of the cells. Memory:
    one tensor of the cells for each number that the loop needs.
    """

    def __init__(self, rule, h, problems, steady_lr: bool, cell: str):
        self.h, (x, s) = h, problems[0]
        tensors = [z for x, s in problems for z in (x, *s) if z is not None]
        if (
            x.device.type != "cpu"
            or x.dtype not in TYPES
            or not all(x.numel() for x, _ in problems)
        ):
            raise Untranslatable(f"there is no loop for {x.dtype} on {x.device}, or nothing to do")
        if any(z.dtype != x.dtype for z in tensors):
            raise Untranslatable("x and the state are not of one dtype")
        if any(z is not None and z.shape != x.shape for x, s in problems for z in s):
            raise Untranslatable("its state is not of the shape of x")
        values = vars(h).items()
        varying = {name for name, z in values if isinstance(z, Tensor) and name in rule.numbers}
        if any(isinstance(z, Tensor) and name not in rule.numbers for name, z in values):
            raise Untranslatable("an option that is not a plain number differs between cells")
        fields = {name: None if z is None else "element" for name, z in s._asdict().items()}
        self.trace = Trace(rule, h, fields, varying)
        if self.trace.reductions:
            raise Untranslatable("it looks beyond one element")
        self.kernel = CppKernel(self.trace, x.dtype, cell)
        # What is the same at every step is computed once; the rest follows the program.
        moving = {"t"} if steady_lr else {"t", "lr"}
        moving = {node for name, node in self.trace.numbers.items() if name in moving}
        wanted = self.trace.cells  # the kernel computes the numbers that all cells share
        needs = {n: moving.isdisjoint(self.trace.ancestors([n])) for n in self.trace.graph.nodes}
        steady = [n for n in self.trace.ancestors(wanted) if needs[n] and n.op != "placeholder"]
        values = Program(self.trace, wanted).run(self.trace.known(h, 2.0))
        self.known = {n: values[n] for n in steady}
        self.program = Program(self.trace, wanted, self.known)
        self.moving = [n for n in self.trace.cells if not needs[n]]
        self.buffers = {n: self._buffer(values[n], x) for n in self.trace.cells}
        for node, buffer in self.buffers.items():
            buffer.copy_(self._fitted(values[node], buffer))

    def step(self, t: float) -> None:
        """Step, once the addresses of the gradients stand in ``tensors``."""
        values = self.program.run(self.trace.known(self.h, t) | self.known)
        for node in self.moving:
            self.buffers[node].copy_(self._fitted(values[node], self.buffers[node]))
        self.kernel.launch(self.tensors, values)


class RowKernel(CellKernel):
    """Steps tensors of shape (cells, n), whose hyper-parameters are of shape (cells, 1)."""

    def __init__(self, rule, h, problems, steady_lr: bool = True):
        for x, s in problems:
            if not all(z is None or z.is_contiguous() for z in (x, *s)):
                raise Untranslatable("x or the state is not contiguous")
        super().__init__(rule, h, problems, steady_lr, cell="block")
        self.problems = problems  # the kernel knows their addresses only
        pointers, sizes, rows = [], [], []
        for x, s in problems:
            given = (x, x, *(z for z in s if z is not None), *self.buffers.values())
            pointers += [z.data_ptr() for z in given]
            sizes.append(x.numel())
            rows.append(len(x) if self.buffers else 1)
        self.tensors = Tensors(sizes, rows, pointers)

    def _buffer(self, value, x):
        return x.new_empty(len(x))

    @staticmethod
    def _fitted(value, buffer):
        value = torch.as_tensor(value)
        return value.reshape(-1) if value.dim() else value

    def __call__(self, gradients, t: float) -> None:
        """Step all tensors by their gradients, of the same shapes."""
        pairs = zip(gradients, self.problems, strict=True)
        held = [g.to(x.dtype).contiguous() for g, (x, _) in pairs]
        self.tensors.pointers[:, 1] = [g.data_ptr() for g in held]
        self.step(t)


class GridKernel(CellKernel):
    """Steps one tensor of shape (cells, seeds, d), whose cells lie side by side in memory.

    Parameters
    ----------
    rule, h, steady_lr
        As for `CellKernel`; tensors broadcast against (*shape, seeds, d), with a last dimension
        of 1.
    x, s
        The tensor and the state, laid out as x.
    shape : tuple of int
        The dimensions that the cells of x come from.
    """

    def __init__(self, rule, h, x, s, shape, steady_lr: bool = True):
        tensors = [z for z in (x, *s) if z is not None]
        if any(z.shape != x.shape or not z.permute(1, 2, 0).is_contiguous() for z in tensors):
            raise Untranslatable("its state is not laid out as x is")
        self.shape = shape
        super().__init__(rule, h, [(x, s)], steady_lr, cell="element")
        cells, seeds, d = x.shape
        size = x.element_size()
        pieces = seeds * d if self.buffers else 1  # stretches of x over which the rows repeat
        self.x, self.state = x, s
        stretch = x.numel() // pieces
        given, pointers = [x, x, *(z for z in s if z is not None)], []
        for piece in range(pieces):
            pointers += [z.data_ptr() + piece * stretch * size for z in given]
            for row in self.buffers.values():
                seed = piece // d if len(row) > 1 else 0
                pointers.append(row.data_ptr() + seed * cells * size)
        self.tensors = Tensors([stretch] * pieces, [1] * pieces, pointers)
        self.offsets = self.tensors.pointers[:, 1] - x.data_ptr()

    def _buffer(self, value, x):
        # One row of cells for each seed, or one row for all.
        return x.new_empty(value.shape[-2] if value.dim() > 1 else 1, *self.shape)

    @staticmethod
    def _fitted(value, buffer):
        value = torch.as_tensor(value)
        return value[..., 0].movedim(-1, 0) if value.dim() > 1 else value

    def __call__(self, x, g, s, t: float):
        """Step as ``Stack.step`` does, in place."""
        if x is not self.x:
            self.x.copy_(x)
        g = g.permute(1, 2, 0).to(self.x.dtype).contiguous()
        self.tensors.pointers[:, 1] = self.offsets + g.data_ptr()
        self.step(t)
        return self.x, self.state
