"""The step of a traced rule as lines of JavaScript; `companion.kernels.javascript` prints them."""

import math
import re
from collections import Counter
from itertools import chain, count

from torch import fx

from companion.kernels.printed import ARITHMETIC, operation
from companion.kernels.trace import Trace

# Operations of a rule as JavaScript expressions; `Play` holds the helpers (play/static/core.js).
EXPRESSIONS = ARITHMETIC | {
    "pow": "Math.pow({0}, {1})",
    "mod": "({0} - {1} * Math.floor({0} / {1}))",  # the sign of the divisor, as in Python
    "floordiv": "Math.floor({0} / {1})",
    "eq": "({0} === {1})",
    "ne": "({0} !== {1})",
    "where": "({0} ? {1} : {2})",
    "lerp": "Play.lerp({0}, {1}, {2})",
    "maximum": "Math.max({0}, {1})",  # NaN wins, as in torch
    "minimum": "Math.min({0}, {1})",
    "sqrt": "Math.sqrt({0})",
    "abs": "Math.abs({0})",
    "exp": "Math.exp({0})",
    "log": "Math.log({0})",
    "tanh": "Math.tanh({0})",
    "sign": "(({0} > 0) - ({0} < 0))",  # NaN has none, as in torch
    "clamp": "Play.clamp({0}, {1}, {2})",
}
# Words of JavaScript that a field or an option may have for its name, and names that a step uses.
RESERVED = """
    arguments await break case catch class const continue debugger default delete do else enum eval
    export extends false finally for function if implements import in instanceof interface let new
    null package private protected public return static super switch this throw true try typeof var
    void while with yield undefined NaN Infinity Math Play Float64Array x g s t h over j
"""
INDENT = "  "


class Script:
    """The body of a step: numbers first, then a loop a reduction, then the loop that writes.

    Parameters
    ----------
    trace : Trace
        Of a rule whose fields are all of the shape of x, or queues.

    Raises
    ------
    Untranslatable
        An operation that has no form here.

    Attributes
    ----------
    lines : list of str
    read : list of str
        Names of the numbers that it reads.
    """

    def __init__(self, trace: Trace):
        self.trace, self.taken = trace, {*RESERVED.split()}
        # Where an entry of an input, or of what a reduction made, is found: node → array.
        self.arrays = dict(zip(trace.inputs, _arrays(trace.fields), strict=True))
        own = [z for z in trace.inputs if self.arrays[z] != "g"]
        pairs = zip(own, trace.outputs, strict=True)
        self.stores = [(z, after) for z, after in pairs if after is not z]
        loops = self._loops()
        used = {node for nodes, _ in loops for node in nodes}
        self.names = {}  # of what all loops see: the numbers
        self.lines = [*self._scalars(used), *self._hoisted(used)]
        for nodes, reduction in loops:
            self.lines += self._reduction(nodes, *reduction) if reduction else self._last(nodes)

    def _loops(self) -> list:
        """Return the nodes of each loop and its reduction; the last loop has none."""
        trace, needed, found = self.trace, {*self.trace.needed}, []
        for reduction in reversed(trace.reductions):
            _, argument, result = reduction
            if result in needed:
                needed.update(trace.ancestors([argument]))
                found.insert(0, ([argument], reduction))
        return [
            ([n for n in trace.ancestors(wanted) if trace.kinds[n] == "element"], reduction)
            for wanted, reduction in (*found, ([after for _, after in self.stores], None))
        ]

    def _scalars(self, used: set) -> list[str]:
        """Name the numbers; those that a loop reads are computed before it."""
        trace = self.trace
        read = {a for node in used for a in node.all_input_nodes}
        read.update(after for _, after in self.stores)
        read = {n for n in read if trace.kinds[n] == "scalar"}
        nodes = [n for n in trace.ancestors(read) if trace.kinds[n] == "scalar"]
        numbers = {n: node for n, node in trace.numbers.items() if n != "t" and node in nodes}
        self.names, self.read, hoisted = {trace.numbers["t"]: "t"}, list(numbers), []
        for name, node in numbers.items():
            self.names[node] = self._fresh(name) if node in read else f"h.{name}"
            if node in read:
                hoisted.append(f"{self.names[node]} = h.{name}")
        return _constants(hoisted) + self._computed(nodes, self.names, read, "c")

    def _hoisted(self, used: set) -> list[str]:
        """Name the arrays of the state."""
        hoisted, written = [], {z for z, _ in self.stores}
        for node, text in self.arrays.items():
            if text.startswith("s.") and (node in used or node in written):
                self.arrays[node] = self._fresh(text[2:].rstrip("]").replace("[", ""))
                hoisted.append(f"{self.arrays[node]} = {text}")
        return _constants(hoisted)

    def _reduction(self, nodes, word, argument, result) -> list[str]:
        array = self.arrays[result] = self._fresh("z")
        names, lines = self._loop(nodes, {argument})
        value = names[argument]
        value = f"{value} * {value}" if word == "mean_square" else value
        return [
            f"const {array} = new Float64Array(x.length);",
            *lines,
            f"{INDENT}{array}[j] = {value};",
            "}",
            f"over.{word.partition('_')[0]}({array});",
        ]

    def _last(self, nodes) -> list[str]:
        names, lines = self._loop(nodes, set())
        for z, after in self.stores:
            lines.append(f"{INDENT}{self.arrays[z]}[j] = {_bare(names[after])};")
        return [*lines, "}"]

    def _loop(self, nodes, named: set) -> tuple[dict, list[str]]:
        """Return the names of a loop's nodes and its lines, save what it stores."""
        names, loads = dict(self.names), []
        for node in nodes:
            if node in self.arrays:
                names[node] = self._fresh(f"{self.arrays[node]}j")
                loads.append(f"{names[node]} = {self.arrays[node]}[j]")
        lines = _constants(loads) + self._computed(nodes, names, named, "e")
        return names, ["for (let j = 0; j < x.length; ++j) {", *(f"{INDENT}{z}" for z in lines)]

    def _computed(self, nodes, names: dict, named: set, wish: str) -> list[str]:
        """Name nodes that are read more than once or wanted by name; put others where read."""
        uses, lines = Counter(after for _, after in self.stores), []
        for node in nodes:
            if node not in names:
                form, args = operation(node, EXPRESSIONS, "JavaScript")
                for i, a in enumerate(args):
                    uses[a] += form.count(f"{{{i}}}") * isinstance(a, fx.Node)
        for node in nodes:
            if node in names:
                continue
            form, args = operation(node, EXPRESSIONS, "JavaScript")
            text = form.format(
                *(names[a] if isinstance(a, fx.Node) else number_text(a) for a in args)
            )
            if node in named or uses[node] > 1:
                names[node] = self._fresh(wish)
                lines.append(f"const {names[node]} = {_bare(text)};")
            else:
                names[node] = text
        return lines

    def _fresh(self, wish: str) -> str:
        """Return a name that nothing has yet."""
        free = (f"{wish}{i or ''}" for i in count())
        name = next(name for name in free if name not in self.taken)
        self.taken.add(name)
        return name


def _arrays(fields: dict):
    """Return where x, g and the arrays of the state lie, in the order of a trace's inputs."""
    state = (
        [f"s.{field}[{i}]" for i in range(kind)] if isinstance(kind, int) else [f"s.{field}"]
        for field, kind in fields.items()
        if kind
    )
    return ["x", "g", *chain.from_iterable(state)]


def _constants(assigned: list[str]) -> list[str]:
    return [f"const {', '.join(assigned)};"] if assigned else []


def number_text(value) -> str:
    """Return a number as JavaScript writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not math.isfinite(value):
        return str(float(value)).replace("inf", "Infinity").replace("nan", "NaN")
    text = re.sub(r"e([+-])0?", r"e\1", repr(value)).replace("e+", "e").removesuffix(".0")
    return f"({text})" if value < 0 else text


def _bare(text: str) -> str:
    """Return an expression without parentheses around the whole of it."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[1:-1] if i == len(text) - 1 and text.startswith("(") else text
    return text
