"""The built book: figures described, links alive, no trace of an error or of raw source."""

import json
import re
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup, Tag

from tests.built import HTML, PAGES, ROOT, light

LIMIT = 3_000_000  # bytes of a page together with its own images
SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)

pytestmark = pytest.mark.skipif(not PAGES, reason="no built book: run `make book` first")


@cache
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(light(path.read_text(encoding="utf-8")), "html.parser")


@cache
def anchors(path: Path) -> set[str]:
    """Names of places in a page, by their text: other pages need not be parsed for their links."""
    text = SCRIPT.sub("", path.read_text(encoding="utf-8"))
    return set(map(unescape, re.findall(r'<[^<>]*\s(?:id|name)="([^"]*)"', text)))


def alone(path: Path):
    """A page as a parameter: its tests run in one process, where it is parsed once."""
    name = path.relative_to(HTML).as_posix()
    return pytest.param(path, id=name, marks=pytest.mark.xdist_group(name))


@pytest.fixture(params=[alone(path) for path in PAGES])
def page(request):
    source = ROOT / request.param.relative_to(HTML).with_suffix(".md")
    if source.exists() and source.stat().st_mtime > request.param.stat().st_mtime:
        pytest.skip("the chapter is newer than its page: run `make book`")
    return request.param


@pytest.fixture
def article(page):
    return parsed(page).find("article")


def local(page: Path, address: str) -> tuple[Path, str] | None:
    """File and fragment that a link of ``page`` leads to; None if it leads out of the book."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    return (target / "index.html" if target.is_dir() else target), unquote(parts.fragment)


def test_page_has_a_title_and_one_h1(page):
    soup = parsed(page)
    assert soup.title.get_text(strip=True)
    assert len(soup.find("article").find_all("h1")) == 1


def test_every_image_is_described(article):
    for image in article.find_all("img"):
        alt = (image.get("alt") or "").strip()
        assert alt, f"no alt text: {str(image)[:100]}"
        assert not re.search(r"[/\\]|\.(png|svg|jpe?g|gif)$", alt), f"alt text is a path: {alt}"


def test_every_figure_has_a_caption(article):
    for figure in article.find_all("figure"):
        if figure.find_parent("figure"):
            continue  # a player inside a captioned figure
        caption = figure.find("figcaption")
        assert caption, f"no caption: {str(figure)[:100]}"
        assert re.match(r"Fig\. \S+ \S", caption.get_text(" ", strip=True)), "no number or no text"


def test_every_plot_is_a_figure(article):
    for image in article.select(".cell_output img"):
        player = image.find_parent(class_=("animation", "text_html"))
        assert image.find_parent("figure") or player, f"no figure around {image.get('alt')!r}"


def test_notebook_numbers_as_the_page_does(page, article):
    notebook = ROOT / page.relative_to(HTML).with_suffix(".ipynb")
    if not notebook.exists():
        pytest.skip("a page without a notebook")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "".join(line for cell in cells for line in cell["source"])
    for number in article.select(".caption-number"):
        assert number.get_text(strip=True) in text
    for number in article.select("div.math:not(.amsmath) > .eqno"):
        assert f"\\tag{{{number.get_text().strip('()#')}}}" in text


def test_internal_links_lead_somewhere(page):
    for tag, key in (("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")):
        for link in parsed(page).find_all(tag, **{key: True}):
            if link[key] == "#" or not (found := local(page, link[key])):
                continue
            path, fragment = found
            assert path.is_file(), f"no such file: {link[key]}"
            if tag == "a" and fragment and path.suffix == ".html":
                place = re.sub(r"^play-([\w-]+)\?.*", r"\1", fragment)  # a figure, with settings
                assert place in anchors(path), f"no such place: {link[key]}"


def test_page_is_not_too_large(page):
    images = {local(page, i["src"]) for i in parsed(page).find("article").find_all("img", src=True)}
    size = page.stat().st_size + sum(i[0].stat().st_size for i in images if i and i[0].is_file())
    assert size <= LIMIT, f"{size / 1e6:.1f} MB"


def test_no_error_or_warning_was_printed(article):
    text = article.get_text()
    assert "Traceback (most recent call last)" not in text
    assert not re.search(r"\w+Warning: ", text)
    assert not article.select(".output.stderr, .output.traceback")


def strings(tag):
    for child in tag.children:
        if not isinstance(child, Tag):
            yield child
        elif child.name not in ("pre", "code", "script", "style"):
            yield from strings(child)


def test_no_source_markup_shows(article):
    # Code may speak of markup, and a script of anything.
    text = " ".join(strings(article))
    assert not re.search(r"(`{3,}|:{3,})\s*\{", text)
    assert not re.search(r"\{[a-z][\w:-]*\}`", text)
    assert not re.search(r"^\s*:(name|label|class|tags|alt):", text, re.MULTILINE)
    assert "$$" not in text


def test_formulas_and_pages_need_no_network(page):
    for tag in parsed(page).find_all(["script", "link", "img"]):
        if tag.get("rel") in (["canonical"], ["next"], ["prev"], ["search"]):
            continue
        address = tag.get("src") or (tag.get("href") if tag.name == "link" else None) or ""
        assert not urlsplit(address).netloc, f"fetched from elsewhere: {address}"
