"""What a figure puts on a page reaches the browser as it was written."""

import json

import pytest
from markdown_it import MarkdownIt

from companion import play
from companion.optim import SignSGD

DATA = {"text": 'a "quoted" -- word... <b>', "numbers": [1.5, -2e-8], "none": []}


@pytest.mark.parametrize("rules", [None, {"Mine": (SignSGD, {}), "It's": (SignSGD, {})}])
def test_the_pages_of_the_book_leave_data_and_rules_as_they_are(rules):
    pytest.importorskip("linkify_it")
    text = play.figure("race", of="fig-race", data=DATA, rules=rules).element()
    book = MarkdownIt("gfm-like", {"typographer": True}).enable(["smartquotes", "replacements"])
    shown = book.render(text)
    opened, closed = '<script type="application/json">', "</script>"
    assert json.loads(shown.split(opened)[1].split(closed)[0]) == DATA
    assert shown.strip() == text
    assert book.render('"a" -- b') != '<p>"a" -- b</p>\n'  # it would change other text
