"""Turn each chapter (MyST Markdown) into the notebook beside it (plain Markdown, no outputs).

``python tools/notebooks.py`` writes the notebooks; with ``--check`` it lists those that are stale
and exits 1. A notebook is a function of the chapters, the bibliography, _toc.yml and _config.yml
alone, so that the same sources give the same bytes. Colab and Jupyter know neither directives nor
roles: each is turned into plain Markdown here, numbered as in the built book, and one that is not
known is an error.
"""

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml
from pybtex.database import parse_file

ROOT = Path(__file__).resolve().parent.parent

FENCE = re.compile(r"^(\s*)(`{3,}|~{3,}|:{3,})\s*(?:\{([\w:+-]+)\})?\s*(.*?)\s*$")
CODE_OR_ROLE = re.compile(
    r"(?:\{([A-Za-z][\w:+-]*)\})?(?<!`)(`+)(?!`)(.+?)(?<!`)\2(?!`)", re.DOTALL
)
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
VERBATIM = (*ADMONITIONS, "math", "list-table", "code-block", "code")  # read their body themselves
WHERE = ("journal", "booktitle", "howpublished", "institution", "publisher")
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}

BOOTSTRAP = """\
# On Colab: install the package that this notebook uses. Elsewhere it is there, and nothing happens.
try:
    import google.colab
except ImportError:
    pass
else:
    %pip install --quiet --no-deps "{package} @ git+{url}@{branch}"
"""


class ChapterError(Exception):
    """Something in a chapter that has no plain form here; names the file and the line."""


@dataclass
class Token:
    """A piece of a chapter: text, heading, literal, math, target or directive."""

    kind: str
    line: int
    body: list[str] = field(default_factory=list)
    name: str = ""  # of a directive, target or equation
    argument: str = ""
    indent: str = ""
    options: dict = field(default_factory=dict)
    body_line: int = 0


def tokens(lines: list[str], first: int):
    """Split ``lines``, the first of which has the number ``first``, into tokens."""
    i = 0
    while i < len(lines):
        start, line = i, lines[i]
        fence = FENCE.match(line)
        i += 1
        if not line.strip() or line.startswith("%") or re.match(r"\+\+\+(\s|$)", line):
            continue
        if fence and (fence[3] or fence[2][0] != ":"):
            closing = re.compile(rf"^\s*{re.escape(fence[2][0])}{{{len(fence[2])},}}\s*$")
            while i < len(lines) and not closing.match(lines[i]):
                i += 1
            if i == len(lines):
                raise ChapterError(f"{first + start}: this fence is never closed: {line.strip()}")
            i += 1
            if fence[3]:
                body = [text.removeprefix(fence[1]) for text in lines[start + 1 : i - 1]]
                options, used = read_options(body)
                yield Token(
                    "directive",
                    first + start,
                    body[used:],
                    fence[3],
                    fence[4],
                    fence[1],
                    options,
                    first + start + 1 + used,
                )
            else:
                yield Token("literal", first + start, lines[start:i])
        elif target := re.match(r"^\(([^()]+)\)=\s*$", line):
            yield Token("target", first + start, name=target[1])
        elif re.match(r"^#{1,6} ", line):
            yield Token("heading", first + start, [line])
        elif line.lstrip().startswith("$$"):
            end = re.compile(r"\$\$\s*(?:\(([\w:.-]+)\))?\s*$")
            while not (found := end.search(lines[i - 1].strip(), 2 if i - 1 == start else 0)):
                if i == len(lines):
                    raise ChapterError(f"{first + start}: this formula is never closed")
                i += 1
            text = "\n".join(lines[start:i]).strip()
            yield Token(
                "math",
                first + start,
                text[2 : text.rindex("$$")].strip("\n").split("\n"),
                found[1] or "",
                indent=re.match(r"\s*", line)[0],
            )
        elif environment := re.match(r"^\\begin\{(\w+\*?)\}", line):
            while rf"\end{{{environment[1]}}}" not in lines[i - 1]:
                if i == len(lines):
                    raise ChapterError(f"{first + start}: this formula is never closed")
                i += 1
            yield Token("amsmath", first + start, lines[start:i], environment[1])
        else:
            while i < len(lines) and lines[i].strip() and not starts_token(lines[i]):
                i += 1
            yield Token("text", first + start, lines[start:i])


def starts_token(line: str) -> bool:
    fence = FENCE.match(line)
    return bool(
        (fence and (fence[3] or fence[2][0] != ":"))
        or re.match(r"^(%|\([^()]+\)=\s*$|#{1,6} |\\begin\{|\s*\$\$)", line)
    )


def read_options(body: list[str]) -> tuple[dict, int]:
    """Options of a directive, and how many lines of its body they take."""
    if body and body[0].strip() == "---":
        end = body.index("---", 1)
        return yaml.safe_load("\n".join(body[1:end])) or {}, end + 1
    used, options = 0, {}
    while used < len(body) and (found := re.match(r"^:([\w-]+):\s*(.*)$", body[used])):
        value = found[2].strip()
        options[found[1]] = yaml.safe_load(value) if value.startswith("[") else value
        used += 1
    return options, used


class Book:
    """The pages of _toc.yml, their labels, and what a notebook takes from _config.yml."""

    def __init__(self, root: Path = ROOT):
        self.root = root
        config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
        self.url, self.branch = config["repository"]["url"], config["repository"]["branch"]
        project = (root / "pyproject.toml").read_text(encoding="utf-8")
        self.package = re.search(r'^name = "(.+)"', project, re.MULTILINE)[1]
        self.entries = parse_file(root / config["bibtex_bibfiles"][0], "bibtex").entries
        self.labels: dict[str, tuple[str, str, str]] = {}  # label: (kind, text, page)
        self.titles: dict[str, str] = {}

        toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
        self.numbers: dict[str, int] = {}
        pages = [toc["root"]]
        for part in toc["parts"]:
            for chapter in part["chapters"]:
                pages.append(chapter["file"])
                if part.get("numbered"):
                    self.numbers[chapter["file"]] = len(self.numbers) + 1
        self.sources = {
            page: (root / f"{page}.md").read_text(encoding="utf-8")
            for page in pages
            if (root / f"{page}.md").exists()
        }
        for page, source in self.sources.items():
            self._read_headings(page, source)
        self.chapters = [page for page, text in self.sources.items() if "{code-cell}" in text]
        for page in self.chapters:  # the first pass collects the labels that the second one names
            Chapter(self, page, strict=False).notebook()

    def _read_headings(self, page: str, source: str):
        lines = source.split("\n")
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            target = re.match(r"^\(([^()]+)\)=\s*$", line)
            if target and following.startswith("#"):
                self.labels[target[1]] = ("section", following.lstrip("# "), page)
            if line.startswith("# ") and page not in self.titles:
                self.titles[page] = line[2:]

    def link(self, page: str) -> str:
        """Address of a page for a reader of a notebook, wherever the notebook is open."""
        if page not in self.chapters:
            return f"{self.url}/blob/{self.branch}/{page}.md"
        repository = self.url.removeprefix("https://github.com/")
        return (
            f"https://colab.research.google.com/github/{repository}/blob/{self.branch}/{page}.ipynb"
        )

    def notebooks(self) -> dict[Path, str]:
        """Path and text of every notebook."""
        return {
            self.root / f"{page}.ipynb": Chapter(self, page).notebook() for page in self.chapters
        }

    def authors(self, key: str) -> list[str]:
        return [
            "".join(str(name) for name in person.rich_last_names)
            for person in self.entries[key].persons["author"]
        ]

    def address(self, key: str) -> str:
        fields = self.entries[key].fields
        return f"https://doi.org/{fields['doi']}" if "doi" in fields else fields.get("url", "")

    def reference(self, key: str) -> str:
        """An item of a list of references."""
        fields, authors = self.entries[key].fields, self.authors(key)
        names = ", ".join(authors[:-1]) + " and " + authors[-1] if authors[1:] else authors[0]
        parts = re.split(r"(\$[^$]*\$)", fields["title"])
        title = "".join(p if p.startswith("$") else re.sub("[{}]", "", p) for p in parts)
        venue = next((fields[k] for k in WHERE if k in fields), "")
        text = f"{names} ({fields['year']}). {title}. *{venue}*."
        return f"{text} <{self.address(key)}>" if self.address(key) else text


class Chapter:
    """One chapter on its way from MyST to a notebook."""

    def __init__(self, book: Book, page: str, strict: bool = True):
        self.book, self.page, self.strict = book, page, strict
        self.cells: list[dict] = []
        self.text: list[str] = []  # Markdown blocks that wait for their cell
        self.counts: Counter = Counter()
        self.cited: list[str] = []
        self.solution = ""  # the title of the solution that we are inside of
        self.solution_line = 0
        self.substitutions: dict[str, str] = {}

    def fail(self, line: int, message: str):
        raise ChapterError(f"{self.page}.md:{line}: {message}")

    def notebook(self) -> str:
        lines = self.book.sources[self.page].split("\n")
        first = 1
        header: dict = {}
        if lines[0] == "---":
            end = lines.index("---", 1)
            header = yaml.safe_load("\n".join(lines[1:end])) or {}
            lines, first = lines[end + 1 :], end + 2
        if "jupytext" not in header or "kernelspec" not in header:
            self.fail(1, "a chapter with code cells needs jupytext and kernelspec in its header")
        self.substitutions = header.get("myst", {}).get("substitutions", {})
        try:
            found = list(tokens(lines, first))
        except ChapterError as error:
            raise ChapterError(f"{self.page}.md:{error}") from None
        for token in found:
            self.top(token)
        self.flush()
        if self.solution:
            self.fail(self.solution_line, "this solution is never ended")
        return self.dump()

    def top(self, token: Token):
        """Code cells and gates stand at the top level only; the rest is text."""
        if token.kind == "directive" and token.name == "code-cell":
            self.code(token)
        elif token.kind == "directive" and token.name == "solution-start":
            self.flush()
            self.solution, self.solution_line = self.solution_title(token), token.line
        elif token.kind == "directive" and token.name == "solution-end":
            if not self.solution:
                self.fail(token.line, "no solution is open here")
            self.flush()
            self.solution = ""
        elif token.kind == "directive" and token.name == "exercise-end":
            self.flush()
        else:
            if token.kind == "heading" and self.text:
                self.flush()  # a cell a section, so that an outline can fold it
            if text := self.block(token):
                self.text.append(text)

    def flush(self):
        if not self.text:
            return
        text = "\n\n".join(self.text)
        if self.solution:
            text = details(self.solution, text)
        self.add("markdown", text, {})
        self.text = []

    def add(self, kind: str, source: str, metadata: dict):
        if kind == "code" and not any(c["cell_type"] == "code" for c in self.cells):
            boot = BOOTSTRAP.format(
                package=self.book.package, url=self.book.url, branch=self.book.branch
            )
            cell = {
                "cell_type": "code",
                "source": boot.strip(),
                "metadata": collapsed(["remove-cell"]),
            }
            self.cells.insert(min(1, len(self.cells)), cell)
        self.cells.append({"cell_type": kind, "source": source, "metadata": metadata})

    def code(self, token: Token):
        if self.solution and not self.text and self.cells[-1]["cell_type"] == "code":
            self.text = ["The code stands in the folded cell below."]
        self.flush()
        tags = token.options.get("tags", [])
        tags = tags.split() if isinstance(tags, str) else list(tags)
        if self.solution and not HIDDEN & set(tags):
            tags.append("hide-cell")
        self.add("code", "\n".join(token.body).strip("\n"), collapsed(tags))
        figure = token.options.get("mystnb", {}).get("figure", {})
        if caption := figure.get("caption"):
            title = self.numbered("figure", "Fig.", figure.get("name"), caption, token.line)
            solution, self.solution = self.solution, ""
            self.text = [f"**{title}.** {self.inline(caption, token.line)}"]
            self.flush()
            self.solution = solution

    def markdown(self, lines: list[str], line: int) -> str:
        try:
            found = list(tokens(lines, line))
        except ChapterError as error:
            raise ChapterError(f"{self.page}.md:{error}") from None
        return "\n\n".join(filter(None, map(self.block, found)))

    def block(self, token: Token) -> str:
        if token.kind == "target":
            return ""
        if token.kind == "literal":
            return "\n".join(token.body)
        if token.kind == "math":
            return self.equation(token, token.name)
        if token.kind == "amsmath":
            if not token.name.endswith("*"):
                self.counts["equation"] += 1
            return "\n".join(token.body)
        if token.kind in ("text", "heading"):
            return self.paragraph(token)
        text = self.directive(token)
        return "\n".join(token.indent + part if part else "" for part in text.split("\n"))

    def paragraph(self, token: Token) -> str:
        text = self.inline("\n".join(token.body), token.line)
        if "$$" in re.sub(r"`[^`]*`", "", text):
            self.fail(token.line, "display math must start and end on lines of its own")
        text = re.sub(r"\[\^([\w-]+)\]:", r"<sup>[\1]</sup>", text)
        text = re.sub(r"\[\^([\w-]+)\]", r"<sup>[\1]</sup>", text)
        return re.sub(r"^(\S.*)\n:\s+", r"**\1**: ", text, flags=re.MULTILINE)

    def directive(self, token: Token) -> str:
        name, title, line = token.name, self.inline(token.argument, token.line), token.line
        if name in ADMONITIONS:
            label = {"seealso": "See also"}.get(name, name.capitalize())
            # {note} may carry its text on its first line
            body = [token.argument, *token.body] if token.argument else token.body
            return quote(
                f"**{label}**", self.markdown(body, token.body_line - bool(token.argument))
            )
        body = "" if name in VERBATIM else self.markdown(token.body, token.body_line)
        if name == "admonition":
            return quote(f"**{title}**", body)
        if name in ("margin", "sidebar"):
            return quote(f"**{title}**" if title else "", body)
        if name == "dropdown":
            return details(title, body)
        if name == "epigraph":
            return quote("", body)
        if name == "rubric":
            return f"**{title}**"
        if name == "math":
            return self.equation(token, token.options.get("label", ""))
        if name in ("figure", "image"):
            return self.image(token, body)
        if name in ("table", "list-table"):
            return self.table(token, title, body)
        if name in ("code-block", "code"):
            return "\n".join([f"```{token.argument}", *token.body, "```"])
        if name == "bibliography":
            if self.strict and not self.cited:
                self.fail(line, "nothing is cited above this bibliography")
            keys = sorted(self.cited, key=lambda k: (self.book.authors(k), k))
            return "\n".join(f"- {self.book.reference(key)}" for key in keys)
        if name == "prf:proof":
            if "dropdown" in token.options.get("class", ""):
                self.fail(line, "a proof does not fold: write a dropdown whose title is Proof")
            return f"*Proof.* {body} $\\square$"
        if name.startswith("prf:") and name[4:] in PROOF_KINDS:
            label = token.options.get("label")
            kind = name[4:].capitalize()
            number = self.numbered(name, kind, label, "", line, "nonumber" not in token.options)
            return quote(f"**{number}{f' ({title})' if title else ''}.**", body)
        if name in ("exercise", "exercise-start"):
            label = token.options.get("label")
            number = self.numbered("exercise", "Exercise", label, title, line)
            return f"#### {number}{f' ({title})' if title else ''}\n\n{body}".rstrip()
        if name == "solution":
            return details(self.solution_title(token), body)
        return self.fail(line, f"no plain form is known for the directive {{{name}}}")

    def solution_title(self, token: Token) -> str:
        label = token.argument
        if label not in self.book.labels:
            self.fail(token.line, f"the solution of an unknown exercise: {label}")
        return f"Solution to {self.book.labels[label][1]}"

    def numbered(self, kind, word, label, title, line, number=True) -> str:
        """Number what carries a label, and remember it: 'Theorem 2.1'."""
        text = word
        # Sphinx numbers a figure or a table only if it has a name.
        if number and (label or kind not in ("figure", "table")):
            self.counts[kind] += 1
            chapter = self.book.numbers.get(self.page)
            count = self.counts[kind]
            text = f"{word} {chapter}.{count}" if chapter else f"{word} {count}"
        if label:
            if self.strict is False and label in self.book.labels:
                self.fail(line, f"the label {label} stands elsewhere too")
            self.book.labels[label] = (kind, text, self.page)
        return text

    def equation(self, token: Token, label: str) -> str:
        body = "\n".join(token.body).strip("\n")
        if token.kind == "directive" and r"\\" in body and r"\begin" not in body:
            body = f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
        if label:
            number = self.numbered("equation", "", label, "", token.line).strip()
            body = f"{body} \\tag{{{number}}}"
        text = f"$$\n{body.strip()}\n$$"
        # A directive's indent is put back by block().
        indent = token.indent if token.kind == "math" else ""
        return "\n".join(indent + part for part in text.split("\n"))

    def image(self, token: Token, body: str) -> str:
        folder = PurePosixPath(self.page).parent
        parts: list[str] = []
        for part in (folder / token.argument).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        if not (self.book.root / "/".join(parts)).exists():
            self.fail(token.line, f"there is no file {'/'.join(parts)}")
        url = f"{self.book.url}/raw/{self.book.branch}/{'/'.join(parts)}"
        text = f"![{token.options.get('alt', '')}]({url})"
        if token.name == "figure":
            name = token.options.get("name")
            number = self.numbered("figure", "Fig.", name, body, token.line)
            text += f"\n\n**{number}.** {body}"
        return text

    def table(self, token: Token, title: str, body: str) -> str:
        if token.name == "list-table":
            text = "\n".join(token.body)
            rows = [
                re.split(r"^\s+- ?", row, flags=re.MULTILINE)
                for row in re.split(r"^\* - ?", text, flags=re.MULTILINE)[1:]
            ]
            rows = [[self.inline(" ".join(c.split()), token.line) for c in row] for row in rows]
            table = ["| " + " | ".join(row) + " |" for row in rows]
            body = "\n".join([table[0], "|---" * len(rows[0]) + "|", *table[1:]])
        if not title:
            return body
        number = self.numbered("table", "Table", token.options.get("name"), title, token.line)
        return f"**{number}.** {title}\n\n{body}"

    def inline(self, text: str, line: int) -> str:
        for name, value in self.substitutions.items():
            text = re.sub(r"\{\{\s*" + re.escape(name) + r"\s*\}\}", str(value), text)
        if unknown := re.search(r"\{\{\s*(\w+)\s*\}\}", re.sub(r"`[^`]*`|\$[^$]*\$", "", text)):
            self.fail(line, f"no substitution is called {unknown[1]}")

        def replace(found: re.Match) -> str:
            role, _, content = found.groups()
            return self.role(role, content, line) if role else found[0]

        text = CODE_OR_ROLE.sub(replace, text)
        return re.sub(r"\]\(([\w./-]+)\.md\)", lambda m: f"]({self.doc(m[1], line)[1]})", text)

    def role(self, role: str, content: str, line: int) -> str:
        content = " ".join(content.split())
        titled = re.fullmatch(r"(.*?)\s*<([^<>]+)>", content)
        text, target = (titled[1], titled[2]) if titled else ("", content)
        if role in ("cite:t", "cite:p", "cite"):
            return self.cite(role, [key.strip() for key in content.split(",")], line)
        if role == "math":
            return f"${content}$"
        if role == "code":
            return f"`{content}`"
        if role == "abbr":
            return content
        if role in ("sub", "sup", "kbd"):
            return f"<{role}>{content}</{role}>"
        if role == "doc":
            title, url = self.doc(target, line)
            return f"[{text or title}]({url})"
        if role in ("eq", "numref", "ref", "prf:ref"):
            return self.cross_reference(role, text, target, line)
        return self.fail(line, f"no plain form is known for the role {{{role}}}")

    def cross_reference(self, role: str, text: str, label: str, line: int) -> str:
        if label not in self.book.labels:
            if self.strict:
                self.fail(line, f"{{{role}}} names an unknown label: {label}")
            return ""
        kind, shown, page = self.book.labels[label]
        if kind == "equation":
            shown = f"({shown.strip()})"
        if text and "%s" in text:
            shown = text.replace("%s", shown.split()[-1])
        elif text:
            shown = text
        return shown if page == self.page else f"[{shown}]({self.book.link(page)})"

    def doc(self, target: str, line: int) -> tuple[str, str]:
        parts: list[str] = []
        start = PurePosixPath("/" if target.startswith("/") else PurePosixPath(self.page).parent)
        for part in (start / target.lstrip("/")).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        page = "/".join(part for part in parts if part != "/").removesuffix(".md")
        if page not in self.book.titles:
            if self.strict:
                self.fail(line, f"there is no page {page}")
            return "", ""
        return self.book.titles[page], self.book.link(page)

    def cite(self, role: str, keys: list[str], line: int) -> str:
        shown = []
        for key in keys:
            if key not in self.book.entries:
                self.fail(line, f"references.bib has no {key}")
            if key not in self.cited:
                self.cited.append(key)
            names, year = self.book.authors(key), self.book.entries[key].fields["year"]
            who = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
            text = f"{who} ({year})" if role == "cite:t" else f"{who}, {year}"
            url = self.book.address(key)
            shown.append(f"[{text}]({url})" if url else text)
        return ", ".join(shown) if role == "cite:t" else f"({'; '.join(shown)})"

    def dump(self) -> str:
        seen: Counter = Counter()
        cells = []
        for cell in self.cells:
            key = cell["cell_type"] + cell["source"]
            seen[key] += 1  # equal cells get ids of their own
            identity = hashlib.sha256(f"{seen[key]}{key}".encode()).hexdigest()[:12]
            lines = cell["source"].splitlines(keepends=True)
            cells.append({**cell, "id": identity, "source": lines})
            if cell["cell_type"] == "code":
                cells[-1] |= {"execution_count": None, "outputs": []}
        notebook = {
            "cells": cells,
            "metadata": {
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


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


def collapsed(tags: list[str]) -> dict:
    """Metadata of a cell; Jupyter folds by source_hidden, Colab by cellView."""
    metadata: dict = {"tags": tags} if tags else {}
    if HIDDEN & set(tags):
        metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
    return metadata


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the notebook of each chapter.")
    parser.add_argument("--check", action="store_true", help="list stale notebooks, write nothing")
    check = parser.parse_args(arguments).check
    try:
        notebooks = Book().notebooks()
    except ChapterError as error:
        sys.exit(str(error))
    stale = [
        path
        for path, text in notebooks.items()
        if not path.exists() or path.read_bytes() != text.encode()
    ]
    for path in stale:
        print(f"{'stale' if check else 'wrote'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_bytes(notebooks[path].encode())
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
