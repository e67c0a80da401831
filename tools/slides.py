"""Write a deck of slides for each chapter, from its source and the outputs of its cells.

``python -m tools.slides [CHAPTER ...]`` writes ``_build/slides/PART/CHAPTER.html`` for the chapters
named, or for all of the numbered parts, with all that a deck needs beside it: it is shown without
network. ``tools/execution.py`` has to run before, at the same ``COMPANION_SCALE``. What goes on a
slide is said in ``tools/generator/deck.py``.

reveal.js comes from sphinx-revealjs, which is well kept and carries reveal.js 5 as published, with
the speaker's window. The tools themselves are of no use here: sphinx-revealjs and nbconvert put a
whole page on slides (nbconvert with a reveal.js from the network), and RISE carries reveal.js 3.
"""

import argparse
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import jinja2
from jupyter_cache import get_cache
from myst_nb.core.read import myst_nb_reader_plugin

from companion.play import playable as play
from tools.book_extension import write_play_scripts
from tools.execution import CELLS, SCALE
from tools.generator import page
from tools.generator.book import ROOT, Book
from tools.generator.deck import Deck
from tools.generator.source import ChapterError

OUT = ROOT / "_build" / "slides"
REVEAL = ("dist/reset.css", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js", "LICENSE")


class Missing(Exception):
    """Something that has to be there before decks can be made; says how to get it."""


def outputs_of(name: str) -> list[list[dict]]:
    """Return the outputs of each code cell of a chapter, from the cache of tools/execution.py."""
    folder = CELLS / SCALE
    notebook = myst_nb_reader_plugin(str(ROOT / f"{name}.md"))
    try:
        if not folder.is_dir():
            raise KeyError(folder)
        notebook = get_cache(str(folder)).merge_match_into_notebook(notebook)[1]
    except KeyError:
        raise Missing(
            f"{name}: no outputs of these cells at {SCALE} scale. Run tools/execution.py first, "
            "or make slides, which does."
        ) from None
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def write_assets(folder: Path):
    """Write what all decks share: reveal.js, MathJax, playable figures, style and start."""
    reveal = find_spec("sphinx_revealjs")
    if reveal is None:
        raise Missing("reveal.js is not there: pip install -c constraints.txt -e '.[slides]'")
    for name in REVEAL:
        path = Path(reveal.origin).parent / "_static" / "revealjs" / name
        (folder / "reveal").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / "reveal" / path.name)
    page.copy_mathjax(folder / "mathjax")
    write_play_scripts(folder / "play")
    for name in ("deck.css", "deck.js"):
        shutil.copyfile(page.HERE / name, folder / name)


def write_deck(book: Book, name: str, outputs: list[list[dict]], out: Path) -> list:
    """Write the deck of a chapter and its pictures; return its slides."""
    deck = Deck(book, name, outputs)
    slides = deck.made()
    path = out / name.removeprefix("book/")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    for file, picture in deck.pictures.items():
        (path / file).write_bytes(picture)
    template = jinja2.Environment(autoescape=False).from_string(
        (page.HERE / "deck.html").read_text(encoding="utf-8")
    )
    html = template.render(
        title=book.titles[name],
        part=book.parts[name],
        link=book.link(name),
        slides=slides,
        scripts=play.scripts(play.shown("".join(slide.body for slide in slides))),
        assets="../" * (len(path.relative_to(out).parts) - 1) + "_static",
        line=page.line,
        body=page.body,
    )
    path.with_name(f"{path.name}.html").write_text(html, encoding="utf-8")
    return slides


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write a deck of slides for each chapter.")
    parser.add_argument(
        "chapters", nargs="*", metavar="CHAPTER", help="such as foundations/04_adam"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the decks")
    parsed = parser.parse_args(arguments)
    try:
        book = Book()
        asked = [name.removesuffix(".md") for name in parsed.chapters]
        for name in asked:
            if not any(known.endswith(name) for known in book.numbers):
                parser.error(f"{name} is none of {', '.join(book.numbers)}")
        names = [n for n in book.numbers if not asked or any(n.endswith(name) for name in asked)]
        write_assets(parsed.out / "_static")
        for done, name in enumerate(names, 1):
            slides = write_deck(book, name, outputs_of(name), parsed.out)
            print(f"[{done:2}/{len(names)}] {name}: {len(slides)} slides", flush=True)
    except (ChapterError, Missing) as error:
        sys.exit(str(error))
    print(f"The decks are in {parsed.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
