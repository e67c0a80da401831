"""The built book as a reader's browser shows it: nothing is cut, nothing glares, nothing fails."""

import pytest

from tests.test_html import HTML, PAGES

DRAWN = """() => !document.querySelector("article .math")
    || (window.MathJax && MathJax.startup && MathJax.startup.promise.then(() => true))"""
OPEN = "() => document.querySelectorAll('article details').forEach(d => { d.open = true; })"
# What is wider than its place, with what is written before it.
CUT = """() => [...document.querySelectorAll("article mjx-container[display], article div.math")]
    .filter(box => box.clientWidth && box.scrollWidth > box.clientWidth + 1)
    .map(box => `${box.scrollWidth} in ${box.clientWidth}: ${box.textContent.slice(0, 80)}`)"""
WIDTH = "() => document.documentElement.scrollWidth"
# A button that fades into the dark over .3 s is not light for good.
STILL = "*, ::before, ::after { transition: none !important; animation: none !important; }"
# A light ground in the dark, pictures apart.
GLARING = """() => [...document.querySelectorAll("article *")]
    .filter(e => !e.closest("img, svg, mjx-container"))
    .filter(e => e.offsetWidth > 20 && e.offsetHeight > 10)
    .filter(e => {
        const [r, g, b, a = 1] = getComputedStyle(e).backgroundColor.match(/[0-9.]+/g).map(Number);
        return a > 0.5 && Math.min(r, g, b) > 200;
    })
    .map(e => `<${e.tagName} class="${e.className}"> ${e.textContent.slice(0, 60)}`)"""

pytestmark = pytest.mark.skipif(not PAGES, reason="no built book: run `make book` first")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(HTML).as_posix())
def test_a_page_fits_a_phone_and_a_desk_by_day_and_by_night(browser, path):
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="light")
    said = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else 0)
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        page.goto(path.as_uri())
        page.add_style_tag(content=STILL)
        page.wait_for_function(DRAWN)
        page.evaluate(OPEN)
        assert page.evaluate(CUT) == []
        assert page.evaluate(WIDTH) <= 390
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 1280, "height": 900})
        assert page.evaluate(CUT) == []
        assert page.evaluate(WIDTH) <= 1280
        page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
        assert page.evaluate(GLARING) == []
        assert said == []
    finally:
        page.close()
