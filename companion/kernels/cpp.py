"""A trace printed as one C++ loop over all elements of any number of tensors, in place.

Each of x, g and the state is read once and x and the state are written once: the least memory
traffic that a step can have, and no temporary tensor. Threads share the elements evenly.
"""

import ctypes

import numpy as np
import torch
from torch import fx

from companion.kernels.build import Untranslatable, compile_source
from companion.kernels.trace import Program, Trace

COMPARISONS = ("gt", "ge", "lt", "le", "eq")
TYPES = {torch.float32: "float", torch.float64: "double"}
PER_THREAD = 16384  # elements that are worth a thread of their own
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
    "exp": "std::exp({0})",
    "log": "std::log({0})",
    "tanh": "std::tanh({0})",
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


class CppKernel:
    """A trace compiled for the CPU: steps any number of tensors in place, in one call.

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
        An operation that has no C++ form; no compiler.
    """

    def __init__(self, trace: Trace, dtype, cell: str = "block"):
        self.trace, self.slots = trace, trace.slots
        self.kinds = {n: cell if kind == "cell" else kind for n, kind in trace.kinds.items()}
        own = [i for i, node in enumerate(trace.inputs) if node.name != "g"]
        # (node, slot it is written to), where it is not what stands there already
        self.targets = [
            (node, slot)
            for node, slot in zip(trace.outputs, own, strict=True)
            if node is not self.slots[slot]
        ]
        # A row's new value goes to a tensor of its own: other threads may still read the old one.
        self.fresh = [slot for _, slot in self.targets if self.kinds[self.slots[slot]] == "block"]
        # Whether every tensor keeps its place, so that a launch can be repeated.
        apart = any(self.kinds[node] == "block" for node in self.slots)
        self.repeats = not (apart or trace.reductions)
        self.program = Program(trace, trace.scalars)
        self.library = compile_source(self._source(TYPES[dtype]))

    def _source(self, ctype: str) -> str:
        inside = [n for n in self.trace.needed if self.kinds[n] in ("element", "block")]
        inside = [n for n in inside if n in self.slots or self.trace.kinds[n] != "cell"]
        names = {node: f"v{i}" for i, node in enumerate((*self.trace.scalars, *inside))}
        code = {"scalars": [], "row": [], "row_stores": [], "body": []}
        for i, node in enumerate(self.trace.scalars):
            kind, value = (
                ("bool", f"s[{i}] != 0") if _name(node) in COMPARISONS else ("T", f"T(s[{i}])")
            )
            code["scalars"].append(f"const {kind} {names[node]} = {value};")
        for node in inside:
            part, index = ("body", "j") if self.kinds[node] == "element" else ("row", "row")
            if node in self.slots:
                value = f"p{self.slots.index(node)}[{index}]"
            else:
                value = _expression(node, names)
            code[part].append(f"const auto {names[node]} = {value};")
        for node, slot in self.targets:
            if slot in self.fresh:
                place = len(self.slots) + self.fresh.index(slot)
                code["row_stores"].append(f"p{place}[row] = {names[node]};")
            else:
                code["body"].append(f"p{slot}[j] = {names[node]};")
        width = len(self.slots) + len(self.fresh)
        code["pointers"] = [f"T *const p{i} = p[{i}];" for i in range(width)]
        text = {part: "\n".join(lines) for part, lines in code.items()}
        return SOURCE.format(type=ctype, width=width, **text)

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

    def launch(self, tensors: "Tensors", known: dict) -> None:
        """Run the loop, once."""
        known = self.program.run(known)
        numbers = [float(known[node]) for node in self.trace.scalars]
        self.library.step(
            *tensors.arguments,
            (ctypes.c_double * len(numbers))(*numbers),
            ctypes.c_int64(min(torch.get_num_threads(), tensors.threads)),
        )


class Tensors:
    """Where the tensors lie that a kernel steps, as its library takes them.

    Parameters
    ----------
    sizes, rows : list of int
        Elements and rows of each.
    pointers : list of int
        Addresses, a slot after the other for each.
    """

    def __init__(self, sizes, rows, pointers):
        self._arrays = [np.array(numbers, dtype=np.int64) for numbers in (sizes, rows, pointers)]
        self.pointers = self._arrays[-1].reshape(len(sizes), -1)
        self.threads = 1 + sum(sizes) // PER_THREAD
        addresses = (ctypes.c_void_p(array.ctypes.data) for array in self._arrays)
        self.arguments = (ctypes.c_int64(len(sizes)), *addresses)


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
