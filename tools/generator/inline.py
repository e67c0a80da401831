"""Within a paragraph: roles, citations, cross-references, substitutions, footnotes, links."""

import re
from collections import Counter
from pathlib import PurePosixPath

from .source import ChapterError

INLINE = re.compile(
    r"""(?P<escaped>\\.)
    | (?:\{(?P<role>[^\s{}`]+)\})?(?<!`)(?P<ticks>`+)(?!`)(?P<content>.+?)(?<!`)(?P=ticks)(?!`)
    | (?P<display>\$\$)
    | (?P<math>\$(?:\\.|[^$\\])+\$)
    | \{\{\s*(?P<name>[^{}]*?)\s*\}\}
    | \[\^(?P<note>[\w-]+)\](?P<is_note>:?)
    | \]\((?P<page>[\w./-]+)\.md\)""",
    re.DOTALL | re.VERBOSE,
)


class Inline:
    """What a chapter has counted, cited and named so far, and the plain form of its text."""

    def __init__(self, book, page: str, strict: bool = True):
        self.book, self.page, self.strict = book, page, strict
        self.counts: Counter = Counter()
        self.cited: list[str] = []
        self.substitutions: dict[str, str] = {}

    def fail(self, line: int, message: str):
        raise ChapterError(f"{self.page}.md:{line}: {message}")

    def inline(self, text: str, line: int) -> str:
        return INLINE.sub(lambda found: self._one(found, line), text)

    def _one(self, found: re.Match, line: int) -> str:
        line += found.string.count("\n", 0, found.start())
        if found["display"]:
            self.fail(line, "display math must start and end on lines of its own")
        if found["role"]:
            return self.role(found["role"], found["content"], line)
        if found["name"] is not None:
            if found["name"] not in self.substitutions:
                self.fail(line, f"no substitution is called {found['name']}")
            return self.inline(str(self.substitutions[found["name"]]), line)
        if found["note"]:
            return f"<sup>[{found['note']}]</sup>"
        if found["page"]:
            return f"]({self.doc(found['page'], line)[1]})"
        return found[0]  # escaped, code or math

    def role(self, role: str, content: str, line: int) -> str:
        content = re.sub(r"[ \t\n]+", " ", content).strip(" ")
        titled = re.fullmatch(r"(.*?) *<([^<>]+)>", content)
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

    def path(self, target: str) -> str:
        """A path beside this page, or from the root where it begins with a slash, in full."""
        parts: list[str] = []
        start = PurePosixPath("" if target.startswith("/") else self.page).parent
        for part in (start / target.lstrip("/")).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        return "/".join(parts)

    def doc(self, target: str, line: int) -> tuple[str, str]:
        page = self.path(target).removesuffix(".md")
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
