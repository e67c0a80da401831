"""A trace printed as JavaScript: the rule itself, for a page or any engine of JavaScript.

What depends on numbers alone is computed once a step; the rest is one loop over the entries of x,
in place. A reduction has a loop of its own before it, whose values the blocks then replace by those
of their blocks: one printed rule serves any partition.
"""

import json

import torch
from torch import fx

from companion.kernels.build import Untranslatable
from companion.kernels.script import Script, number_text
from companion.kernels.trace import Trace


def printed(optimizer, /, **options) -> str:
    """Return a rule as the text of a JavaScript object.

    The object has a ``name``; ``state``, the value that each entry of a field starts with (a list
    of them for a queue, ``"x"`` for the start itself); ``hyper``, the numbers that the step reads,
    with their values; and ``step(x, g, s, t, h, over)``, which writes to x and s.

    Parameters
    ----------
    optimizer : type
        A class of `companion.optim`, or one written like them.
    **options
        Its options. What is a number stays open, save a weight decay of zero; all else is structure
        and stands in the text.

    Raises
    ------
    Untranslatable
        The rule calls a function of Python or an operation that has no JavaScript form, branches on
        its tensors, or looks at their shape.

    Notes
    -----
    Cost: one trace, some milliseconds. The arithmetic is double precision.

    Examples
    --------
    >>> from companion.optim import SGD
    >>> print(printed(SGD, lr=0.1))
    {
      name: "SGD",
      state: {},
      hyper: {lr: 0.1},
      step(x, g, s, t, h, over) {
        const lr = h.lr;
        for (let j = 0; j < x.length; ++j) {
          const xj = x[j], gj = g[j];
          x[j] = xj - (lr * gj);
        }
      },
    }
    """
    return _printed(optimizer.__name__, optimizer, options)


def module(rules: dict) -> str:
    """Return the text of a script that fills ``Play.rules``.

    Parameters
    ----------
    rules : dict
        Name → the text of a rule, or (class, options) of one that is yet to be printed.

    Examples
    --------
    >>> from companion.optim import SGD
    >>> module({"Descent": (SGD, {"lr": 0.1})}).splitlines()[3:6]
    ['Play.rules = {', '  "Descent": {', '    name: "Descent",']
    """
    lines = [
        "// Rules of companion.optim, printed by companion.kernels.javascript: not to be edited.",
        '"use strict";',
        "var Play = globalThis.Play || {};",
        "Play.rules = {",
    ]
    for name, rule in rules.items():
        text = rule if isinstance(rule, str) else _printed(name, *rule)
        lines.append(f"  {_quoted(name)}: {text},".replace("\n", "\n  "))
    return "\n".join([*lines, "};", ""])


def _printed(name, optimizer, options) -> str:
    bare = optimizer.bare(**options)
    h = optimizer.hyper_of(bare.defaults)
    start, kinds = _start(optimizer, h)
    for function in filter(callable, vars(h).values()):
        raise Untranslatable(f"its rule calls {_name(function)}, which has no JavaScript form")
    try:
        trace = Trace(optimizer, h, kinds)
    except (fx.proxy.TraceError, RuntimeError, TypeError) as error:
        raise Untranslatable(f"its rule cannot be traced: {error}") from error
    script = Script(trace)
    hyper = {number: number_text(float(getattr(h, number))) for number in script.read}
    lines = [
        f"name: {_quoted(name)},",
        f"state: {_braces(start)},",
        f"hyper: {_braces(hyper)},",
        "step(x, g, s, t, h, over) {",
        *(f"  {line}" for line in script.lines),
        "},",
    ]
    return "\n".join(["{", *(f"  {line}" for line in lines), "}"])


class _Entries:
    """Reductions that keep the shape of what they reduce, as a printed rule has them."""

    @staticmethod
    def mean(z):
        return z.mean().expand(z.shape)

    @staticmethod
    def max(z):
        return z.amax().expand(z.shape)


def _start(optimizer, h) -> tuple[dict, dict]:
    """Return the first value of each field, as text, and what the field holds for `Trace`."""
    h.over, x = _Entries, torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64)
    start, kinds = {}, {}
    for field, z in optimizer.init(x, h)._asdict().items():
        kinds[field] = None if z is None else "element"
        if z is None:
            continue
        if z.dim() and z.shape[1:] == x.shape:
            kinds[field] = len(z)
            start[field] = f"[{', '.join(_first(field, entry, x) for entry in z)}]"
        else:
            start[field] = _first(field, z, x)
    return start, kinds


def _first(field, z, x) -> str:
    if torch.equal(z, x):
        return '"x"'
    values = z.unique()
    if len(values) != 1:
        raise Untranslatable(f"its state {field} starts neither as one number nor as x")
    return number_text(values.item())


def _braces(entries: dict) -> str:
    return f"{{{', '.join(f'{name}: {value}' for name, value in entries.items())}}}"


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _name(function) -> str:
    return getattr(function, "__name__", repr(function))
