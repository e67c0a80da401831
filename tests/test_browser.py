"""The built book as a reader's browser shows it: nothing is cut, nothing glares, nothing fails."""

import html
import re

import pytest

from tests.built import HTML, PAGES, WHOLE

# What is drawn takes no more glyphs than its source has characters: a formula this short fits
# wherever its source does. MathJax takes most of a page's time, and five formulas of six are short.
SHORT = """document.addEventListener("readystatechange", () => {
    if (document.readyState !== "interactive") return;
    for (const formula of document.querySelectorAll("article span.math")) {
        if (formula.textContent.length > 24) continue;
        formula.className = "tex2jax_ignore mathjax_ignore";
        formula.style.whiteSpace = "nowrap";
    }
})"""
DRAWN = """() => !document.querySelector("article .math")
    || (window.MathJax && MathJax.startup && MathJax.startup.promise.then(() => true))"""
UNDRAWN = """() => [...document.querySelectorAll("article .math")]
    .filter(e => !e.querySelector("mjx-container")).map(e => e.textContent)"""
OPEN = "() => document.querySelectorAll('article details').forEach(d => { d.open = true; })"
# What is wider than its place, with what is written before it.
CUT = """() => [...document.querySelectorAll("article mjx-container[display], article div.math")]
    .filter(box => box.clientWidth && box.scrollWidth > box.clientWidth + 1)
    .map(box => `${box.scrollWidth} in ${box.clientWidth}: ${box.textContent.slice(0, 80)}`)"""
WIDTH = "() => document.documentElement.scrollWidth"
THEME = "(scheme) => document.documentElement.dataset.theme === scheme"
FRAME = "() => new Promise(requestAnimationFrame)"
SKIPPED = "(how) => { document.body.style.contentVisibility = how; }"
# A button that fades into the dark over .3 s is not light for good.
STILL = "*, ::before, ::after { transition: none !important; animation: none !important; }"
HEAD = f"{WHOLE}<style>{STILL}</style><script>{SHORT}</script>"
# A light ground in the dark, pictures apart.
GLARING = """() => [...document.querySelectorAll("article *")]
    .filter(e => !e.closest("img, svg, mjx-container"))
    .filter(e => e.offsetWidth > 20 && e.offsetHeight > 10)
    .filter(e => {
        const [r, g, b, a = 1] = getComputedStyle(e).backgroundColor.match(/[0-9.]+/g).map(Number);
        return a > 0.5 && Math.min(r, g, b) > 200;
    })
    .map(e => `<${e.tagName} class="${e.className}"> ${e.textContent.slice(0, 60)}`)"""
# The formulas of the pages as Sphinx writes them, and MathJax as their pages set it up.
FORMULA = re.compile(r'<(span|div) class="(?:[\w-]+ )*math[ "][^>]*>(.*?)</\1>', re.DOTALL)
NUMBER = re.compile(r'<span class="eqno">.*?</span>', re.DOTALL)
INNER = re.compile(r"\\\((.*)\\\)|\\\[(.*)\\\]|(.*)", re.DOTALL)
COMPILER = """<!doctype html><meta charset="utf-8"><title>formulas</title>
<script>window.MathJax = {
    startup: {typeset: false}, tex: {packages: {"[-]": ["noundefined"]}}
}</script>
<script src="%s"></script>"""
WRONG = """async (formulas) => {
    await MathJax.startup.promise;
    const wrong = [];
    for (const [source, display] of formulas) {
        MathJax.texReset();
        const found = await MathJax.tex2mmlPromise(source, {display});
        if (found.includes("<merror")) wrong.push([source, found.match(/data-mjx-error="([^"]*)/)]);
    }
    return wrong;
}"""

pytestmark = pytest.mark.skipif(not PAGES, reason="no built book: run `make book` first")


def formulas(path):
    """Return the formulas of a built page: what TeX compiles, and whether it stands apart."""
    text = NUMBER.sub("", path.read_text(encoding="utf-8"))
    for kind, inner in FORMULA.findall(text):
        source = next(filter(None, INNER.fullmatch(html.unescape(inner).strip()).groups()), "")
        yield source, kind == "div"


def test_every_formula_compiles(tab, tmp_path):
    found = sorted({formula for path in PAGES for formula in formulas(path)})
    assert found
    blank = tmp_path / "formulas.html"
    script = HTML / "_static" / "mathjax" / "tex-chtml.js"
    blank.write_text(COMPILER % script.as_uri(), encoding="utf-8")
    tab.open(blank.as_uri())
    assert tab.page.evaluate(WRONG, [[r"\nosuchmacro", False]])
    assert tab.page.evaluate(WRONG, found) == []


@pytest.mark.parametrize("path", PAGES, ids=[path.relative_to(HTML).as_posix() for path in PAGES])
def test_a_page_fits_a_phone_and_a_desk_by_day_and_by_night(tab, path):
    tab.open(path.as_uri(), head=HEAD, width=390, height=844)
    page = tab.page
    page.wait_for_function(DRAWN)
    assert page.evaluate(UNDRAWN) == []
    page.evaluate(OPEN)
    assert page.evaluate(CUT) == []
    assert page.evaluate(WIDTH) <= 390
    page.evaluate(SKIPPED, "hidden")  # or it is laid out at each of three steps
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(THEME, arg="dark")
    page.evaluate(SKIPPED, "visible")
    for _ in range(2):  # in the second frame, figures are drawn as wide as the first has shown
        page.evaluate(FRAME)
    assert page.evaluate(CUT) == []
    assert page.evaluate(WIDTH) <= 1280
    assert page.evaluate(GLARING) == []
    assert tab.said == []
