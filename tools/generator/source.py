"""Split a chapter into blocks, with the parser that the book itself is built with."""

import re
from dataclasses import dataclass, field
from functools import cache

import yaml
from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser
from myst_parser.parsers.options import TokenizeError, options_to_items

# As _config.yml has them; a test makes sure of it.
EXTENSIONS = {"amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "substitution"}
DIRECTIVE = re.compile(r"\{([^\s{}]+)\}\s*(.*)", re.DOTALL)
KINDS = {
    "amsmath": "amsmath",
    "code_block": "literal",
    "colon_fence": "fence",
    "fence": "fence",
    "heading_open": "heading",
    "html_block": "html",
    "math_block": "math",
    "math_block_label": "math",
    "myst_block_break": "break",
    "myst_line_comment": "dropped",
    "myst_target": "target",
}


class ChapterError(Exception):
    """Something in a chapter that has no plain form; names the file and the line."""


class SourceError(ChapterError):
    """The same, of a line of a file that the one who catches it knows."""

    def __init__(self, line: int, message: str):
        super().__init__(f"{line}: {message}")


@dataclass
class Block:
    """A piece of a chapter: text, heading, literal, math, amsmath, target, break or directive."""

    kind: str
    line: int
    body: list[str] = field(default_factory=list)
    name: str = ""  # of a directive, target, equation or environment
    argument: str = ""
    prefix: str = (
        ""  # what its first line begins with: the indent or the mark of a list, of a quote
    )
    options: dict = field(default_factory=dict)
    body_line: int = 0
    fence: str = ""

    def place(self, text: str) -> str:
        """Put ``text`` where the block stood, in its list or quote."""
        following = re.sub(r"[^\s>]", " ", self.prefix)
        lines = text.split("\n")
        rest = [(following + line).rstrip() if following else line for line in lines[1:]]
        return "\n".join([self.prefix + lines[0], *rest])


@cache
def parser():
    config = MdParserConfig(enable_extensions=EXTENSIONS, disable_syntax=["inline"])
    return create_md_parser(config, RendererHTML)


def blocks(lines: list[str], first: int) -> list[Block]:
    """Blocks of ``lines``, the first of which has the number ``first``."""
    found, done = [], 0
    for token in parser().parse("\n".join(lines) + "\n"):
        kind = KINDS.get(token.type)
        if not kind or token.map[0] < done:
            continue
        start, end = token.map
        if kind == "amsmath":  # its map is not to be trusted
            end = start + token.content.rstrip().count("\n") + 1
        found += texts(lines[done:start], first + done)
        done = end
        if kind == "fence":
            found.append(fence(token, lines, first))
        elif kind == "html" and re.fullmatch(r"\s*<!--.*-->\s*", token.content, re.DOTALL):
            pass  # a comment, whatever it comments out
        elif kind == "break":
            found.append(Block("break", first + start))
        elif kind == "target":
            found.append(Block("target", first + start, name=token.content))
        elif kind == "math":
            prefix = lines[start][: lines[start].index("$$")]
            body = token.content.strip("\n").split("\n")
            found.append(Block("math", first + start, body, token.info, prefix=prefix))
        elif kind == "amsmath":
            name = token.meta["environment"] + (token.meta["numbered"] or "")
            found.append(Block("amsmath", first + start, lines[start:end], name))
        elif kind != "dropped":
            body = "\n".join(lines[start:end]).rstrip().split("\n")
            found.append(Block("literal" if kind == "html" else kind, first + start, body))
    return found + texts(lines[done:], first + done)


def texts(lines: list[str], first: int) -> list[Block]:
    """Paragraphs, lists and tables: what stands between blank lines."""
    found: list[Block] = []
    for number, line in enumerate(lines):
        if not line.strip(" \t"):
            continue
        if re.match(r"\s*(\\begin\{\w+\*?\}|\$\$)", line) and "$$" not in line.strip()[2:]:
            raise SourceError(first + number, "this formula is never closed")
        if number and found and lines[number - 1].strip(" \t"):
            found[-1].body.append(line)
        else:
            found.append(Block("text", first + number, [line]))
    return found


def fence(token, lines: list[str], first: int) -> Block:
    """A directive or a literal block between fences."""
    (start, end), number = token.map, first + token.map[0]
    prefix = lines[start][: lines[start].index(token.markup)]
    last = re.fullmatch(r"[\s>]*(`{3,}|~{3,}|:{3,})\s*", lines[end - 1])
    if end - start < 2 or not last or not last[1].startswith(token.markup):
        raise SourceError(number, f"this fence is never closed: {lines[start].strip()}")
    info = token.info.strip()
    if not info.startswith("{"):
        if token.type == "colon_fence":
            raise SourceError(number, f"a colon fence needs a directive: {lines[start].strip()}")
        return Block("literal", number, lines[start:end])
    directive = DIRECTIVE.fullmatch(info)
    if not directive:
        raise SourceError(number, f"this names no directive: {info}")
    name, argument = directive.groups()
    body = token.content.split("\n")[:-1]
    options, used = read_options(name, body, number)
    line = number + 1 + used
    return Block(
        "directive", number, body[used:], name, argument, prefix, options, line, token.type
    )


def read_options(name: str, body: list[str], number: int) -> tuple[dict, int]:
    """Options of a directive, and how many lines of its body they take."""
    used = 0
    if body and body[0].strip() == "---":
        used = next((i for i, line in enumerate(body) if i and line.strip() == "---"), 0) + 1
        if used == 1:
            raise SourceError(number + 1, "the options that begin here are never ended by ---")
        text = "\n".join(body[1 : used - 1])
    else:
        while used < len(body) and re.match(r"\s*:(?!:)[^\s:][^:]*:(\s|$)", body[used]):
            used += 1
        text = "\n".join(line.lstrip()[1:] for line in body[:used])
    try:
        if name == "code-cell" or text[:1] == "{" or (used and body[0].strip() == "---"):
            options = yaml.safe_load(text) or {}
        else:
            options = dict(options_to_items(text)[0])
    except (yaml.YAMLError, TokenizeError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(number + 1, f"these options cannot be read: {reason}") from None
    if not isinstance(options, dict):
        raise SourceError(number + 1, f"options are names with values, not {options!r}")
    return options, used
