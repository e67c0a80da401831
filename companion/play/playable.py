"""A playable figure in a notebook or on a page of the book."""

import html
import json
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from companion.kernels.javascript import printed
from companion.play.rules import RULES, rules_js
from companion.plot.theme import LOOKS

STATIC = files("companion.play") / "static"
SHARED = ("core.js", "rules.js", "figure.js", "stage.js")  # `rules.js` is printed
STYLES = "play.css"
ELEMENT = re.compile(r'<play-figure[^>]* name="([\w-]+)"')


def names() -> list[str]:
    """Return the names of the figures that there are.

    Examples
    --------
    >>> "race" in names()
    True
    """
    found = (STATIC / "figures").iterdir()
    return sorted(path.name.removesuffix(".js") for path in found if path.name.endswith(".js"))


def shown(page: str) -> list[str]:
    """Return the names of the figures in the HTML of a page, each once.

    Examples
    --------
    >>> shown(figure("race").element())
    ['race']
    """
    return list(dict.fromkeys(ELEMENT.findall(page)))


def scripts(figures) -> list[str]:
    """Return the names of the scripts that some figures need, in the order of their loading.

    Examples
    --------
    >>> scripts(["race"])
    ['core.js', 'rules.js', 'figure.js', 'stage.js', 'figures/race.js']
    """
    return [*SHARED, *(f"figures/{name}.js" for name in figures)]


@cache
def source(name: str) -> str:
    """Return the text of a script, such as ``"core.js"``, ``"rules.js"`` or ``"figures/race.js"``.

    The rules are printed from `companion.optim`; with them come the colours and dashes that the
    book's figures give them.
    """
    if name != "rules.js":
        return (STATIC / name).read_text(encoding="utf-8")
    looks = {name: {"colour": z[0], "dash": _dash(z[1])} for name, z in LOOKS.items()}
    return f"{rules_js()}Play.looks = {json.dumps(looks)};\n"


def served(name: str) -> str:
    """Return a script as a page loads it: without indentation and the lines that are comments.

    No line is changed besides, so that texts stay as they are.

    Examples
    --------
    >>> len(served("core.js")) < len(source("core.js"))
    True
    """
    lines = (line.strip() for line in source(name).splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))


def _dash(line) -> str:
    """Return a line style of matplotlib as SVG writes it."""
    return "" if line == "-" else " ".join(f"{2.5 * z:g}" for z in line[1])


@dataclass(frozen=True)
class Playable:
    """A playable figure, which notebooks show; made by `figure`.

    Attributes
    ----------
    name : str
    of : str or None
    values, data : dict
    rules : dict
        Label → what the rule prints to.
    """

    name: str
    of: str | None = None
    values: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    rules: dict = field(default_factory=dict)

    def element(self) -> str:
        """Return the element alone, for a page that has the scripts."""
        given = {
            "name": self.name,
            "of": self.of,
            "values": self.values and json.dumps(self.values),
        }
        text = " ".join(f'{key}="{html.escape(z, quote=True)}"' for key, z in given.items() if z)
        # A rule of the page's own waits for the scripts under a name that they look at. Scripts
        # have lines of their own: Markdown would set the quotation marks of what stands in a line.
        rules = "".join(
            f"<script>(globalThis.PlayRules ||= {{}})[{_script(label)}] = {rule};</script>\n"
            for label, rule in self.rules.items()
        )
        data = f'\n<script type="application/json">{_script(self.data)}</script>\n'
        data = data if self.data else ""
        return f"{rules}<play-figure {text}>{data}</play-figure>"

    def standalone(self) -> str:
        """Return HTML that needs nothing from elsewhere: element, scripts and style."""
        text = "".join(f"<script>{served(name)}</script>" for name in scripts([self.name]))
        return f"<style>{source(STYLES)}</style>{text}{self.element()}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        # The pages of the book bring the scripts themselves, and take the Markdown.
        return {
            "text/plain": repr(self),
            "text/markdown": self.element(),
            "text/html": self.standalone(),
        }

    def __repr__(self):
        return f"figure({self.name!r})"


def _script(value) -> str:
    """Return JSON that may stand in a script."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def figure(name: str, of: str | None = None, *, data=None, rules=None, **values) -> Playable:
    """Return a playable figure, to be the last value of a cell.

    It steps by the rules of `companion.optim` themselves, printed as JavaScript, and needs no
    network. In the book it takes the place of the static figure ``of``, which stays where scripts
    do not run; in a notebook it stands below it.

    Parameters
    ----------
    name : str
        One of `names`.
    of : str, optional
        The name of the static figure, such as ``"fig-damping"``.
    data : dict, optional
        What the figure draws besides what it computes: numbers, texts, lists and dictionaries of
        them; no NaN.
    rules : dict, optional
        Label → (class, options): rules of the page's own, which the figure offers beside its own.
    **values
        Settings to start with, by the names of the figure's controls.

    Returns
    -------
    Playable

    Raises
    ------
    ValueError
        An unknown name, NaN in the data, or a rule labelled as one of the book's.
    companion.kernels.build.Untranslatable
        A rule that has no form in JavaScript.

    Examples
    --------
    >>> print(figure("race", of="fig-race", lr=0.1).element())
    <play-figure name="race" of="fig-race" values="{&quot;lr&quot;: 0.1}"></play-figure>
    """
    if name not in names():
        raise ValueError(f"name must be one of {', '.join(names())}, got {name!r}")
    taken = [label for label in rules or {} if label in RULES]
    if taken:
        raise ValueError(f"rules: {taken[0]!r} is a rule of the book; choose another label")
    own = {label: printed(rule, **options) for label, (rule, options) in (rules or {}).items()}
    return Playable(name, of, values, data or {}, own)
