"""Playable figures as a reader uses them: by keys, pointer and links, with and without scripts."""

import json
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

import pytest

from companion.play import playable as play
from tests.built import HTML, PAGES, PATIENCE, WHOLE, Tab
from tests.play.cases import case, has_in_order, numbers
from tests.play.own import printed_example
from tests.test_browser import FRAME, STILL, THEME, WIDTH

FIGURES = [(name, path) for path in PAGES for name in play.shown(path.read_text(encoding="utf-8"))]
DRAWN = list(dict.fromkeys(path for _, path in FIGURES))
# What a page says once all its figures stand.
READY = "() => customElements.get('play-figure') && document.querySelector('.play-stage')"
CLIPBOARD = """() => {
    navigator.clipboard.writeText = (text) => Promise.resolve((window.link = text));
}"""
# A chapter's text takes longer than its figure, to lay out and to look through: leave the figure,
# its picture and what holds them, before any script of the page has run.
APART = (
    f"{WHOLE}<script>"
    + """
document.addEventListener("readystatechange", () => {
    if (document.readyState !== "interactive") return;
    const figure = document.querySelector("play-figure[name=NAME]");
    const picture = document.getElementById(figure.getAttribute("of")) || figure;
    const strip = (place) => {
        for (const e of [...place.children]) {
            if (e === figure || e === picture) continue;
            if (e.contains(figure) || e.contains(picture)) strip(e);
            else if (!["STYLE", "LINK", "SCRIPT"].includes(e.tagName)) e.remove();
        }
    };
    strip(document.querySelector("article"));
    document.querySelector("#pst-page-toc-nav")?.remove(); // its links would lead nowhere
})</script>"""
)

pytestmark = pytest.mark.skipif(not PAGES, reason="no built book: run `make book` first")


@pytest.fixture(scope="module")
def server():
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=HTML)) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def unset(browser, **context):
    """Return a tab that draws no formulas: they take longer than all else, and no test looks."""
    tab = Tab(browser, **context)
    empty = {"body": "", "content_type": "text/javascript"}
    tab.page.route("**/mathjax/**", lambda route: route.fulfill(**empty))
    return tab


@pytest.fixture(scope="module")
def tab(browser):
    return unset(browser)


@pytest.fixture(scope="module")
def other(browser):
    """A tab for the figures that tests share."""
    return unset(browser)


class Reader:
    """A figure of a page, or of what a test has written, and what the console said."""

    def __init__(self, tab, address, name, *, apart=True, **size):
        self.name, self.page, self.said = name, tab.page, tab.said
        tab.open(address, head=APART.replace("NAME", name) if apart else "", **size)
        self.figure = self.page.locator(f"play-figure[name={name}]").first
        until = time.monotonic() + PATIENCE / 1000
        while not self.page.evaluate(READY):
            assert self.said == []  # what has failed never stands
            assert time.monotonic() < until
            self.page.wait_for_timeout(10)
        self.figure.scroll_into_view_if_needed()

    def settle(self):
        self.page.evaluate(FRAME)

    def change(self, values):
        self.figure.evaluate(f"(e) => e.change({json.dumps(values)})")
        self.settle()

    def values(self):
        return self.figure.evaluate("(e) => e.values")

    def state(self):
        return self.figure.locator(".play-say").inner_text()


def together(name, path):
    """A figure as a parameter: its tests run in one process, where it is opened once."""
    of = f"{name}-{path.stem}"
    return pytest.param((name, path), id=of, marks=pytest.mark.xdist_group(of))


OPENED = [together(*figure) for figure in FIGURES]
# Links are read and written by the stage, for all figures alike: these have every kind of control.
LINKED = [z for z in OPENED if z.values[0][0] in ("race", "momentum", "phase", "blockwise")]
linked = pytest.mark.parametrize("opened", LINKED, indirect=True)


@pytest.fixture(scope="module", params=OPENED)
def opened(request, other):
    """A figure of a page, which several tests share."""
    name, path = request.param
    return Reader(other, path.as_uri(), name)


@pytest.fixture
def reader(opened):
    """The figure as it stands before anybody has touched it."""
    opened.page.set_viewport_size({"width": 1280, "height": 900})
    opened.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    opened.change(opened.figure.evaluate("(e) => e.start"))
    opened.said.clear()
    yield opened
    assert opened.said == []


def test_a_figure_shows_what_the_package_computes(reader):
    data = reader.figure.evaluate("(e) => e.data")
    # The page says what the figure computes; tests/play/test_figures.py compares all settings.
    settings = case(reader.name).SETTINGS[1]
    reader.change(settings)
    said = case(reader.name).said(reader.values(), data)
    assert has_in_order(numbers(reader.state()), said), (settings, reader.state(), said)


def test_a_figure_answers_to_keys_and_pointer(reader):
    figure = reader.figure
    sliders = figure.locator(".play-controls input[type=range]")
    handles = figure.locator("circle.play-handle")
    assert sliders.count() + handles.count() + figure.locator("button, select").count() > 2
    for kind in (sliders, handles):
        for i in range(kind.count()):
            before = reader.values()
            at_end = kind.nth(i).evaluate("(e) => e.value && e.value === e.max")
            kind.nth(i).press("ArrowLeft" if at_end else "ArrowRight")
            reader.settle()
            assert reader.values() != before, (i, before)
    for i in range(handles.count()):
        before = reader.values()
        handles.nth(i).scroll_into_view_if_needed()
        box = handles.nth(i).bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        reader.page.mouse.move(x, y)
        reader.page.mouse.down()
        reader.page.mouse.move(x - 25, y + 15, steps=3)
        reader.page.mouse.up()
        reader.settle()
        assert reader.values() != before
    for control in figure.locator("input[type=checkbox]").all()[:3]:
        before = reader.values()
        control.press("Space")
        reader.settle()
        assert reader.values() != before
    figure.get_by_role("button", name="Reset").click()
    reader.settle()
    assert reader.values() == figure.evaluate("(e) => e.start")


@pytest.mark.parametrize(("name", "path"), [z for z in FIGURES if z[0] == "race"])
def test_a_finger_taps_and_drags_points_and_scrolls_the_page(browser, name, path):
    tab = unset(browser, has_touch=True)
    reader = Reader(tab, path.as_uri(), name, apart=False, width=390, height=844)
    live = reader.figure.locator("svg.play-live").first
    live.evaluate("(e) => e.scrollIntoView({block: 'center'})")  # a tall figure's may be above
    panel = live.bounding_box()
    finger = reader.page.context.new_cdp_session(reader.page)

    def swipe(*points):
        kinds = ["touchStart"] + ["touchMove"] * (len(points) - 1)
        for kind, (x, y) in zip(kinds, points, strict=True):
            touch = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
            finger.send("Input.dispatchTouchEvent", touch)
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        reader.settle()
        return reader.values()

    before = reader.values()
    x, y = panel["x"] + 0.6 * panel["width"], panel["y"] + 0.3 * panel["height"]
    tapped = swipe((x, y))
    assert tapped != before
    dragged = swipe(*((x + 5 * i, y + 6 * i) for i in range(6)))
    assert dragged != tapped
    far = panel["x"] + 0.25 * panel["width"]
    scrolled = reader.page.evaluate("() => scrollY")
    after = swipe(*((far, y + 100 - 15 * i) for i in range(10)))
    assert after == dragged
    reader.page.wait_for_function(f"() => scrollY > {scrolled} + 20")


def test_a_figure_plays_steps_and_goes_back(reader):
    if not reader.figure.get_by_role("button", name="Play").count():
        pytest.skip("this figure has no steps")
    press = lambda words: reader.figure.get_by_role("button", name=words, exact=True).click()  # noqa: E731
    press("To the start")
    reader.settle()
    first = reader.state()
    press("Step")
    reader.settle()
    assert reader.values()["step"] == 1
    press("Play")
    reader.page.wait_for_function(
        f"() => document.querySelector('play-figure[name={reader.name}]').values.step > 1"
    )
    press("Pause")
    reader.settle()
    assert reader.state() != first
    reader.page.emulate_media(reduced_motion="reduce")  # nothing moves by itself
    press("To the start")
    press("Play")
    reader.settle()
    last = reader.figure.evaluate("(e) => e.figure.steps(e.values)")
    assert reader.values()["step"] == last


VIEWS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]


def each_view(reader):
    """Yield the widths and schemes that a reader may have, while the page has them."""
    reader.page.add_style_tag(content=STILL)
    for width, scheme in VIEWS:
        reader.page.set_viewport_size({"width": width, "height": 900})
        reader.page.emulate_media(color_scheme=scheme)
        reader.page.wait_for_function(THEME, arg=scheme)
        reader.settle()
        reader.settle()  # in a second frame, it is drawn as wide as the first has shown
        yield width, scheme


def test_a_figure_fits_and_is_accessible_by_day_and_by_night(reader):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    reader.page.evaluate(axe.axe_script)
    # The colours are looked at in the page: axe need not fetch the style sheets once more.
    options = {"preload": False, "resultTypes": ["violations"]}
    colours = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
    for width, scheme in each_view(reader):
        stage = reader.figure.locator(".play-stage")
        assert stage.evaluate("(e) => e.scrollWidth <= e.clientWidth + 1")
        assert reader.page.evaluate(WIDTH) <= width
        # All rules at each width, and the one that looks at colours in all four views.
        rules = {} if scheme == "light" else colours
        found = reader.page.evaluate(
            "([figure, options]) => axe.run(figure, options).then((found) => found.violations)",
            [f"play-figure[name={reader.name}]", options | rules],
        )
        assert found == [], (width, scheme)


@linked
def test_a_link_brings_its_settings_over_http(reader, tab, server):
    reader.change(case(reader.name).SETTINGS[1])
    reader.page.evaluate(CLIPBOARD)
    reader.figure.get_by_role("button", name="Copy link").click()
    link = reader.page.evaluate("() => window.link")
    read = Reader(tab, link.replace(HTML.as_uri(), server), reader.name)
    assert read.values() == reader.values()
    assert read.said == []


@linked
def test_a_broken_link_does_no_harm(reader, tab):
    start = reader.values()
    ranges = reader.figure.evaluate("(e) => e.figure.controls || []")
    limits = {c["id"]: c["max"] for c in ranges if "max" in c}
    broken = {key: "1e99" if key in limits else "?broken" for key in start}
    query = urlencode({**broken, "nobody": 1})
    read = Reader(tab, f"{reader.page.url}#play-{reader.name}?{query}", reader.name)
    values = read.values()
    assert values.keys() == start.keys()
    for key, value in values.items():
        boolean = isinstance(start[key], bool)
        assert boolean or value == limits.get(key, start[key]) or key == "step", key
    assert read.said == []


def output(shown, folder) -> str:
    """Return the address of a page that holds what a notebook's cell shows, and nothing else."""
    page = folder / "output.html"
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>output</title>'
    page.write_text(head + shown.standalone(), encoding="utf-8")
    return page.as_uri()


@pytest.mark.parametrize("name", play.names())
def test_a_figure_stands_alone_in_the_output_of_a_notebook(tab, tmp_path, name):
    shown = play.figure(name, of="fig-elsewhere", data=getattr(case(name), "DATA", None))
    reader = Reader(tab, output(shown, tmp_path), name, apart=False)
    assert reader.figure.locator("svg").first.is_visible()
    assert reader.said == []


def test_a_rule_of_the_readers_own_has_a_box_and_a_slider(tab, tmp_path):
    _, shown = printed_example()
    reader = Reader(tab, output(shown, tmp_path), "race", apart=False)
    box = reader.figure.get_by_role("checkbox", name="Between")
    assert box.is_checked()
    assert "Between" in reader.state()
    before = reader.state()
    slider = reader.figure.get_by_role("slider", name="step size of Between")
    slider.press("ArrowRight")
    reader.settle()
    assert reader.values()["step size of Between"] > 0.03
    assert reader.state() != before
    box.press("Space")
    reader.settle()
    assert "Between" not in reader.state()
    assert reader.said == []


def test_a_landscape_brings_its_start_along(tab):
    reader = Reader(tab, (HTML / "book" / "index.html").as_uri(), "race")
    reader.figure.get_by_role("combobox", name="landscape").select_option("Rosenbrock")
    reader.settle()
    assert reader.values()["start"] == [-1.2, 1]
    assert reader.state().startswith("From (−1.2, 1)")


@pytest.fixture(scope="module")
def bare(browser):
    """A tab without scripts."""
    return Tab(browser, java_script_enabled=False)


@pytest.mark.parametrize("path", DRAWN, ids=[path.stem for path in DRAWN])
def test_without_scripts_the_pictures_stay(bare, path):
    bare.open(path.as_uri(), head=WHOLE)
    for element in bare.page.locator("play-figure").all():
        of = element.get_attribute("of")
        picture = (bare.page.locator(f"[id='{of}']") if of else element).locator("img").first
        assert picture.is_visible()
    assert bare.page.locator(".play-stage").count() == 0


def test_every_figure_stands_in_the_book():
    assert sorted({name for name, _ in FIGURES}) == play.names()
