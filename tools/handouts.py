"""Print the problem sets as PDF: what students are handed out, or the solved sets.

``python -m tools.handouts [SET ...]`` writes ``_build/handouts/SET.pdf``, the problems alone;
``--solutions`` writes ``SET_solution.pdf``, for instructors. Both are printed by Chromium from what
the notebooks hold, without network; links stand at the end of the paper.
"""

import argparse
import html
import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import jinja2
from playwright.sync_api import sync_playwright

from tools.browser import chromium
from tools.generator import page
from tools.generator.book import ROOT, Book
from tools.generator.chapter import Chapter
from tools.generator.source import ChapterError

OUT = ROOT / "_build" / "handouts"
LINK = re.compile(r'<a href="(https?://[^"]+)">(.*?)</a>', re.DOTALL)
FOOTER = """<div style="font-size: 8pt; width: 100%; text-align: center">{title} –
<span class="pageNumber"></span> / <span class="totalPages"></span></div>"""


def handout(book: Book, name: str, solutions: bool) -> tuple[str, list[str]]:
    """Return the HTML of a problem set, and the addresses to which its numbered links lead."""
    links: list[str] = []

    def numbered(found: re.Match) -> str:
        if found[1] not in links:
            links.append(found[1])
        return f"{found[2]}<sup>{links.index(found[1]) + 1}</sup>"

    notebook = json.loads(Chapter(book, name, solutions=solutions).notebook())
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            text = page.body(text).replace("<details>", "<details open>")
            solved = text.startswith("<p><strong>Solution</strong></p>")
            parts.append(f'<div class="solution">{text}</div>' if solved else text)
        elif "remove-cell" not in cell["metadata"].get("tags", []):
            parts.append(page.code(text))
    return LINK.sub(numbered, "\n".join(parts)), links


def print_all(pages: dict[Path, tuple[str, str, list[str]]], chromium):
    """Print title, body and links of each page to the PDF that is its key."""
    template = jinja2.Environment(autoescape=False).from_string(
        (page.HERE / "handout.html").read_text(encoding="utf-8")
    )
    with TemporaryDirectory() as folder:
        page.copy_mathjax(Path(folder, "mathjax"))
        sheet, source = chromium.new_page(), Path(folder, "page.html")
        for done, (path, (title, body, links)) in enumerate(pages.items(), 1):
            escaped, mathjax = [html.escape(link) for link in links], "mathjax/tex-chtml.js"
            text = template.render(title=title, body=body, links=escaped, mathjax=mathjax)
            source.write_text(text, encoding="utf-8")
            sheet.goto(source.as_uri())
            sheet.wait_for_function("() => window.MathJax?.startup?.promise?.then(() => true)")
            path.parent.mkdir(parents=True, exist_ok=True)
            sheet.pdf(
                path=path,
                format="A4",
                print_background=True,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=FOOTER.format(title=html.escape(title)),
                margin={"top": "18mm", "bottom": "20mm", "left": "22mm", "right": "22mm"},
            )
            print(f"[{done}/{len(pages)}] {path}", flush=True)
        sheet.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Print the problem sets as PDF.")
    parser.add_argument("sets", nargs="*", metavar="SET", help="such as 02_adaptive")
    parser.add_argument("--solutions", action="store_true", help="print the solved sets")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the PDFs")
    parsed = parser.parse_args(arguments)
    browser = chromium()
    if browser is None:
        sys.exit("There is no Chromium to print with: install one, or set CHROMIUM to its path.")
    try:
        book = Book()
        names = {Path(n).name: n for n in book.chapters if "{grading}" in book.sources[n]}
        for name in parsed.sets:
            if name not in names:
                parser.error(f"{name} is none of {', '.join(names)}")
        end = "_solution" if parsed.solutions else ""
        pages = {
            parsed.out / f"{short}{end}.pdf": (
                book.titles[name],
                *handout(book, name, parsed.solutions),
            )
            for short, name in names.items()
            if short in (parsed.sets or names)
        }
    except ChapterError as error:
        sys.exit(str(error))
    with sync_playwright() as driver:
        print_all(pages, driver.chromium.launch(executable_path=browser, args=["--no-sandbox"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
