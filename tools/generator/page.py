"""From the plain Markdown of a notebook to HTML that MathJax and a browser finish, offline."""

import html
import shutil
from importlib.util import find_spec
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

HERE = Path(__file__).resolve().parent
# Of 24 MB what formulas in TeX need; beside that lie other inputs, outputs and speech.
MATHJAX = ("tex-chtml.js", "input/tex", "output/chtml")


def _math(tex: str, options: dict) -> str:
    left, right = (r"\[", r"\]") if options["display_mode"] else (r"\(", r"\)")
    return f"{left}{html.escape(tex.strip())}{right}"


def code(text: str, *_) -> str:
    style = HtmlFormatter(nowrap=True, noclasses=True, style="a11y-high-contrast-light")
    return f'<pre class="code"><code>{highlight(text, PythonLexer(), style)}</code></pre>'


PARSER = MarkdownIt("commonmark", {"html": True, "highlight": code}).enable("table")
PARSER.use(dollarmath_plugin, renderer=_math).use(amsmath_plugin, renderer=html.escape)


def body(text: str) -> str:
    return PARSER.render(text)


def line(text: str) -> str:
    return PARSER.renderInline(text)


def copy_mathjax(folder: Path):
    """Put MathJax there, from the package with which the book is built."""
    source = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    for name in MATHJAX:
        path = source / name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, folder / name, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, folder / name)
