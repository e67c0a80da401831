"""What playable figures compute is what the package computes; no browser is needed for that."""

import pytest
import torch

from companion.play import playable as play
from tests.naming import label
from tests.play.cases import NAMES, case, each, has_in_order, numbers
from tests.play.engine import Engine, literal, with_figures

SCRIPTS = play.scripts(play.names())


@pytest.fixture(scope="module")
def v8():
    engine = Engine()
    for path in SCRIPTS:
        if path != "stage.js":  # it needs a page
            engine.context.eval(play.served(path))
    return engine


def run(v8, name, settings):
    """Let a figure compute; return all its values, its data and its sentence."""
    data = getattr(case(name), "DATA", {})
    v8.context.eval(
        f"var figure = Play.figures[{literal(name)}], data = {literal(data)};"
        f"var v = Play.values(figure, {literal(settings)}), r = figure.compute(v, data);"
    )
    return v8.call("v"), data, v8.call("figure.say(r, v)")


def test_every_figure_is_tested_at_three_settings_or_more():
    assert play.names() == NAMES
    for name in NAMES:
        assert len(case(name).SETTINGS) >= 3, name


@pytest.mark.parametrize(("name", "settings"), each(), ids=label)
def test_a_figure_shows_what_the_package_computes(v8, name, settings):
    v, data, sentence = run(v8, name, settings)
    wanted = case(name).expected(v, data)
    assert wanted
    for expression, value in wanted.items():
        found = torch.tensor(v8.call(expression), dtype=torch.float64)
        value = torch.as_tensor(value, dtype=torch.float64)
        torch.testing.assert_close(
            found,
            value,
            rtol=1e-9,
            atol=1e-12,
            equal_nan=True,
            msg=f"{expression}: {found} is not {value}",
        )
    assert has_in_order(numbers(sentence), case(name).said(v, data)), sentence


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_complete(v8, name):
    at = f"Play.figures[{literal(name)}]"
    ids = v8.call(f"{at}.panels.map((p) => p.id)")
    assert v8.call(f"{at}.title")
    assert all(v8.call(f"{at}.panels.map((p) => p.alt)"))
    points = v8.call(f"({at}.points || []).map((p) => p.panel)")
    assert set(points) <= set(ids)
    assert all(v8.call(f"({at}.controls || []).map((c) => c.label)"))
    assert isinstance(run(v8, name, {})[2], str)


def test_what_a_page_loads_says_what_is_written(v8):
    written = with_figures(*NAMES)
    for name, settings in each():
        assert run(v8, name, settings)[2] == run(written, name, settings)[2]


def test_the_scripts_stay_small():
    sizes = {path: len(play.served(path).encode()) for path in SCRIPTS}
    assert sum(sizes.values()) <= 150_000, sizes
