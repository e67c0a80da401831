"""V8 with the scripts of a page and no page: what the tests of the browser's arithmetic run in."""

import json
import math

import numpy as np
import pytest
import torch

from companion.kernels.javascript import module
from companion.optim.stack import Labels, Stack
from companion.play.playable import STATIC
from companion.play.rules import RULES

# JSON knows no NaN, no infinity and no -0, and writes typed arrays as objects.
WRITE = """
globalThis.written = (value) => JSON.stringify(value, (_, z) => {
  if (typeof z === "number" && !(Number.isFinite(z) && !Object.is(z, -0))) {
    return { number: Object.is(z, -0) ? "-0" : String(z) };
  }
  return ArrayBuffer.isView(z) ? Array.from(z) : z;
});
"""


class Engine:
    """A V8 with core.js and rules.

    Parameters
    ----------
    rules : dict
        As for `companion.kernels.javascript.module`.
    """

    def __init__(self, rules=None):
        racer = pytest.importorskip("py_mini_racer", reason="mini-racer brings the V8 to run in")
        self.context = racer.MiniRacer()
        for text in (WRITE, (STATIC / "core.js").read_text(encoding="utf-8"), module(rules or {})):
            self.context.eval(text)

    def load(self, path) -> None:
        """Run a script of the package's static folder."""
        self.context.eval((STATIC / path).read_text(encoding="utf-8"))

    def call(self, expression: str, **values):
        """Return what an expression of JavaScript is; floats are exact, both ways.

        ``values`` are names for it: numbers, strings, lists and dictionaries of them.
        """
        names = "".join(f"const {name} = {literal(z)};\n" for name, z in values.items())
        text = self.context.eval(f"written((() => {{\n{names}return {expression};\n}})())")
        return json.loads(text, object_hook=_number)


def with_figures(*names) -> Engine:
    """Return an engine that has all rules, and these figures."""
    engine = Engine(RULES)
    for path in ("figure.js", *(f"figures/{name}.js" for name in names)):
        engine.load(path)
    return engine


def _number(found: dict):
    return float(found["number"].lower()) if found.keys() == {"number"} else found


def literal(z) -> str:
    """Return a value of Python as JavaScript writes it."""
    if isinstance(z, torch.Tensor | np.ndarray):
        z = z.tolist()
    if isinstance(z, dict):
        return f"{{{', '.join(f'{json.dumps(k)}: {literal(v)}' for k, v in z.items())}}}"
    if isinstance(z, list | tuple):
        return f"[{', '.join(map(literal, z))}]"
    if isinstance(z, float) and not math.isfinite(z):
        return str(z).replace("inf", "Infinity").replace("nan", "NaN")
    return json.dumps(z)


# All that a rule leaves behind at each step: x, and every field of the state by name.
STEPS = """(() => {
  const walker = Play.walker(rule, { x0, hyper, over, gradient: (_, t) => gradients[t - 1] });
  return gradients.map(() => {
    const { x, s } = walker.step();
    return [x, ...Object.values(s).flat()].map((z) => Array.from(z));
  });
})()"""


def in_browser(rule, x0, gradients, options, labels=None) -> np.ndarray:
    """Step given gradients in V8; return (steps, arrays, d): x, then the arrays of the state."""
    engine = Engine({"it": (rule, options)})
    over = "Play.whole" if labels is None else f"Play.blocks({literal(labels)})"
    expression = STEPS.replace("rule,", "Play.rules.it,").replace("over,", f"over: {over},")
    return np.array(engine.call(expression, x0=x0, gradients=gradients, hyper={}))


def in_package(rule, x0, gradients, options) -> np.ndarray:
    """Step given gradients in the package; return what `in_browser` does."""
    stack, x = Stack(rule, **options), torch.as_tensor(x0)
    s, rows = stack.init(x), []
    for t, g in enumerate(torch.as_tensor(gradients), start=1):
        x, s = stack.step(x, g, s, float(t))
        arrays = [x]
        for z in s:
            if z is not None:
                arrays += z.unbind() if z.dim() > x.dim() else [z.expand(x.shape)]
        rows.append(torch.stack(arrays))
    return torch.stack(rows).numpy()


def labels_of(rule, x0, options):
    """Return the labels that a rule with these options gives to the entries of x, or None."""
    over = Stack(rule, **options).over(None, torch.as_tensor(x0))
    return over.labels.tolist() if isinstance(over, Labels) else None


def problem(steps=500, d=7, seed=0):
    """Return a start and gradients over six decades, a fifth of them zero."""
    rng = np.random.default_rng(seed)
    sizes = 10 ** rng.uniform(-4, 2, (steps, d))
    g = rng.normal(size=(steps, d)) * sizes * (rng.random((steps, d)) > 0.2)
    return 1e-3 * rng.normal(size=d), g  # small, so that a step is no small part of x


def difference(rule, options, steps=500) -> float:
    """Return how far the printed rule and the package part, relative to an array's size so far."""
    x0, g = problem(steps)
    got = in_browser(rule, x0, g, options, labels_of(rule, x0, options))
    want = in_package(rule, x0, g, options)
    size = np.maximum.accumulate(np.abs(want), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        gaps = np.where(got == want, 0, np.abs(got - want) / size)
    return gaps.max().item()
