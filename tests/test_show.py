import pandas as pd
import pytest

from companion import show
from companion.optim import Adam


def test_source_of_a_rule_is_dedented_and_keeps_its_decorator():
    block = show.source(Adam.rule)
    first, second, *_ = repr(block).splitlines()
    assert (first, second) == ("@staticmethod", "def rule(x, g, s, t, h):")
    assert block._repr_markdown_() == f"```python\n{block!r}\n```"
    compile(repr(block), "shown", "exec")


@pytest.mark.parametrize(
    ("obj", "start"),
    [(Adam, "class Adam(Optimizer):"), (show.source, "def source("), (show, '"""What a chapter')],
)
def test_source_of_classes_functions_and_modules(obj, start):
    assert repr(show.source(obj)).startswith(start)


@pytest.mark.parametrize("obj", [3, len, "text"])
def test_source_refuses_what_has_none(obj):
    with pytest.raises(TypeError, match="obj must be a function, class or module"):
        show.source(obj)


def test_table_rounds_hides_the_index_and_carries_its_caption():
    frame = pd.DataFrame({"name": ["<a>"], "loss": [1.23456], "steps": [1000]}, index=["row"])
    table = show.table(frame, caption="What < it says", digits=2)
    page = table._repr_html_()
    assert page.count("<caption>What &lt; it says</caption>") == 1
    assert page.index("<table") < page.index("<caption>") < page.index("<thead>")
    for text in (page, repr(table)):
        assert "1.2" in text
        assert "1.23" not in text
        assert "1000" in text
        assert "row" not in text
    assert "&lt;a&gt;" in page
    assert repr(table).startswith("What < it says\n")
    assert "<caption>" not in show.table(frame)._repr_html_()
