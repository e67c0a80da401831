"""From a chapter and its executed outputs to the slides of a lecture.

What goes on a slide is a rule, not a choice: the start of a section, its displayed formulas with
the sentence that each of them ends, its lists and tables; and on slides of their own each
statement, figure, playable figure, short rule of the package and question. All paragraphs are in
the speaker's notes. Proofs, solutions and code stay in the chapter.
"""

import base64
import math
import re
from dataclasses import dataclass, field

from companion.play import playable as play

from . import page
from .chapter import Chapter
from .directives import ADMONITIONS, PROOF_KINDS
from .source import Block

BUDGET = 14  # lines of a slide, each of about 75 characters
RULE = 15  # lines of code that a slide may show
STATEMENTS = {*ADMONITIONS, *(f"prf:{kind}" for kind in PROOF_KINDS)}
# Counted, so that numbers are those of the book, and not shown.
ASIDE = {"bibliography", "dropdown", "grading", "margin", "prf:proof", "sidebar", "solution"}
LISTED = re.compile(r"^(?=(?:[-*]|\d+\.) )", re.MULTILINE)
ENDS = re.compile(r"(?<!\bal\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<=[.?!])\s+(?=[(*\[“]*[A-Z$`])")
TALL = re.compile(r"\\([dt]?frac|sum|sqrt|prod|int)")
SPOKEN = re.compile(r"\]\([^)]*\)|\\[a-zA-Z]+|[{}$_^\\]")


@dataclass
class Slide:
    """A slide: its title and the speaker's notes in Markdown, what else it shows in HTML."""

    kind: str  # title, text, figure, play, code or question
    title: str
    section: str = ""
    body: str = ""
    notes: list[str] = field(default_factory=list)


def sentences(text: str) -> list[str]:
    """Split a paragraph where a sentence ends, outside formulas and code."""
    found, start = [], 0
    for end in ENDS.finditer(text):
        before = text[: end.start()]
        if before.count("$") % 2 == 0 and before.count("`") % 2 == 0:
            found.append(text[start : end.start()])
            start = end.end()
    return [*found, text[start:]]


def opening(text: str, size: int = 250) -> str:
    """Return the first sentences of a paragraph: one, or as many as are short together."""
    first, *rest = sentences(text)
    for sentence in rest:
        if len(first) + len(sentence) > size:
            break
        first += f" {sentence}"
    return first


def ending(text: str, size: int = 160) -> str:
    """Return the last sentences of a paragraph: one, or two that are short together."""
    *rest, last = sentences(text)
    return f"{rest[-1]} {last}" if rest and len(rest[-1]) + len(last) < size else last


def height(text: str) -> float:
    """Return about how many lines some Markdown takes."""
    lines = 0.0
    for part in re.split(r"\n\s*\n", text):
        if part.lstrip().startswith("$$"):
            lines += 2 + 1.6 * part.count(r"\\") + 0.6 * bool(TALL.search(part))
        elif part.startswith("|"):
            lines += 1.5 * part.count("\n")
        elif part.startswith("```"):
            lines += 0.8 * part.count("\n")
        else:
            lines += 1.3 + len(SPOKEN.sub("", " ".join(part.split()))) // 75
    return lines


def split(texts: list[str]) -> list[tuple[str, float]]:
    """Return the pieces that a slide may end after, each with its height: items, paragraphs."""
    parts = (part.strip("\n") for text in texts for part in LISTED.split(text))
    return [(part, height(part)) for part in parts if part]


def packed(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Join pieces to bodies of slides: about equally high, within the budget if they can be."""
    total = sum(lines for _, lines in pieces)
    share = total / max(1, math.ceil(total / BUDGET))
    bodies: list[tuple[str, float]] = []
    listed = False
    for text, lines in pieces:
        body, used = bodies[-1] if bodies else ("", BUDGET)
        if used + lines > BUDGET or used + lines / 2 > share:
            bodies.append((text, lines))
        else:
            gap = "\n" if listed and LISTED.match(text) else "\n\n"
            bodies[-1] = body + gap + text, used + lines
        listed = bool(LISTED.match(text))
    return bodies


class Deck(Chapter):
    """Collects slides in place of cells; ``outputs`` holds those of each code cell, in order."""

    def __init__(self, book, name: str, outputs: list[list[dict]]):
        super().__init__(book, name)
        self.outputs = iter(outputs)
        self.slides: list[Slide] = []
        self.pictures: dict[str, bytes] = {}
        self.headings = ["", "", ""]
        self.before = ""  # the text whose end is not on a slide yet
        self.new = self.broken = False  # the section has begun, or a formula its sentence's end
        self.folded = False  # in a solution, or among the references
        self.pieces: list[tuple[str, float]] = []  # of the text slides to come
        self.notes: list[str] = []

    def made(self) -> list[Slide]:
        self.walk()
        self.close()
        return self.slides

    def top(self, block: Block):
        name = block.name if block.kind == "directive" and not block.prefix else ""
        if name == "code-cell":
            self.cell(block)
        elif name in ("solution-start", "solution-end"):
            self.folded = name == "solution-start"
        elif block.kind == "heading":
            self.heading(block)
        elif self.folded or name in ASIDE:
            self.block(block)
        elif name == "admonition" and not self.headings[1]:
            self.goals(self.parts(block))
        elif name in STATEMENTS:
            title = self.statement_title(block) if ":" in name else name.capitalize()
            self.box(title, self.parts(block))
        elif name == "admonition":
            self.box(self.title(block), self.parts(block))
        elif name == "exercise":
            title, bodies = self.exercise_title(block), packed(split(self.parts(block)))
            self.own("question", title, [page.body(text) for text, _ in bodies])
        elif block.kind in ("math", "amsmath") or name == "math":
            self.formula(self.block(block))
        elif text := self.block(block):
            self.paragraph(text)

    def parts(self, block: Block) -> list[str]:
        parts = self.blocks(block.body, block.body_line)
        return [text for part in parts if (text := self.block(part))]

    # ------------------------------------------------------------------ text

    def heading(self, block: Block):
        self.close()
        marks, title = block.body[0].split(" ", 1)
        level = min(len(marks), 3)
        self.headings[level - 1 :] = [self.inline(title.strip(), block.line), *[""] * (3 - level)]
        self.new, self.broken, self.before = True, False, ""
        self.folded = self.headings[1] == "References"
        if level == 1:
            self.slides.append(Slide("title", self.headings[0]))

    def goals(self, parts: list[str]):
        """Put on the title slide the list of what one learns; the rest is for the speaker."""
        listed = next((text for text in parts if LISTED.match(text)), "")
        self.slides[0].body = page.body(listed)
        self.slides[0].notes += [text for text in parts if text != listed]

    def paragraph(self, text: str):
        if LISTED.match(text) or text.startswith("|"):
            lead = [ending(self.before)] if self.before.endswith(":") else []
            self.pieces += split([*lead, text])
            self.before = ""
            return
        (self.notes if self.new or self.pieces else self.slides[-1].notes).append(text)
        if self.headings[1] == "Exercises":
            return
        if self.new:
            self.pieces += split([opening(text)])
        elif self.broken and text[0].islower():  # it goes on with the sentence of a formula
            self.pieces += split(sentences(text)[:1])
        self.new, self.broken, self.before = False, False, text

    def formula(self, text: str):
        lead, last = ending(self.before), self.pieces[-1][0] if self.pieces else ""
        joined = [part for part in (lead, text) if part]
        if last and last.endswith(lead):
            joined[:-1] = [self.pieces.pop()[0]]  # they stay together
        self.pieces.append(("\n\n".join(joined), sum(map(height, joined))))
        self.new, self.broken, self.before = False, True, ""

    def box(self, title: str, parts: list[str]):
        """Put a statement among the pieces, as a whole, or as the parts that fit on a slide."""
        for i, (body, lines) in enumerate(packed(split(parts))):
            more = " (continued)" if i else ""
            text = f'<div class="box">\n\n**{title}{more}.**\n\n{body}\n\n</div>'
            self.pieces.append((text, lines + 2))
        self.new, self.broken, self.before = False, False, ""

    # ------------------------------------------------------------------ slides

    def close(self):
        """Turn the pieces collected since the last slide into as many slides as they need."""
        bodies, self.pieces = packed(self.pieces), []
        above, section = self.headings[1:] if self.headings[2] else ("", self.headings[1])
        self.add("text", section, above, [page.body(text) for text, _ in bodies])

    def own(self, kind: str, title: str, bodies: list[str]):
        """Slides that hold one thing."""
        self.close()
        self.add(kind, title, self.headings[2] or self.headings[1], bodies)
        self.new, self.broken, self.before = False, False, ""

    def add(self, kind: str, title: str, section: str, bodies: list[str]):
        """Append a slide a body; what the speaker says stands with the first."""
        for i, body in enumerate(bodies):
            self.slides.append(Slide(kind, f"{title} *(continued)*" if i else title, section, body))
            if i == 0:
                self.slides[-1].notes, self.notes = self.notes, []

    def cell(self, block: Block):
        options, given = block.options.get("mystnb", {}), next(self.outputs, None)
        figure, alt = options.get("figure", {}), options.get("image", {}).get("alt", "")
        name, caption = figure.get("name", ""), self.inline(figure.get("caption", ""), block.line)
        number = self.numbered("figure", "Fig.", name, caption, block.line) if caption else ""
        if self.folded:
            return
        if given is None:
            self.fail(block.line, "there are no outputs of this cell")
        data = [output.get("data", {}) for output in given]
        texts = [output["text/markdown"] for output in data if "text/markdown" in output]
        if caption:
            shown = [html for output in data if (html := self.picture(name, alt, output))]
            if not shown:
                self.fail(block.line, f"the outputs of this cell hold no picture for {name}")
            self.own("figure", f"**{number}** {sentences(caption)[0]}", shown[-1:])
            self.slides[-1].notes.append(caption.strip())
        elif any(map(play.shown, texts)):
            self.own("play", f"Try it: {self.headings[2] or self.headings[1]}", texts)
        elif "show.source(" in "\n".join(block.body):
            short = split([text for text in texts if text.strip().count("\n") - 1 <= RULE])
            bodies = [page.body(text) for text, _ in packed(short)]
            if bodies:
                self.own("code", "The rule, as the package has it", bodies)

    def picture(self, name: str, alt: str, output: dict) -> str:
        """Keep a picture for its file, and return the element that shows it."""
        if "image/png" in output:
            self.pictures[f"{name}.png"] = base64.b64decode(output["image/png"])
            source = f"{self.page.split('/')[-1]}/{name}.png"
            return f'<img src="{source}" alt="{page.html.escape(" ".join(alt.split()))}">'
        html = output.get("text/html", "")
        return html if 'class="animation"' in html else ""
