"""A hand-out has the problems and nothing that only the grader reads; the solved one has both."""

import importlib
import re

import pytest

from tools.generator.book import ROOT

pytest.importorskip("playwright")
pytestmark = pytest.mark.elsewhere  # in tools


@pytest.fixture(scope="module")
def tool():
    """tools/handouts.py, which finds its neighbours as a script does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        yield importlib.import_module("handouts")


@pytest.fixture(scope="module")
def book(tool):
    return tool.Book()


NAMES = sorted(path.stem for path in (ROOT / "book" / "course" / "sets").glob("[0-9]*.md"))


def parts_of(source, what):
    """Texts of the parts of {grading} that a set has of one kind."""
    return re.findall(rf"^```python {what}\n(.*?)^```$", source, re.MULTILINE | re.DOTALL)


def plain(tool, text):
    return tool.html.unescape(re.sub("<[^>]+>", "", text))


@pytest.mark.parametrize("name", NAMES)
def test_a_handout_states_every_problem_and_no_solution(tool, book, name):
    page = f"book/course/sets/{name}"
    source = book.sources[page]
    given, solved = (plain(tool, tool.handout(book, page, with_them)[0]) for with_them in (0, 1))
    numbers = re.findall(r"^Exercise (\d+)", given, re.MULTILINE)
    assert numbers == [str(i + 1) for i in range(source.count("{exercise}"))]
    solutions = parts_of(source, "solution")
    assert solutions
    for solution in solutions:
        assert solution.strip() in solved
        assert solution.strip() not in given
    for hidden in ("@test", "loses:", "{grading}", "google.colab"):
        assert hidden not in given + solved
    assert "points: " not in given  # of a rubric


@pytest.mark.parametrize("name", NAMES[:1])
def test_a_link_is_a_number_whose_address_stands_at_the_end(tool, book, name):
    body, links = tool.handout(book, f"book/course/sets/{name}", False)
    assert links
    assert len(set(links)) == len(links)
    assert "<a href" not in body
    assert all(f"<sup>{i + 1}</sup>" in body for i in range(len(links)))


def test_it_is_printed_on_numbered_pages_without_network(tool, browser, tmp_path):
    said, path = [], tmp_path / "some" / "set.pdf"
    context = browser.new_context()
    context.on("request", lambda r: 0 if r.url.startswith(("file:", "data:")) else said.append(r))
    body = tool.page.body("# Set\n\n$$\nx^2\n$$\n" + "A paragraph.\n\n" * 200)
    tool.print_all({path: ("A set", body, ["https://a.b"])}, context)
    made = path.read_bytes()
    assert made.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", made)) > 2
    assert re.search(rb"/MediaBox\s*\[0 0 59[45][.\d]* 84[12]", made)  # A4
    assert b"MJX" in made.replace(b"MathJax", b"MJX")  # the letters of the formula
    assert said == []
    context.close()


def test_without_a_browser_it_says_so(tool, monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="no Chromium to print with"):
        tool.main([])
