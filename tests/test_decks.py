"""The decks that `make slides` has written, as a projector shows them."""

from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DECKS = sorted((ROOT / "_build" / "slides").glob("*/*.html"))
# What of each slide lies outside it, or is set too small to be read from afar.
FAULTS = """() => [...document.querySelectorAll(".slides > section")].flatMap((section, i) => {
    Reveal.slide(i);
    const slide = section.querySelector(".slide");
    const box = slide.getBoundingClientRect();
    const what = "h1, h2, p, li, pre, table, img, mjx-container, .play-stage, .play-stage > *";
    const seen = [...slide.querySelectorAll(what)].filter((e) => e.getClientRects().length);
    const out = seen.filter((e) => {
        const { bottom, right } = e.getBoundingClientRect();
        return bottom > box.bottom + 1 || right > box.right + 1;
    });
    const text = seen.filter((e) => e.matches("h1, h2, p, li, pre") && !e.closest("play-figure"));
    const small = text.filter((e) => parseFloat(getComputedStyle(e).fontSize) < 24);
    const broken = [...slide.querySelectorAll("mjx-merror, [data-mjx-error]")];
    const cut = slide.scrollHeight > 721 || slide.scrollWidth > 1281 ? [slide] : [];
    return [...out, ...small, ...broken, ...cut].map(
        (e) => `slide ${i + 1}: ${e.tagName} ${e.className}: ${e.textContent.slice(0, 60)}`);
})"""


@contextmanager
def opened(browser, path, query=""):
    """A deck that has come to rest; what its console said and what it fetched is nothing."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    said = []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else 0)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda r: 0 if r.url.startswith(("file:", "data:")) else said.append(r.url))
    page.on("requestfailed", lambda request: said.append(request.url))
    try:
        page.goto(path.as_uri() + query)
        page.wait_for_selector("body[data-ready]")
        yield page
        assert said == []
    finally:
        page.close()


def look(browser, path):
    with opened(browser, path) as page:
        assert page.evaluate("() => Reveal.getTotalSlides()") > 5
        assert page.evaluate(FAULTS) == []
        # The speaker reads formulas, not TeX.
        assert page.locator("aside.notes math").count() > 5
        notes = "".join(page.locator("aside.notes").all_text_contents())
        assert "\\(" not in notes
        assert "\\[" not in notes


@pytest.mark.skipif(not DECKS, reason="no decks: run `make slides` first")
@pytest.mark.parametrize("path", DECKS, ids=[path.stem for path in DECKS])
def test_a_deck_needs_no_network_and_nothing_overflows(browser, path):
    look(browser, path)
