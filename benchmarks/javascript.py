"""Print how the rules in JavaScript compare with the package: differences, sizes, times.

Every optimizer with each structure of `tests.cases`, 500 steps of given gradients of seven entries
over six decades, in double precision. *difference* is the largest one in x and in all arrays of the
state, relative to the largest value that the array has had so far. *bytes* is the printed text.
*ns* is the time of one step of a walker of two entries in V8, the median of six runs.

Ten seconds on one core: ``python -m benchmarks.javascript``.
"""

import statistics

import pandas as pd

from companion.kernels.javascript import Untranslatable, printed
from tests.cases import CASES
from tests.naming import label
from tests.play.engine import STATIC, Engine, difference

STEPS = 20_000
TIME = """(() => {
  const walker = Play.walker(Play.rules.it, { x0: [1, 2], gradient: (x) => x }), t = Date.now();
  while (walker.t < steps) walker.step();
  return Date.now() - t;
})()"""


def nanoseconds(cls, options) -> float:
    """Return the time of a step."""
    engine = Engine({"it": (cls, options)})
    return statistics.median(engine.call(TIME, steps=STEPS) for _ in range(6)) * 1e6 / STEPS


def rows():
    """Yield a row of the table for each rule."""
    for cls, options in CASES:
        row = {"rule": cls.__name__, "options": "defaults" if not options else label(options)}
        try:
            size = len(printed(cls, **options).encode())
        except Untranslatable as reason:
            yield {**row, "difference": f"not printed: {reason}"}
            continue
        yield {
            **row,
            "difference": f"{difference(cls, options):.1e}",
            "bytes": f"{size}",
            "ns": f"{nanoseconds(cls, options):.0f}",
        }


def main():
    print(pd.DataFrame(rows()).fillna("").to_string(index=False))
    print(f"core.js: {(STATIC / 'core.js').stat().st_size} bytes")


if __name__ == "__main__":
    main()
