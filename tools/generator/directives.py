"""The plain form of each block: directives, formulas, tables, figures."""

import re
from functools import lru_cache

from .inline import INLINE, Inline
from .source import Block, ChapterError, SourceError, blocks, parser

# fmt: off
ADMONITIONS = (
    "attention", "caution", "danger", "error", "hint", "important", "note", "seealso", "tip",
    "warning",
)
PROOF_KINDS = (
    "algorithm", "assumption", "axiom", "conjecture", "corollary", "criterion", "definition",
    "example", "lemma", "notation", "observation", "property", "proposition", "remark", "theorem",
)
# fmt: on


def quote(title: str, body: str) -> str:
    """A block quote, a formula on one line: Jupyter takes formulas out before it reads the '>'."""
    body = re.sub(
        r"\$\$\n(.*?)\n\s*\$\$",
        lambda m: "$$ " + " ".join(part.strip() for part in m[1].split("\n")) + " $$",
        body,
        flags=re.DOTALL,
    )
    text = "\n\n".join(filter(None, [title, body]))
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def details(summary: str, body: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def cell_of_table(text: str) -> str:
    """A '|' would end the cell: escaped, and spelled out in a formula, where \\| means a norm."""

    def spelled(found: re.Match) -> str:
        if not found["math"]:
            return found[0].replace("|", r"\|") if found["content"] else found[0]
        return found[0].replace(r"\|", r"\Vert ").replace("|", r"\vert ")

    parts, done = [], 0
    for found in INLINE.finditer(text):
        parts += [text[done : found.start()].replace("|", r"\|"), spelled(found)]
        done = found.end()
    return "".join([*parts, text[done:].replace("|", r"\|")])


@lru_cache(4096)  # a chapter is read once for its labels, and again to be written
def read_blocks(lines: tuple[str, ...], line: int) -> tuple[Block, ...]:
    return tuple(blocks(list(lines), line))


class Directives(Inline):
    """Blocks of a chapter in plain Markdown."""

    def blocks(self, lines: list[str], line: int) -> list[Block]:
        try:
            return list(read_blocks(tuple(lines), line))
        except SourceError as error:
            raise ChapterError(f"{self.page}.md:{error}") from None

    def markdown(self, lines: list[str], line: int) -> str:
        return "\n\n".join(filter(None, map(self.block, self.blocks(lines, line))))

    def block(self, block: Block) -> str:
        if block.kind in ("target", "break"):
            return ""
        if block.kind == "literal":
            return "\n".join(block.body)
        if block.kind == "amsmath":
            if not block.name.endswith("*"):
                self.counts["equation"] += 1
            return "\n".join(block.body)
        if block.kind in ("text", "heading"):
            text = self.inline("\n".join(block.body), block.line)
            return re.sub(r"^(\S.*)\n:\s+", r"**\1**: ", text, flags=re.MULTILINE)
        if block.kind == "math":
            return block.place(self.equation(block, block.name))
        text = self.directive(block)
        return block.place(text) if text else ""

    def directive(self, block: Block) -> str:
        name = block.name
        if name in ADMONITIONS:
            label = {"seealso": "See also"}.get(name, name.capitalize())
            # {note} may carry its text on its first line
            first = [block.argument] if block.argument else []
            line = block.body_line - len(first)
            return quote(f"**{label}**", self.markdown([*first, *block.body], line))
        known = {
            "admonition": self.box,
            "bibliography": self.bibliography,
            "code": self.literal,
            "code-block": self.literal,
            "dropdown": lambda block: details(self.title(block), self.body(block)),
            "epigraph": lambda block: quote("", self.body(block)),
            "exercise": self.exercise,
            "exercise-start": self.exercise,
            "figure": self.image,
            "grading": lambda block: "",  # what only a grader reads: chapter.py
            "image": self.image,
            "list-table": self.list_table,
            "margin": self.box,
            "math": lambda block: self.equation(block, block.options.get("label", "")),
            "prf:proof": self.proof,
            "rubric": lambda block: f"**{self.title(block)}**",
            "sidebar": self.box,
            "solution": lambda block: details(self.solution_title(block), self.body(block)),
            "table": lambda block: self.captioned(block, self.body(block)),
        }
        if name.startswith("prf:") and name[4:] in PROOF_KINDS:
            return self.statement(block)
        if name not in known:
            self.fail(block.line, f"no plain form is known for the directive {{{name}}} here")
        return known[name](block)

    def title(self, block: Block) -> str:
        return self.inline(block.argument, block.line)

    def body(self, block: Block) -> str:
        return self.markdown(block.body, block.body_line)

    def box(self, block: Block) -> str:
        title = self.title(block)
        return quote(f"**{title}**" if title else "", self.body(block))

    def literal(self, block: Block) -> str:
        longest = max(map(len, re.findall("`+", "\n".join(block.body))), default=0)
        ticks = "`" * max(3, longest + 1)
        return "\n".join([f"{ticks}{block.argument}", *block.body, ticks])

    def bibliography(self, block: Block) -> str:
        if self.strict and not self.cited:
            self.fail(block.line, "nothing is cited above this bibliography")
        keys = sorted(self.cited, key=lambda k: (self.book.authors(k), k))
        return "\n".join(f"- {self.book.reference(key)}" for key in keys)

    def proof(self, block: Block) -> str:
        if "dropdown" in str(block.options.get("class", "")):
            self.fail(block.line, "a proof does not fold: write a dropdown whose title is Proof")
        title = self.title(block)
        opening = f"*Proof{f' ({title})' if title else ''}.*"
        return f"{opening} {self.body(block)} $\\square$"

    def statement(self, block: Block) -> str:
        return quote(f"**{self.statement_title(block)}.**", self.body(block))

    def statement_title(self, block: Block) -> str:
        title, label = self.title(block), block.options.get("label")
        kind, numbered = block.name[4:].capitalize(), "nonumber" not in block.options
        number = self.numbered(block.name, kind, label, "", block.line, numbered)
        return f"{number} ({title})" if title else number

    def exercise(self, block: Block) -> str:
        return f"#### {self.exercise_title(block)}\n\n{self.body(block)}".rstrip()

    def exercise_title(self, block: Block) -> str:
        title, label = self.title(block), block.options.get("label")
        number = self.numbered("exercise", "Exercise", label, title, block.line)
        return f"{number} ({title})" if title else number

    def solution_title(self, block: Block) -> str:
        label = block.argument
        if label not in self.book.labels:
            self.fail(block.line, f"the solution of an unknown exercise: {label}")
        return f"Solution to {self.book.labels[label][1]}"

    def equation(self, block: Block, label: str) -> str:
        body = "\n".join(block.body).strip("\n")
        if block.kind == "directive" and r"\\" in body and r"\begin" not in body:
            body = f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
        if label:
            number = self.numbered("equation", "", label, "", block.line).strip()
            body = f"{body} \\tag{{{number}}}"
        return f"$$\n{body.strip()}\n$$"

    def image(self, block: Block) -> str:
        path = self.path(block.argument)
        if not (self.book.root / path).is_file():
            self.fail(block.line, f"there is no file {path}")
        url = f"{self.book.url}/raw/{self.book.branch}/{path}"
        text = f"![{block.options.get('alt', '')}]({url})"
        if block.name == "figure":
            body, name = self.body(block), block.options.get("name")
            number = self.numbered("figure", "Fig.", name, body, block.line)
            text += f"\n\n**{number}.** {body}"
        return text

    def captioned(self, block: Block, body: str) -> str:
        title = self.title(block)
        if not title:
            return body
        number = self.numbered("table", "Table", block.options.get("name"), title, block.line)
        return f"**{number}.** {title}\n\n{body}"

    def list_table(self, block: Block) -> str:
        rows: list[list[str]] = []
        for token in parser().parse("\n".join(block.body) + "\n"):
            line = block.body_line + token.map[0] if token.map else block.line
            if token.type == "list_item_open" and token.level == 1:
                rows.append([])
            elif token.type == "list_item_open" and token.level == 3 and rows:
                rows[-1].append("")
            elif token.type == "inline" and rows and rows[-1]:
                text = self.inline(" ".join(token.content.split()), line)
                rows[-1][-1] = " ".join(filter(None, [rows[-1][-1], cell_of_table(text)]))
            elif token.nesting == 0 or (token.map and not re.match("bullet|par", token.type)):
                self.fail(line, "a list table is a list of lists, and a cell holds text only")
        if not rows or len({len(row) for row in rows}) > 1 or not rows[0]:
            self.fail(block.line, "the rows of a list table have equally many cells, one or more")
        if block.options.get("header-rows", "0") == "0":
            rows.insert(0, [""] * len(rows[0]))
        table = ["| " + " | ".join(row) + " |" for row in rows]
        body = "\n".join([table[0], "|---" * len(rows[0]) + "|", *table[1:]])
        return self.captioned(block, body)
