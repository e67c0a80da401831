"""The rule of a reader's own that the book shows, as its reader would run it."""

import ast
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "book" / "how_to_use.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


def printed_example():
    """Return the class that the page defines, and the figure that it shows."""
    (code,) = (z for z in BLOCK.findall(PAGE.read_text("utf-8")) if "play.figure" in z)
    *before, last = ast.parse(code).body
    names = {}
    exec(compile(ast.Module(before, []), str(PAGE), "exec"), names)
    return names["Between"], eval(compile(ast.Expression(last.value), str(PAGE), "eval"), names)
