r"""A rule as a graph of operations, from which kernels are printed.

The rule itself is traced, once, with symbols in place of tensors. What depends on numbers alone
(:math:`1 - \beta_1^t`, the step size) is computed outside of kernels at every step, so that a
change of ``lr`` compiles nothing. What depends on tensors becomes the body of one loop over all
elements.
"""

from functools import partial

import torch
from torch import fx

from companion.kernels.build import Untranslatable

KINDS = ("element", "block", "cell", "scalar")  # from the widest to the narrowest


class Trace:
    """A rule as a graph of operations.

    Parameters
    ----------
    rule : type
        A class of `companion.optim`: its ``update`` is traced, its ``numbers`` stay open.
    h : Hyper
        The hyper-parameters; those that are no numbers are structure and stand in the graph.
    fields : dict
        What each field of the state holds: ``None`` (nothing), ``"element"`` (the shape of x),
        ``"block"`` (one value a row of x), or a number n (a queue of n tensors of the shape of x).
    varying : collection of str
        Numbers that differ from cell to cell of a grid, ``"t"`` not among them.

    Attributes
    ----------
    kinds : dict
        Node → ``"scalar"`` (one number), ``"cell"`` (a number for each cell), ``"block"`` (one
        value a row) or ``"element"``.
    numbers : dict
        Name of a hyper-parameter, or ``"t"`` → its node.
    inputs : list of Node
        x, g and the tensors of the state, a queue's one by one.
    reductions : list of (str, Node, Node)
        A word of ``h``, the node that it reduces, the node of the result. Done before the kernel.
    cells, scalars : list of Node
        What a kernel takes in that depends on numbers alone.
    owner : dict
        Node of a tensor of the state with one value a row → its field.
    outputs : list of Node
        The next x and the tensors of the next state, in the order of the inputs without g.
    """

    def __init__(self, rule, h, fields: dict, varying=()):
        self.graph, self.kinds, self.numbers, self.reductions = fx.Graph(), {}, {}, []
        self.tracer = fx.proxy.GraphAppendingTracer(self.graph)
        self.varying, self.fields = frozenset(varying), fields
        self.reduced = "block" if "block" in fields.values() else "element"
        values = {name: self._option(rule, name, value) for name, value in vars(h).items()}
        self.inputs, self.owner = [], {}
        x, g = self._input("x", "element"), self._input("g", "element")
        s = rule.State(**{name: self._field(name, kind) for name, kind in fields.items()})
        x, s = rule.update(x, g, s, self._number("t"), type(h)(over=_Symbols(self), **values))
        self.outputs = [z.node for z in (x, *_leaves(s))]
        self._classify()

    def _option(self, rule, name, value):
        """Return a number as a symbol, unless it is zero for good, and structure as it is."""
        if name in rule.numbers and not (name == "weight_decay" and is_zero(value)):
            return self._number(name)
        return partial(self._call, value) if callable(value) else value

    def _input(self, name, kind):
        proxy = self._placeholder(name, kind)
        self.inputs.append(proxy.node)
        return proxy

    def _field(self, name, kind):
        if isinstance(kind, int):
            return tuple(self._input(f"{name}_{i}", "element") for i in range(kind))
        proxy = kind and self._input(name, kind)
        if kind == "block":
            self.owner[proxy.node] = name
        return proxy

    def _number(self, name):
        proxy = self._placeholder(name, "cell" if name in self.varying else "scalar")
        self.numbers[name] = proxy.node
        return proxy

    def _placeholder(self, name, kind):
        proxy = fx.Proxy(self.graph.placeholder(name), self.tracer)
        self.kinds[proxy.node] = kind
        return proxy

    def _call(self, function, z):
        """Record a user's function of the step, which is left to Python."""
        proxy = self.tracer.create_proxy("call_function", function, (z,), {})
        if isinstance(function(2.0), torch.Tensor):
            self.kinds[proxy.node] = "cell"
        return proxy

    def reduce(self, word, z):
        """Record a word of ``h`` and return the symbol of its result."""
        proxy = self._placeholder(f"{word}_{len(self.reductions)}", self.reduced)
        self.reductions.append((word, z.node, proxy.node))
        return proxy

    def _classify(self) -> None:
        for node in self.graph.nodes:
            if node not in self.kinds:
                below = {self.kinds[n] for n in node.all_input_nodes}
                self.kinds[node] = next(kind for kind in KINDS if kind in below)
        self.needed = self.ancestors(self.outputs)
        inside = [n for n in self.needed if self.kinds[n] in ("element", "block")]
        used = {n for node in inside for n in node.all_input_nodes}
        self.cells, self.scalars = (
            [n for n in self.needed if self.kinds[n] == kind and n in used]
            for kind in ("cell", "scalar")
        )

    def ancestors(self, nodes) -> list:
        """Return these nodes and all that they depend on, in order."""
        seen, stack = set(), list(nodes)
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(node.all_input_nodes)
        return [node for node in self.graph.nodes if node in seen]

    @property
    def slots(self) -> list:
        """Nodes of all tensors that a kernel is given, in order."""
        return [*self.inputs, *(result for _, _, result in self.reductions), *self.cells]

    def known(self, h, t) -> dict:
        """Return the numbers of a step by node; those of a grid stay tensors."""
        known = {}
        for name, node in self.numbers.items():
            value = t if name == "t" else getattr(h, name)
            known[node] = value if self.kinds[node] == "cell" else float(value)
        return known


class _Symbols:
    """Reductions in a trace: each makes a new input."""

    def __init__(self, trace: Trace):
        for word in ("mean", "max", "mean_square"):
            setattr(self, word, partial(trace.reduce, word))


def is_zero(value) -> bool:
    """Say whether a number is zero for good: a rule then leaves out what it would do with it."""
    return isinstance(value, float) and value == 0


def _leaves(s):
    """Return the symbols of a state, those of a queue one by one."""
    for z in s:
        if isinstance(z, tuple):
            yield from z
        elif z is not None:
            yield z


class Program:
    """The computation of some nodes from known ones, in order, with the look-ups done beforehand.

    Parameters
    ----------
    trace : Trace
    nodes : list of Node
        Wanted.
    known : collection of Node
        Given, besides the inputs; they are not computed anew.
    """

    def __init__(self, trace: Trace, nodes, known=()):
        inside, stack = set(), list(nodes)
        while stack:
            node = stack.pop()
            if node.op != "placeholder" and node not in known and node not in inside:
                inside.add(node)
                stack.extend(node.all_input_nodes)
        self.steps = [(n, *_call(n)) for n in trace.graph.nodes if n in inside]

    def run(self, values: dict) -> dict:
        """Add the values of the nodes, and of those on the way, to the known ones."""
        for node, function, args in self.steps:
            values[node] = function(*[values[a] if isinstance(a, fx.Node) else a for a in args])
        return values


def _call(node):
    """Return the function of a node and its arguments."""
    kwargs = node.kwargs
    if any(isinstance(a, (tuple, list)) for a in node.args) or any(
        isinstance(a, fx.Node) for a in kwargs.values()
    ):
        raise Untranslatable(f"its rule calls {node.target} with arguments that are no numbers")
    if node.op == "call_method":
        return lambda z, *args: getattr(z, node.target)(*args, **kwargs), node.args
    function = _where if node.target is torch.where else node.target
    return partial(function, **kwargs) if kwargs else function, node.args


def _where(condition, a, b):
    """Choose by a condition on numbers at once, and by one on tensors entry by entry."""
    if isinstance(condition, torch.Tensor):
        return torch.where(condition, a, b)
    return a if condition else b
