"""One kernel for a whole grid: a rule whose hyper-parameters differ from cell to cell."""

import ctypes

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from companion.optim import fused
from companion.optim.base import where
from companion.optim.options import RANGES


class CellKernel:
    """A rule's ``update`` as one loop over all elements, x and the state in place.

    What depends on hyper-parameters alone is computed for each cell by tensor operations, and
    enters the loop as one more input; see `companion.optim.fused`.

    Parameters
    ----------
    optimizer : type
        A class of `companion.optim`.
    x : Tensor
        Of shape (cells, seeds, d), with the cells side by side in memory. It is overwritten at
        every step, and so is the state.
    s : NamedTuple
        The state, laid out as x.
    h : SimpleNamespace
        Hyper-parameters: numbers, or tensors that broadcast against (*shape, seeds, d). If
        ``h.schedule`` is set, ``h.lr`` may change from step to step.
    shape : tuple of int
        The dimensions that the cells of x come from.

    Raises
    ------
    companion.optim.fused.Untranslatable
        If the rule cannot become such a loop: step by ``optimizer.update`` instead.

    Notes
    -----
    Cost: one pass over x, g and the state, and a few operations on tensors of the cells. Memory:
    one tensor of the cells for each number that the loop needs.
    """

    def __init__(self, optimizer, x, s, h, shape):
        leaves, structure = pytree.tree_flatten(s)
        tensors = [x, *(z for z in leaves if z is not None)]
        if any(z.shape != x.shape or z.dtype != x.dtype for z in tensors) or x.numel() == 0:
            raise fused.Untranslatable("its state is not of the shape and dtype of x")
        if not all(z.permute(1, 2, 0).is_contiguous() for z in tensors):
            raise fused.Untranslatable("its state does not lie in memory as x does")
        others = (z for name, z in vars(h).items() if name not in RANGES and name != "schedule")
        if any(isinstance(z, Tensor) for z in others):
            raise fused.Untranslatable("an option that is not a plain number differs between cells")
        kinds = tuple(None if z is None else "element" for z in leaves)
        self.trace = fused.Trace(optimizer, h, structure, kinds)
        if self.trace.reductions:
            raise fused.Untranslatable("it looks beyond one element")
        values = self._numbers(h, 2.0)
        for node in self.trace.scalars:
            fused.evaluate(node, values)
        wide = [n for n in self.trace.scalars if isinstance(values[n], Tensor)]
        self.trace.scalars = [n for n in self.trace.scalars if n not in wide]
        self.trace.reductions = [("", None, node) for node in wide]
        self.trace.kinds |= dict.fromkeys(wide, "element")
        self.kernel = fused.CppKernel(self.trace, x.dtype)
        if len(self.kernel.targets) != len(self.trace.inputs) - 1:
            raise fused.Untranslatable("its state moves from tensor to tensor")

        cells, seeds, d = x.shape
        # Each wide node gets one row of cells for each seed, or one row for all.
        rows = {node: x.new_empty(values[node].shape[-2], *shape) for node in wide}
        pieces = seeds * d if wide else 1  # stretches of x over which the rows repeat
        self.sizes = torch.full((pieces,), x.numel() // pieces)
        self.ones = torch.ones_like(self.sizes)
        self.offsets = torch.arange(pieces) * self.sizes * x.element_size()
        self.pointers = torch.empty(pieces, len(self.kernel.slots), dtype=torch.int64)
        self.x = x
        for i, z in enumerate([x, *tensors]):  # the second is g, which moves
            self.pointers[:, i] = z.data_ptr() + self.offsets
        for i, z in enumerate(rows.values(), start=len(self.trace.inputs)):
            seed = torch.arange(pieces) // d if len(z) > 1 else 0
            self.pointers[:, i] = z.data_ptr() + seed * cells * x.element_size()
        # What is the same at every step is computed once; the rest follows the program.
        moving = {"t", *(["lr", "base_lr"] if h.schedule else [])}
        moving = {node for name, node in self.trace.numbers.items() if name in moving}
        self.known, self.moving, self.program = {}, {}, []
        for node in self.trace._ancestors([*self.trace.scalars, *rows]):
            if moving.isdisjoint(self.trace._ancestors([node])):
                self.known[node] = values[node]
                if node in rows:
                    self._fill(rows[node], values[node])
                continue
            if node in rows:
                self.moving[node] = rows[node]
            if node.op != "placeholder":
                self.program.append((node, *_call(node)))
        self.buffers = rows, self.sizes  # the kernel knows their addresses only
        self.threads = min(torch.get_num_threads(), 1 + x.numel() // 16384)

    def _numbers(self, h, t) -> dict:
        """Return t and the hyper-parameters by node."""
        numbers = self.trace.numbers.items()
        return {node: t if name == "t" else getattr(h, name) for name, node in numbers}

    @staticmethod
    def _fill(row, value):
        row.copy_(value[..., 0].movedim(-1, 0))

    def __call__(self, x, g, s, t, h):
        """Step; the arguments are those of the rule."""
        if x is not self.x:
            x = self.x.copy_(x)
        g = g.permute(1, 2, 0).to(x.dtype).contiguous()
        torch.add(self.offsets, g.data_ptr(), out=self.pointers[:, 1])
        values = self._numbers(h, t) | self.known
        for node, function, args in self.program:
            values[node] = function(*[values[a] if isinstance(a, fx.Node) else a for a in args])
        for node, row in self.moving.items():
            self._fill(row, values[node])
        numbers = [float(values[node]) for node in self.trace.scalars]
        self.kernel.library.step(
            ctypes.c_int64(len(self.sizes)),
            *(ctypes.c_void_p(z.data_ptr()) for z in (self.sizes, self.ones, self.pointers)),
            (ctypes.c_double * len(numbers))(*numbers),
            ctypes.c_int64(self.threads),
        )
        return x, s


def _call(node):
    """Return the function of a node and its arguments."""
    if node.kwargs or any(isinstance(a, (tuple, list)) for a in node.args):
        raise fused.Untranslatable(f"{node} has arguments by name")
    if node.op == "call_method":
        return lambda z, *args, name=node.target: getattr(z, name)(*args), node.args
    return (where if node.target is torch.where else node.target), node.args
