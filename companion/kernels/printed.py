"""What the printers of a trace share: the tensors they read and write, and how they are called."""

import ctypes
import math
from string import Formatter

import numpy as np
import torch
from torch import fx

from companion.kernels.build import Untranslatable
from companion.kernels.trace import Program, Trace

COMPARISONS = ("gt", "ge", "lt", "le", "eq")
# Operations that all languages write alike; each printer adds its own.
ARITHMETIC = {
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "truediv": "({0} / {1})",
    "neg": "(-{0})",
    "square": "({0} * {0})",
    "gt": "({0} > {1})",
    "ge": "({0} >= {1})",
    "lt": "({0} < {1})",
    "le": "({0} <= {1})",
    "eq": "({0} == {1})",
}


class Printed:
    """A trace printed and compiled: steps any number of tensors in place, in one launch.

    Parameters
    ----------
    trace : Trace
    dtype : torch.float32 or torch.float64
        Of all tensors.
    cell : {"block", "element"}
        Where the numbers of a grid's cells stand: one a row of x, or one an element.

    Raises
    ------
    Untranslatable
        An operation that has no form in the printer's language; no compiler.
    """

    def __init__(self, trace: Trace, dtype, cell: str = "block"):
        self.trace, self.dtype, self.slots = trace, dtype, trace.slots
        self.kinds = {n: cell if kind == "cell" else kind for n, kind in trace.kinds.items()}
        own = [i for i, node in enumerate(trace.inputs) if node.name != "g"]
        # (node, slot it is written to), where it is not what stands there already
        self.targets = [
            (node, slot)
            for node, slot in zip(trace.outputs, own, strict=True)
            if node is not self.slots[slot]
        ]
        # A row's new value goes to a tensor of its own: others may still read the old one.
        self.fresh = [slot for _, slot in self.targets if self.kinds[self.slots[slot]] == "block"]
        # Whether every tensor keeps its place, so that a launch can be repeated.
        apart = any(self.kinds[node] == "block" for node in self.slots)
        self.repeats = not (apart or trace.reductions)
        self.program = Program(trace, trace.scalars)

    @property
    def width(self) -> int:
        """Tensors that a launch takes for each parameter."""
        return len(self.slots) + len(self.fresh)

    @property
    def inside(self) -> list:
        """Nodes that the loop has: what it loads, and what it computes of that."""
        found = [n for n in self.trace.needed if self.kinds[n] in ("element", "block")]
        return [n for n in found if n in self.slots or self.trace.kinds[n] != "cell"]

    def place(self, slot) -> int:
        """Return the tensor, in the order of a launch, that the new value of a slot goes to."""
        return len(self.slots) + self.fresh.index(slot) if slot in self.fresh else slot

    def rows(self, tensors) -> int:
        """Return how many rows there are in tensors that fill the slots; one without blocks."""
        slots = zip(self.slots, tensors, strict=True)
        return next((z.numel() for node, z in slots if self.kinds[node] == "block"), 1)

    def __call__(self, batch, known):
        """Step tensors, given in the order of the slots, in place.

        Returns, for each, the fields of the state that hold a value a row: new tensors by name.

        Parameters
        ----------
        batch : list of list of Tensor
            Contiguous tensors of the kernel's dtype, a list for each parameter.
        known : dict
            Numbers of the step by node; see `Trace.known`.
        """
        pointers, results = [], []
        for tensors in batch:
            fresh = {slot: torch.empty_like(tensors[slot]) for slot in self.fresh}
            pointers += [z.data_ptr() for z in (*tensors, *fresh.values())]
            results.append({self.trace.owner[self.slots[i]]: z for i, z in fresh.items()})
        rows = [self.rows(tensors) for tensors in batch]
        self.launch(Tensors([t[0].numel() for t in batch], rows, pointers), known)
        return results

    def numbers(self, known: dict) -> list[float]:
        """Return the numbers that the loop takes, in the order of the trace's scalars."""
        known = self.program.run(known)
        return [float(known[node]) for node in self.trace.scalars]

    def launch(self, tensors: "Tensors", known: dict) -> None:
        """Run the loop, once."""
        raise NotImplementedError


class Tensors:
    """Where the tensors lie that a kernel steps.

    Parameters
    ----------
    sizes, rows : list of int
        Elements and rows of each.
    pointers : list of int
        Addresses, a slot after the other for each.
    """

    def __init__(self, sizes, rows, pointers):
        self.sizes, self.rows, flat = (np.array(z, dtype=np.int64) for z in (sizes, rows, pointers))
        self.pointers, self.total = flat.reshape(len(sizes), -1), sum(sizes)
        addresses = (ctypes.c_void_p(z.ctypes.data) for z in (self.sizes, self.rows, flat))
        self.arguments = (ctypes.c_int64(len(sizes)), *addresses)  # as a library of C takes them


def operation(node, expressions: dict, language: str) -> tuple[str, tuple]:
    """Return the form of a node's operation, and its arguments: one for each place in the form."""
    name, args, kwargs = name_of(node), node.args, node.kwargs
    if name == "clamp":
        ends = kwargs | dict(zip(("min", "max"), args[1:], strict=False))
        low, high = ends.get("min"), ends.get("max")
        args = args[0], -math.inf if low is None else low, math.inf if high is None else high
        kwargs = {}
    if name not in expressions:
        raise Untranslatable(f"its rule uses {name}, which has no {language} form")
    form = expressions[name]
    places = {int(place) for _, place, _, _ in Formatter().parse(form) if (place or "").isdigit()}
    known = all(isinstance(a, fx.Node | bool | int | float) for a in args)
    if kwargs or not known or places != set(range(len(args))):
        raise Untranslatable(f"its rule calls {name} with arguments that have no {language} form")
    return form, args


def name_of(node) -> str:
    """Return the name of what a node does: a method and a function of one name mean the same."""
    return node.target if isinstance(node.target, str) else node.target.__name__
