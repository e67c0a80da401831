"""What the pages of the course say of the book is so: its times, its figures, what they show."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from companion.grade.__main__ import main as grade
from companion.play import playable as play
from tests.play.cases import case, numbers
from tests.play.engine import Engine, literal

BOOK = Path(__file__).resolve().parent.parent / "book"
PAGES = sorted((BOOK / "course").glob("*.md"))
CHAPTERS = sorted(p for p in BOOK.glob("*/[0-9]*.md") if "**Running time" in p.read_text("utf-8"))
SYLLABUS = (BOOK / "course" / "syllabus.md").read_text("utf-8")
# A link to a figure with settings, and what stands in the same item of a list.
LINK = re.compile(r"\[([^\]]+)\]\((play:[^\s]+)\)((?:(?!\n\n|\n- |\]\(play:).)*)", re.DOTALL)
LINKS = [(path.stem, *found) for path in PAGES for found in LINK.findall(path.read_text("utf-8"))]
# Figures whose data are not those of their tests, so that the numbers are others too.
OWN_DATA = ("cauchy",)


@pytest.fixture(scope="module")
def v8():
    engine = Engine()
    for path in play.scripts(play.names()):
        if path != "stage.js":  # it needs a page
            engine.context.eval(play.served(path))
    return engine


def setting(text, usual):
    """Return a value of a link as the page reads it; see `decode` of stage.js."""
    return text if isinstance(usual, str) else json.loads(text)


@pytest.mark.parametrize(("page", "label", "address", "told"), LINKS, ids=[z[2] for z in LINKS])
def test_a_linked_figure_says_what_the_course_says(v8, page, label, address, told):
    parts = urlsplit(address)
    name, _, query = parts.fragment.removeprefix("play-").partition("?")
    source = (BOOK / f"{parts.path}.md").read_text("utf-8")
    assert f'play.figure("{name}"' in source or f'<play-figure name="{name}"' in source
    figure = f"Play.figures[{literal(name)}]"
    usual = v8.call(f"Play.values({figure})")
    given = {key: setting(text, usual[key]) for key, text in parse_qsl(query)}
    for control in v8.call(f"({figure}.controls || []).filter((c) => c.id in given)", given=given):
        value = given[control["id"]]
        assert "options" not in control or value in control["options"]
        assert "max" not in control or control["min"] <= value <= control["max"]
    if name in OWN_DATA:
        assert not numbers(re.sub(r"‖\S+", "", told))
        return
    data = getattr(case(name), "DATA", {})
    v8.context.eval(
        f"var data = {literal(data)}, v = Play.values({figure}, {literal(given)});"
        f"var r = {figure}.compute(v, data);"
    )
    sentence = v8.call(f"{figure}.say(r, v)")
    shown = [*numbers(sentence), *numbers(unquote(query)), *numbers(label)]
    missing = [z for z in numbers(told) if z not in shown]
    assert not missing, f"{missing} stand in the {page}, and the figure says: {sentence}"


def test_the_syllabus_has_every_chapter_with_the_time_that_its_head_states():
    table = SYLLABUS.partition("(sec-course-times)=")[2].partition("\n\n**")[0]
    rows = re.findall(r"^\| \{doc\}`\.\./(\S+)` \| (\d+) \| (\w+) \|$", table, re.MULTILINE)
    head = re.compile(
        r"\*\*Running time\.?\*\*\s+[Aa]bout (\d+) seconds on (\w+) CPU cores? at quick"
    )
    wanted = []
    for path in CHAPTERS:
        seconds, cores = head.search(path.read_text("utf-8")).groups()
        wanted.append((f"{path.parent.name}/{path.stem}", seconds, cores))
    assert sorted(rows) == sorted(wanted)


def test_each_chapter_and_each_problem_set_has_a_week():
    weeks = SYLLABUS.partition("## Part one")[2].partition("(sec-course-short)=")[0]
    for path in CHAPTERS:
        assert f"{{doc}}`../{path.parent.name}/{path.stem}`" in weeks, path.stem
    for path in (BOOK / "course" / "sets").glob("*.md"):
        found = re.search(rf"<sets/{path.stem}>` comes in", weeks)
        assert found, f"{path.stem} never comes in"
        assert re.search(rf"<sets/{path.stem}>` goes out", weeks[: found.start()]), path.stem


def test_the_guide_prints_the_points_of_its_set_as_the_command_does(capsys):
    grade(["points", "02_adaptive"])
    guide = (BOOK / "course" / "guide.md").read_text("utf-8")
    assert f"$ python -m companion.grade points 02_adaptive\n{capsys.readouterr().out}```" in guide


def test_each_project_has_a_rubric_of_a_hundred_points():
    projects = (BOOK / "course" / "projects.md").read_text("utf-8")
    briefs = re.split(r"^## Project \d", projects, flags=re.MULTILINE)[1:]
    assert len(briefs) == 4
    for brief in briefs:
        points = [int(z) for z in re.findall(r"^\| (\d+) \| ", brief, re.MULTILINE)]
        assert sum(points) == 100
