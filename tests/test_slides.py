"""A deck shows what a chapter states, draws and asks, once and in order, and gives nothing away."""

import importlib
import re

import pytest
import yaml
from bs4 import BeautifulSoup

from companion.play import playable as play
from tests import books
from tests.test_decks import look, opened
from tests.test_notebooks import BIBLIOGRAPHY, CONFIG, HEADER, TOC
from tools.generator.book import ROOT, Book
from tools.generator.deck import RULE, Deck, packed, sentences, split
from tools.generator.source import ChapterError

pytestmark = pytest.mark.elsewhere  # in tools
PIXEL = "iVBORw0KGgo="
CHAPTER = """
# Steps

```{admonition} Before you start
**You will learn**

- to step;
- to stop.

**Prerequisites.** None, see {doc}`b`.
```

```{code-cell}
secret = "set-up"
```

## How far

Steps have a length. It matters.
A second paragraph ends with the rule

$$
x_{t+1} = x_t - \\eta g
$$ (eq-step)

where $\\eta$ is the step size. More of it here.

```{prf:theorem} Descent
:label: thm-descent

By {eq}`eq-step` we descend.
```

```{dropdown} Proof
A proof that is not shown.
```

```{code-cell}
---
mystnb:
  figure:
    name: fig-path
    caption: The path goes down. It stops at $x = 1.5$.
  image:
    alt: A line "falls"
---
plot()
```

```{code-cell}
play.figure("race", of="fig-path")
```

```{code-cell}
show.source(rule)
```

## Exercises

```{exercise} Why
:label: ex-why

Why does {prf:ref}`thm-descent` hold?
```

```{code-cell}
stub()
```

```{solution-start} ex-why
```

Because of a solution.

```{code-cell}
---
mystnb: {figure: {name: fig-solved, caption: A solved figure.}}
---
solved()
```

```{solution-end}
```

````{grading} ex-why
:points: 3

```python solution
graded()
```
````

## Summary

- We step.
- We stop.

## References

{cite:t}`solo`

```{bibliography}
```
"""
OUTPUTS = {
    "plot()": {"image/png": PIXEL},
    "solved()": {"image/png": PIXEL},
    "play.figure": {"text/markdown": play.figure("race").element()},
    "show.source": {"text/markdown": "```python\nreturn x - h.lr * g\n```"},
}


def outputs_for(book, name, known) -> list[list[dict]]:
    """Outputs of the cells of a chapter that nobody has run."""
    cells = [b for b in Deck(book, name, []).parsed() if b.name == "code-cell"]
    texts = ["\n".join(cell.body) for cell in cells]
    return [[{"data": data} for key, data in known.items() if key in text] for text in texts]


@pytest.fixture
def deck(tmp_path):
    (tmp_path / "book" / "one").mkdir(parents=True)
    files = {
        "_config.yml": CONFIG,
        "_toc.yml": TOC,
        "a.bib": BIBLIOGRAPHY,
        "pyproject.toml": '[project]\nname = "the-package"\n',
        "book/index.md": "# Welcome\n",
        "book/one/a.md": HEADER + CHAPTER,
        "book/one/b.md": "# B\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    book = Book(tmp_path)

    def make(**changes):
        known = {key: changes.get(key.split("(")[0], data) for key, data in OUTPUTS.items()}
        return Deck(book, "book/one/a", outputs_for(book, "book/one/a", known))

    return make


def test_slides_are_what_the_chapter_states_draws_and_asks_in_order(deck):
    slides = deck().made()
    assert [(slide.kind, slide.title, slide.section) for slide in slides] == [
        ("title", "Steps", ""),
        ("text", "How far", ""),
        ("figure", "**Fig. 1.1** The path goes down.", "How far"),
        ("play", "Try it: How far", "How far"),
        ("code", "The rule, as the package has it", "How far"),
        ("question", "Exercise 1.1 (Why)", "Exercises"),
        ("text", "Summary", ""),
    ]
    title, text, figure, live, code, question, summary = (slide.body for slide in slides)
    assert "to stop" in title
    shown = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", text)).strip()
    assert shown == (
        r"Steps have a length. It matters. A second paragraph ends with the rule \[x_{t+1} = x_t - "
        r"\eta g \tag{1.1}\] where \(\eta\) is the step size. Theorem 1.1 (Descent). By (1.1) we "
        "descend."
    )
    assert figure == '<img src="a/fig-path.png" alt="A line &quot;falls&quot;">'
    assert play.shown(live) == ["race"]
    assert "return x - h.lr * g" in re.sub("<[^>]+>", "", code)
    assert "Theorem 1.1 hold?" in question
    assert summary.count("<li>") == 2


def test_nothing_is_given_away_on_a_slide_or_to_the_speaker(deck):
    made = deck()
    text = "".join(f"{s.title}{s.body}{s.notes}" for s in made.made())
    for hidden in ("secret", "stub", "solution", "solved", "graded", "not shown", "```", "{eq}"):
        assert hidden not in text
    assert list(made.pictures) == ["fig-path.png"]


def test_the_speaker_has_every_paragraph_and_caption_once(deck):
    notes = ["\n".join(slide.notes) for slide in deck().made()]
    assert "Prerequisites" in notes[0]
    assert "It matters" in notes[1]
    assert "More of it here" in notes[1]
    assert notes[2] == "The path goes down. It stops at $x = 1.5$."
    assert "".join(notes).count("A second paragraph") == 1


def test_a_long_rule_stays_in_the_chapter(deck):
    def kinds(lines):
        source = {"text/markdown": "```python\n" + "x = 1\n" * lines + "```"}
        return [slide.kind for slide in deck(**{"show.source": source}).made()]

    assert "code" in kinds(RULE)
    assert "code" not in kinds(RULE + 1)


def test_a_figure_without_its_picture_is_an_error(deck):
    with pytest.raises(ChapterError, match=r"a\.md:\d+: .*no picture for fig-path"):
        deck(plot={}).made()


def test_sentences_end_outside_formulas_and_names():
    text = "By Reddi et al. Adam moves $x. Y$ far. See `a. B` here! It does."
    assert sentences(text) == [
        "By Reddi et al. Adam moves $x. Y$ far.",
        "See `a. B` here!",
        "It does.",
    ]


def test_a_long_list_is_spread_evenly_and_in_order():
    items = [f"- item {i}" for i in range(20)]
    bodies = [body for body, _ in packed(split(["\n".join(items)]))]
    assert "\n".join(bodies).split("\n") == items
    assert len(bodies) > 1
    counts = [body.count("item") for body in bodies]
    assert max(counts) - min(counts) <= 1


@pytest.fixture(scope="module")
def book():
    return books.book()


TOC_OF_BOOK = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
NAMES = [page["file"] for part in TOC_OF_BOOK if part.get("numbered") for page in part["chapters"]]


@pytest.mark.parametrize("name", NAMES)
def test_each_chapter_has_a_deck(book, name):
    known = OUTPUTS | {"": {"image/png": PIXEL}}  # whatever a cell draws
    slides = Deck(book, name, outputs_for(book, name, known)).made()
    first = [slide for slide in slides if "*(continued)*" not in slide.title]
    count = lambda what: len(re.findall(what, book.sources[name], re.MULTILINE))  # noqa: E731
    assert sum(s.kind == "question" for s in first) == count(r"^`+\{exercise\}")
    assert sum(s.kind == "play" for s in first) == count(r"^play\.figure\(")
    text = "".join(slide.body for slide in slides)
    boxes = [
        box for box in re.findall('<div class="box">.*\n<p>(.*)', text) if "(continued)" not in box
    ]
    assert len(boxes) >= count(r"^`+\{prf:(?!proof)\w+\}")
    assert first[-1].title == "Summary"
    assert not re.search(r"\{(prf:|cite:|eq\}|ref\}|numref\}|doc\})|```|Solution to", text)


@pytest.fixture(scope="module")
def tool():
    """tools/slides.py, which finds its neighbours as a script does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        yield importlib.import_module("slides")


def test_a_deck_without_outputs_says_what_to_do(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "CELLS", tmp_path)
    with pytest.raises(tool.Missing, match=r"foundations/01_sgd.*make slides"):
        tool.outputs_of("book/foundations/01_sgd")


# ---------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def written(tool, tmp_path_factory):
    """The deck of a chapter, from the outputs that an earlier build has left."""
    pytest.importorskip("sphinx_revealjs")
    name, out = "book/geometry/02_rotation", tmp_path_factory.mktemp("slides")
    for scale in ("quick", "full", "smoke"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tool, "SCALE", scale)
            try:
                outputs = tool.outputs_of(name)
            except tool.Missing:
                continue
        tool.write_assets(out / "_static")
        tool.write_deck(tool.Book(), name, outputs, out)
        return out / "geometry" / "02_rotation.html"
    return pytest.skip("no outputs of this chapter: run `make book` first")


VALUES = "() => JSON.stringify(document.querySelector('section.present play-figure').values)"
LIVE = """() => {
    const sections = [...document.querySelectorAll(".slides > section")];
    Reveal.slide(sections.findIndex((section) => section.matches(".play")));
}"""


def test_a_deck_needs_no_network_and_nothing_overflows(browser, written):
    look(browser, written)


def test_keys_move_what_has_the_focus_and_the_slides_otherwise(browser, written):
    with opened(browser, written) as page:
        at = lambda: page.evaluate("() => Reveal.getIndices().h")  # noqa: E731
        page.keyboard.press("ArrowRight")
        assert at() == 1
        page.evaluate(LIVE)
        live, present = at(), page.locator("section.present")
        slider = present.locator(".play-controls input[type=range]").first
        point = present.locator(".play-handle").first
        for control, key in ((slider, "ArrowLeft"), (point, "ArrowRight")):
            control.focus()
            before = page.evaluate(VALUES)
            page.keyboard.press(key)
            assert page.evaluate(VALUES) != before
            assert at() == live
        page.keyboard.press("PageDown")  # of a presenter's remote
        assert at() == live + 1
        page.keyboard.press("ArrowLeft")
        slider.focus()
        page.keyboard.press("Escape")
        page.keyboard.press("ArrowLeft")
        assert at() == live - 1


def test_on_paper_every_slide_but_the_playable_ones_is_a_page(browser, written):
    sections = BeautifulSoup(written.read_text(encoding="utf-8"), "html.parser").find_all("section")
    with opened(browser, written, "?print-pdf") as page:
        page.wait_for_selector(".pdf-page")
        printed = sum("play" not in section["class"] for section in sections)
        assert page.locator(".pdf-page").count() == printed < len(sections)
