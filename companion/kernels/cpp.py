"""A trace printed as one C++ loop over all elements of any number of tensors, in place.

Each of x, g and the state is read once and x and the state are written once: the least memory
traffic that a step can have, and no temporary tensor. Threads share the elements evenly.
"""

import ctypes

import torch
from torch import fx

from companion.kernels.build import compile_source
from companion.kernels.printed import ARITHMETIC, COMPARISONS, Printed, Tensors, name_of, operation

TYPES = {torch.float32: "float", torch.float64: "double"}
PER_THREAD = 16384  # elements that are worth a thread of their own
# Operations of a rule as C++ expressions.
EXPRESSIONS = ARITHMETIC | {
    "pow": "std::pow({0}, {1})",
    "where": "({0} ? {1} : {2})",
    "lerp": "lerp({0}, {1}, {2})",
    "maximum": "larger({0}, {1})",
    "minimum": "smaller({0}, {1})",
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


class CppKernel(Printed):
    """A trace compiled for the CPU; parameters, calls and errors are those of `Printed`."""

    def __init__(self, trace, dtype, cell: str = "block"):
        super().__init__(trace, dtype, cell)
        self.library = compile_source(self._source())

    def _source(self) -> str:
        names = {node: f"v{i}" for i, node in enumerate((*self.trace.scalars, *self.inside))}
        code = {"scalars": [], "row": [], "row_stores": [], "body": []}
        for i, node in enumerate(self.trace.scalars):
            kind, value = (
                ("bool", f"s[{i}] != 0") if name_of(node) in COMPARISONS else ("T", f"T(s[{i}])")
            )
            code["scalars"].append(f"const {kind} {names[node]} = {value};")
        for node in self.inside:
            part, index = ("body", "j") if self.kinds[node] == "element" else ("row", "row")
            if node in self.slots:
                value = f"p{self.slots.index(node)}[{index}]"
            else:
                value = _expression(node, names)
            code[part].append(f"const auto {names[node]} = {value};")
        for node, slot in self.targets:
            part, index = ("row_stores", "row") if slot in self.fresh else ("body", "j")
            code[part].append(f"p{self.place(slot)}[{index}] = {names[node]};")
        code["pointers"] = [f"T *const p{i} = p[{i}];" for i in range(self.width)]
        text = {part: "\n".join(lines) for part, lines in code.items()}
        return SOURCE.format(type=TYPES[self.dtype], width=self.width, **text)

    def launch(self, tensors: Tensors, known: dict) -> None:
        """Run the loop, once."""
        numbers = self.numbers(known)
        self.library.step(
            *tensors.arguments,
            (ctypes.c_double * len(numbers))(*numbers),
            ctypes.c_int64(min(torch.get_num_threads(), 1 + tensors.total // PER_THREAD)),
        )


def _expression(node, names) -> str:
    form, args = operation(node, EXPRESSIONS, "C++")
    return form.format(*(names[a] if isinstance(a, fx.Node) else _number(a) for a in args))


def _number(value) -> str:
    return f"T({value!r})".replace("inf", "INF")
