r"""Compile a rule to one kernel that steps a whole parameter group: ``fused=True``.

The rule itself is traced, once, with symbols in place of tensors. What depends on numbers alone
(:math:`1 - \beta_1^t`, the step size) is computed in Python at every step, so that a change of
``lr`` compiles nothing. What depends on tensors becomes the body of one loop over all elements of
the group, threads sharing them evenly. Each of x, g, m, v is read once and x, m, v are written
once, in place: the least memory traffic that such a step can have, and no temporary tensor.

On a CPU the loop is C++, built by the compiler that ``CXX`` names (default ``c++``) in about half
a second and kept in the user's cache folder. On other devices the same trace goes through
``torch.compile``, a tensor at a time. Where neither works, a ``RuntimeWarning`` says why and the
group steps eagerly.
"""

import ctypes
import warnings
from functools import partial
from types import SimpleNamespace

import torch
from torch import fx
from torch.autograd.graph import increment_version
from torch.utils import _pytree as pytree

from companion.kernels.build import Untranslatable, compile_source
from companion.optim.options import RANGES, is_zero

# Operations of a rule as C++ expressions; a method and a function of one name mean the same.
EXPRESSIONS = {
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "truediv": "({0} / {1})",
    "neg": "(-{0})",
    "pow": "std::pow({0}, {1})",
    "gt": "({0} > {1})",
    "ge": "({0} >= {1})",
    "lt": "({0} < {1})",
    "le": "({0} <= {1})",
    "eq": "({0} == {1})",
    "where": "({0} ? {1} : {2})",
    "lerp": "lerp({0}, {1}, {2})",
    "maximum": "larger({0}, {1})",
    "minimum": "smaller({0}, {1})",
    "square": "({0} * {0})",
    "sqrt": "std::sqrt({0})",
    "abs": "std::abs({0})",
    "sign": "T(({0} > 0) - ({0} < 0))",
    "clamp": "clamp({0}, {1}, {2})",
}

SOURCE = """
#include <cmath>
#include <cstdint>
#include <limits>
#ifdef _OPENMP
#include <omp.h>
#endif
typedef {type} T;
typedef int64_t i64;
static const T INF = std::numeric_limits<T>::infinity();
static inline T lerp(T a, T b, T w) {{
  return w < T(0.5) ? a + w * (b - a) : b - (b - a) * (1 - w);
}}
static inline T larger(T a, T b) {{ return (a != a || a > b) ? a : b; }}   // NaN wins, as in torch
static inline T smaller(T a, T b) {{ return (a != a || a < b) ? a : b; }}
static inline T clamp(T a, T lo, T hi) {{ return a < lo ? lo : (a > hi ? hi : a); }}

// Elements from..to of one tensor, which holds rows of n elements.
static void part(i64 from, i64 to, i64 n, T *const *p, const double *s) {{
{pointers}
{scalars}
  for (i64 row = from / n; row * n < to; ++row) {{
{row}
    const i64 start = row * n, end = start + n;
    const i64 first = start < from ? from : start, last = end > to ? to : end;
    if (first == start) {{
{row_stores}
    }}
    #pragma GCC ivdep
    for (i64 j = first; j < last; ++j) {{
{body}
    }}
  }}
}}

extern "C" void step(i64 tensors, const i64 *sizes, const i64 *rows, T *const *p, const double *s,
                     i64 threads) {{
  i64 total = 0;
  for (i64 i = 0; i < tensors; ++i) total += sizes[i];
  #pragma omp parallel num_threads(threads)
  {{
    i64 me = 0, all = 1;
    #ifdef _OPENMP
    me = omp_get_thread_num(); all = omp_get_num_threads();
    #endif
    const i64 from = total * me / all, to = total * (me + 1) / all;
    i64 base = 0;
    for (i64 i = 0; i < tensors && base < to; base += sizes[i], ++i) {{
      const i64 a = from > base ? from - base : 0, b = to - base < sizes[i] ? to - base : sizes[i];
      if (a < b) part(a, b, sizes[i] / rows[i], p + i * {width}, s);
    }}
  }}
}}
"""


REDUCTIONS = ("mean", "max", "mean_square")  # the words of h that look beyond one element
COMPARISONS = ("gt", "ge", "lt", "le", "eq")
TYPES = {torch.float32: "float", torch.float64: "double"}


def step(optimizer, params, h) -> bool:
    """Step all parameters of a group; return False, after a warning, where no kernel can be had."""
    plans = optimizer.__dict__.setdefault("_plans", {})
    plan = plans.get(params[0])
    if plan and plan.fits(optimizer, params, h):
        plan.run(h)
        increment_version(params)
        return True
    try:
        launches = _launches(optimizer, params, h)
    except Untranslatable as reason:
        warnings.warn(
            f"{type(optimizer).__name__}(fused=True) steps eagerly: {reason}",
            RuntimeWarning,
            stacklevel=4,
        )
        return False
    for (kernel, t), entries in launches.items():
        results = kernel([tensors for _, tensors in entries], kernel.trace.known(h, t))
        for (p, _), (x, *state) in zip(entries, results, strict=True):
            optimizer._store(p, x, kernel.trace.restore(state))
        moved = any(p.data_ptr() != tensors[0].data_ptr() for p, tensors in entries)
        if kernel.repeats and len(launches) == 1 and not moved:
            plans[params[0]] = Plan(optimizer, kernel, entries, h)
    increment_version(params)  # autograd has to know that they changed
    return True


def _launches(optimizer, params, h) -> dict:
    """Sort the parameters of a group by (kernel, t): one call each.

    Returns a dictionary to lists of (parameter, its tensors in the kernel's order). Parameters
    whose first gradient came late count their own steps, so they go apart.
    """
    launches = {}
    for p in params:
        x, g, s, t = optimizer._inputs(p, h)
        if x.dtype not in TYPES:
            raise Untranslatable(f"there are no kernels for {x.dtype}")
        leaves, structure = pytree.tree_flatten(s)
        kinds = [
            None if z is None else "element" if z.shape == x.shape else "block" for z in leaves
        ]
        kernel = _kernel(optimizer, x.device.type, x.dtype, h, structure, tuple(kinds))
        tensors = [z.to(x.dtype).contiguous() for z in (x, g, *leaves) if z is not None]
        if kernel.trace.reductions:
            known = kernel.trace.known(h, t)
            known |= zip(kernel.trace.inputs, tensors, strict=True)
            for word, argument, result in kernel.trace.reductions:
                known[result] = getattr(h, word)(evaluate(argument, known)).contiguous()
                tensors.append(known[result])
        launches.setdefault((kernel, t), []).append((p, tensors))
    return launches


_kernels: dict = {}


def _fixed(optimizer, h) -> tuple:
    """Return what of h makes a kernel of its own: the options that are not numbers."""
    names = (name for name in optimizer.defaults if name not in RANGES and name != "betas")
    return (*((name, getattr(h, name)) for name in names), is_zero(h.weight_decay))


def _kernel(optimizer, device, dtype, h, structure, kinds):
    """Return the kernel of a rule in one configuration; most numbers are left open."""
    key = (type(optimizer), device, dtype, _fixed(optimizer, h), structure, kinds)
    if key not in _kernels:
        trace = Trace(type(optimizer), h, structure, kinds)
        _kernels[key] = (CppKernel if device == "cpu" else TorchKernel)(trace, dtype)
    return _kernels[key]


# -- from rule to graph ----------------------------------------------------------------------------


class Trace:
    """A rule as a graph of operations.

    Attributes
    ----------
    kinds : dict
        Node → ``"scalar"`` (computed in Python), ``"block"`` (one value a row) or ``"element"``.
    numbers : dict
        Name of a hyper-parameter, or ``"t"`` → its node.
    inputs : list of Node
        x, g and the tensors of the state.
    reductions : list of (str, Node, Node)
        A word of ``h``, the node that it reduces, the node of the result. Done before the kernel.
    outputs : list of Node
        The next x and the tensors of the next state.
    """

    def __init__(self, cls, h, structure, kinds):
        self.graph, self.kinds, self.numbers, self.reductions = fx.Graph(), {}, {}, []
        self.tracer = fx.proxy.GraphAppendingTracer(self.graph)
        self.structure, self.empty = structure, [kind is None for kind in kinds]
        reduced = "block" if "block" in kinds else "element"

        symbolic = SimpleNamespace(**{w: partial(self._reduce, w, reduced) for w in REDUCTIONS})
        for name, value in vars(h).items():
            if name in RANGES and not (name == "weight_decay" and is_zero(value)):
                value = self._number(name)
            elif callable(value):  # a user's function of the step: left to Python
                value = partial(self._call, value)
            if name not in REDUCTIONS:
                setattr(symbolic, name, value)
        x, g = self._placeholder("x", "element"), self._placeholder("g", "element")
        state = [kind and self._placeholder(f"s{i}", kind) for i, kind in enumerate(kinds)]
        self.inputs = [z.node for z in (x, g, *state) if z is not None]
        s = pytree.tree_unflatten(state, structure)
        x, s = cls.update(x, g, s, self._number("t"), symbolic)
        self.outputs = [z.node for z in (x, *pytree.tree_leaves(s)) if z is not None]

        for node in self.graph.nodes:
            if node not in self.kinds:
                below = {self.kinds[n] for n in node.all_input_nodes}
                self.kinds[node] = next(k for k in ("element", "block", "scalar") if k in below)
        self.needed = self._ancestors(self.outputs)
        used = {
            n for node in self.needed if self.kinds[node] != "scalar" for n in node.all_input_nodes
        }
        self.scalars = [n for n in self.needed if self.kinds[n] == "scalar" and n in used]

    @property
    def slots(self) -> list:
        """Nodes of all tensors that a kernel is given, in order."""
        return [*self.inputs, *(result for _, _, result in self.reductions)]

    def rows(self, tensors) -> int:
        """Return how many blocks there are in tensors that fill the slots; one without blocks."""
        slots = zip(self.slots, tensors, strict=True)
        return next((z.numel() for node, z in slots if self.kinds[node] == "block"), 1)

    def _placeholder(self, name, kind):
        proxy = fx.Proxy(self.graph.placeholder(name), self.tracer)
        self.kinds[proxy.node] = kind
        return proxy

    def _number(self, name):
        proxy = self._placeholder(name, "scalar")
        self.numbers[name] = proxy.node
        return proxy

    def _reduce(self, word, kind, z):
        proxy = self._placeholder(f"{word}_{len(self.reductions)}", kind)
        self.reductions.append((word, z.node, proxy.node))
        return proxy

    def _call(self, function, z):
        return self.tracer.create_proxy("call_function", function, (z,), {})

    def _ancestors(self, nodes) -> list:
        seen, stack = set(), list(nodes)
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(node.all_input_nodes)
        return [node for node in self.graph.nodes if node in seen]

    def known(self, h, t) -> dict:
        """Return the numbers of this step by node."""
        return {
            n: t if name == "t" else float(getattr(h, name)) for name, n in self.numbers.items()
        }

    def restore(self, tensors):
        """Return the state that these tensors make, ``None`` where it has none."""
        tensors = iter(tensors)
        leaves = [None if empty else next(tensors) for empty in self.empty]
        return pytree.tree_unflatten(leaves, self.structure)


def evaluate(node, known):
    """Compute a node's value from the known ones, which grow on the way."""
    if node not in known:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: evaluate(n, known))
        if node.op == "call_method":
            known[node] = getattr(args[0], node.target)(*args[1:], **kwargs)
        elif node.target is torch.where and isinstance(args[0], bool):
            known[node] = args[1] if args[0] else args[2]
        else:
            known[node] = node.target(*args, **kwargs)
    return known[node]


# -- from graph to C++ -----------------------------------------------------------------------------


class CppKernel:
    """A trace compiled for the CPU: steps any number of tensors in place, in one call."""

    def __init__(self, trace: Trace, dtype):
        self.trace = trace
        self.slots = trace.slots
        self.targets = self._targets()
        # A row's new value goes to a tensor of its own: other threads may still read the old one.
        self.fresh = [node for node in self.targets if trace.kinds[node] == "block"]
        # Whether every tensor keeps its place, so that a launch can be repeated: see `Plan`.
        apart = any(trace.kinds[node] == "block" for node in self.slots)
        self.repeats = not apart and len(self.targets) == len(self.slots) - 1
        self.library = compile_source(self._source(TYPES[dtype]))

    def _targets(self) -> dict:
        """Map each computed output to the slot it is written to.

        An input that is passed on as it stands (a queue moving up) goes by reference; its tensor
        is not free. Every computed output takes its own tensor, or else one that nobody keeps.
        """
        own = [i for i, node in enumerate(self.trace.inputs) if node.name != "g"]
        kept = {self.slots.index(node) for node in self.trace.outputs if node in self.slots}
        computed = {
            node: slot
            for node, slot in zip(self.trace.outputs, own, strict=True)
            if node not in self.slots
        }
        spare = [i for i in own if i not in kept and i not in computed.values()]
        return {node: spare.pop() if slot in kept else slot for node, slot in computed.items()}

    def _source(self, ctype: str) -> str:
        kinds, slots = self.trace.kinds, self.slots
        names = {node: f"v{i}" for i, node in enumerate(self.trace.needed)}
        code = {"scalars": [], "row": [], "row_stores": [], "body": []}
        for i, node in enumerate(self.trace.scalars):
            kind, value = (
                ("bool", f"s[{i}] != 0") if _name(node) in COMPARISONS else ("T", f"T(s[{i}])")
            )
            code["scalars"].append(f"const {kind} {names[node]} = {value};")
        for node, name in names.items():
            if kinds[node] == "scalar":
                continue
            part, index = ("body", "j") if kinds[node] == "element" else ("row", "row")
            value = f"p{slots.index(node)}[{index}]" if node in slots else _expression(node, names)
            code[part].append(f"const auto {name} = {value};")
        for node, slot in self.targets.items():
            if node in self.fresh:
                code["row_stores"].append(
                    f"p{len(slots) + self.fresh.index(node)}[row] = {names[node]};"
                )
            else:
                code["body"].append(f"p{slot}[j] = {names[node]};")
        width = len(slots) + len(self.fresh)
        code["pointers"] = [f"T *const p{i} = p[{i}];" for i in range(width)]
        text = {part: "\n".join(lines) for part, lines in code.items()}
        return SOURCE.format(type=ctype, width=width, **text)

    def __call__(self, batch, known):
        """Step tensors, given in the order of the slots; return the outputs of each.

        Parameters
        ----------
        batch : list of list of Tensor
            Contiguous tensors of the trace's dtype, a list for each parameter.
        known : dict
            Numbers of the step by node; see `Trace.known`.
        """
        pointers, rows, results = [], [], []
        for tensors in batch:
            fresh = {n: torch.empty_like(tensors[self.targets[n]]) for n in self.fresh}
            pointers += [z.data_ptr() for z in (*tensors, *fresh.values())]
            rows.append(self.trace.rows(tensors))
            after = dict(zip(self.slots, tensors, strict=True))
            after |= {n: fresh.get(n, tensors[slot]) for n, slot in self.targets.items()}
            results.append([after[node] for node in self.trace.outputs])
        self.launch(*self.arrays(batch, rows, pointers), known)
        return results

    @staticmethod
    def arrays(batch, rows, pointers):
        """Return sizes, rows and pointers as the library takes them."""
        sizes = [tensors[0].numel() for tensors in batch]
        return (
            (ctypes.c_int64 * len(sizes))(*sizes),
            (ctypes.c_int64 * len(rows))(*rows),
            (ctypes.c_void_p * len(pointers))(*pointers),
        )

    def launch(self, sizes, rows, pointers, known) -> None:
        """Run the loop, once."""
        numbers = [float(evaluate(node, known)) for node in self.trace.scalars]
        self.library.step(
            ctypes.c_int64(len(sizes)),
            sizes,
            rows,
            pointers,
            (ctypes.c_double * len(numbers))(*numbers),
            ctypes.c_int64(min(torch.get_num_threads(), 1 + sum(sizes) // 16384)),
        )


class Plan:
    """A launch to repeat: parameters and state stay where they are, only the gradients move.

    To sort a group anew at every step costs more than to step a small model. A plan does that
    work once, and checks by identity and address that nothing has changed since.
    """

    def __init__(self, optimizer, kernel, entries, h):
        self.kernel, self.fixed = kernel, _fixed(optimizer, h)
        self.entries = []
        for p, _ in entries:
            state = optimizer.state[p]
            fields = [(name, state[name]) for name in optimizer.State._fields]
            self.entries.append((p, p.data_ptr(), p.shape, p.dtype, state, fields))
        batch = [tensors for _, tensors in entries]
        addresses = [z.data_ptr() for tensors in batch for z in tensors]
        self.arrays = kernel.arrays(batch, [1] * len(batch), addresses)

    def fits(self, optimizer, params, h) -> bool:
        """Say whether the launch is still the right one; take up the gradients on the way."""
        if len(params) != len(self.entries) or self.fixed != _fixed(optimizer, h):
            return False
        pointers, width = self.arrays[-1], len(self.kernel.slots)
        for i, (p, entry) in enumerate(zip(params, self.entries, strict=True)):
            (q, address, shape, dtype, state, fields), g = entry, p.grad
            same = p is q and p.data_ptr() == address and optimizer.state[p] is state
            plain = p.is_contiguous() and p.shape == shape and p.dtype == dtype
            if not (same and plain and g.dtype == dtype and g.is_contiguous()):
                return False
            for name, tensor in fields:
                if state[name] is not tensor:
                    return False
            pointers[i * width + 1] = g.data_ptr()
        return True

    def run(self, h) -> None:
        """Step, at the count that the first parameter has reached; all count together."""
        t = self.entries[0][4]["step"].item()
        self.kernel.launch(*self.arrays, self.kernel.trace.known(h, t))


def _name(node) -> str:
    return node.target if isinstance(node.target, str) else node.target.__name__


def _expression(node, names) -> str:
    name, args = _name(node), node.args
    if name == "clamp":
        given = node.kwargs | dict(zip(("min", "max"), args[1:], strict=False))
        ends = {"min": "-INF", "max": "INF"} | {k: a for k, a in given.items() if a is not None}
        args = (args[0], ends["min"], ends["max"])
    if name not in EXPRESSIONS:
        raise Untranslatable(f"its rule uses {name}, which has no C++ form")
    text = {fx.Node: names.get, str: str}
    return EXPRESSIONS[name].format(*(text.get(type(a), lambda a: f"T({a!r})")(a) for a in args))


# -- from graph to other devices -------------------------------------------------------------------


class TorchKernel:
    """A trace compiled by ``torch.compile``: steps tensor by tensor, x in place."""

    repeats = False

    def __init__(self, trace: Trace, dtype):
        self.trace, self.dtype = trace, dtype
        graph, copies = fx.Graph(), {}
        for node in (*trace.slots, *trace.scalars):
            copies[node] = graph.placeholder(node.name)
        for node in trace.needed:
            if node not in copies and trace.kinds[node] != "scalar":
                copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(tuple(copies[node] for node in trace.outputs))
        self.function = torch.compile(fx.GraphModule({}, graph), dynamic=True)

    def __call__(self, batch, known):
        """Step tensors as `CppKernel` does."""
        values = [evaluate(node, known) for node in self.trace.scalars]
        device = batch[0][0].device
        numbers = [
            torch.tensor(v, device=device, dtype=torch.bool if isinstance(v, bool) else self.dtype)
            for v in values
        ]
        results = []
        for tensors in batch:
            # One shape of two dimensions for all: torch.compile builds anew for each rank.
            rows = self.trace.rows(tensors)
            flat = [z.detach().reshape(rows, -1) for z in tensors]
            x, *state = self.function(*flat, *numbers)
            before = tensors[2 : len(self.trace.inputs)]
            state = [z.view(old.shape) for z, old in zip(state, before, strict=True)]
            results.append([tensors[0].copy_(x.view(tensors[0].shape)), *state])
        return results
