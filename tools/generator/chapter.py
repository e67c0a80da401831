"""One chapter on its way from MyST to the cells of a notebook."""

import hashlib
import json
from collections import Counter

import yaml

from .directives import Directives, details
from .needs import needed
from .source import Block, ChapterError

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
MORE = "    %pip install --quiet {requirements}\n"


def collapsed(tags: list[str]) -> dict:
    """Metadata of a cell; Jupyter folds by source_hidden, Colab by cellView."""
    metadata: dict = {"tags": tags} if tags else {}
    if HIDDEN & set(tags):
        metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
    return metadata


class Chapter(Directives):
    """Collects the cells of a notebook."""

    def __init__(self, book, page: str, strict: bool = True, solutions: bool = False):
        super().__init__(book, page, strict)
        self.solutions = solutions  # of a problem set: for instructors only
        self.stub = None  # the last cell that students fill in
        self.cells: list[dict] = []
        self.text: list[str] = []  # Markdown blocks that wait for their cell
        self.solution = ""  # the title of the solution that we are inside of
        self.solution_line = 0

    def header(self) -> tuple[dict, list[str], int]:
        """What stands between the first two lines of ---, and the lines from some number on."""
        lines = self.book.sources[self.page].split("\n")
        if lines[0] != "---":
            return {}, lines, 1
        if "---" not in lines[1:]:
            self.fail(1, "this header is never closed by ---")
        end = lines.index("---", 1)
        try:
            header = yaml.safe_load("\n".join(lines[1:end])) or {}
        except yaml.YAMLError as error:
            self.fail(1, f"this header cannot be read: {' '.join(str(error).split())}")
        if not isinstance(header, dict):
            self.fail(1, f"a header has names with values, not {header!r}")
        return header, lines[end + 1 :], end + 2

    def parsed(self) -> list[Block]:
        return self.blocks(*self.header()[1:])

    def notebook(self) -> str:
        self.collect()
        self.bootstrap()
        return self.dump()

    def collect(self):
        """Read the chapter: its cells, and the labels that others may name."""
        self.walk()
        self.flush()
        if self.solution:
            self.fail(self.solution_line, "this solution is never ended")

    def bootstrap(self):
        """Fill in the first code cell, which installs what the others import."""
        book, codes = self.book, [c for c in self.cells if c["cell_type"] == "code"]
        if not codes:
            return
        text = BOOTSTRAP.format(package=book.package, url=book.url, branch=book.branch)
        found = needed([cell["source"] for cell in codes[1:]], book.root, book.extras)
        if found:
            text += MORE.format(requirements=" ".join(f'"{each}"' for each in found))
        codes[0]["source"] = text.strip()

    def walk(self):
        header = self.header()[0]
        if "jupytext" not in header or "kernelspec" not in header:
            self.fail(1, "a chapter with code cells needs jupytext and kernelspec in its header")
        self.substitutions = header.get("myst", {}).get("substitutions", {})
        for block in self.parsed():
            try:
                self.top(block)
            except ChapterError:
                raise
            except Exception as error:
                raise ChapterError(f"{self.page}.md:{block.line}: {error!r}") from error

    def top(self, block: Block):
        """Code cells and gates stand at the top level only; the rest is text."""
        name = block.name if block.kind == "directive" and not block.prefix else ""
        if name == "code-cell" and block.fence == "fence":
            self.code(block)
        elif name == "solution-start":
            if self.solution:
                self.fail(block.line, f"line {self.solution_line} has begun a solution already")
            self.flush()
            self.solution, self.solution_line = self.solution_title(block), block.line
        elif name == "solution-end":
            if not self.solution:
                self.fail(block.line, "no solution is open here")
            self.flush()
            self.solution = ""
        elif name == "exercise-end" or block.kind == "break":
            self.flush()
        elif name == "grading" and self.solutions:
            self.grading(block)
        else:
            if block.kind == "heading" and self.text:
                self.flush()  # a cell a section, so that an outline can fold it
            if text := self.block(block):
                self.text.append(text)

    def grading(self, block: Block):
        """Put the solution where the stub was, and below it the sample answer and the rubric."""
        parts = self.blocks(block.body, block.body_line)
        code = [b.body[1:-1] for b in parts if b.kind == "literal" and "solution" in b.body[0]]
        if code and self.stub:
            self.stub["source"] = "\n\n".join("\n".join(lines) for lines in code).strip("\n")
        text = [self.block(b) for b in parts if b.kind != "literal"]
        rubrics = [b.body[1:-1] for b in parts if b.kind == "literal" and "rubric" in b.body[0]]
        for item in yaml.safe_load("\n".join(line for lines in rubrics for line in lines)) or []:
            text.append(f"- {item['points']} points: {item['item']}")
        if text:
            self.flush()
            self.text = ["**Solution**", *text]
            self.flush()

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
            cell = {"cell_type": "code", "source": "", "metadata": collapsed(["remove-cell"])}
            self.cells.insert(min(1, len(self.cells)), cell)
        self.cells.append({"cell_type": kind, "source": source, "metadata": metadata})

    def code(self, block: Block):
        if self.solution and not self.text and self.cells[-1]["cell_type"] == "code":
            self.text = ["The code stands in the folded cell below."]
        self.flush()
        tags = block.options.get("tags", [])
        tags = tags.split() if isinstance(tags, str) else list(tags)
        if self.solution and not HIDDEN & set(tags):
            tags.append("hide-cell")
        self.add("code", "\n".join(block.body).strip("\n"), collapsed(tags))
        if "stub" in tags:
            self.stub = self.cells[-1]
        figure = block.options.get("mystnb", {}).get("figure", {})
        if caption := figure.get("caption"):
            title = self.numbered("figure", "Fig.", figure.get("name"), caption, block.line)
            self.add("markdown", f"**{title}.** {self.inline(caption, block.line)}", {})

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
