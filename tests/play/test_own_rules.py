"""A rule of the reader's own runs in a figure beside those of the book."""

import json
import re

import pytest
import torch

from companion import play
from companion.optim import SGD
from companion.problems import beale, gradient
from companion.simulate import trajectory
from tests.play.cases import numbers
from tests.play.engine import literal, with_figures
from tests.play.own import printed_example
from tools import race

SCRIPT = re.compile(r"<script>(.*?)</script>", re.S)
STEPS = 200


@pytest.fixture(scope="module")
def example():
    return printed_example()


@pytest.fixture(scope="module")
def v8(example):
    """The race on a page that has the scripts and the reader's rule."""
    engine = with_figures("race")
    for script in SCRIPT.findall(example[1].element()):
        engine.context.eval(script)
    engine.context.eval("Object.assign(Play.rules, PlayRules); var figure = Play.figures.race;")
    return engine


def start(v8, shown, **changes):
    """Set the values of the figure, and let it compute."""
    given = literal({**shown.values, **changes})
    v8.context.eval(f"var v = Play.values(figure, {given}), r = figure.compute(v, {{}});")


@pytest.mark.parametrize("lr", [0.03, 0.02])
def test_it_takes_the_steps_of_the_package(v8, example, lr):
    rule, shown = example
    start(v8, shown, **{"step size of Between": lr})
    x0 = torch.tensor(shown.values["start"], dtype=torch.float64)
    want = trajectory(rule, gradient(beale), x0, STEPS, lr=lr, power=0.3)
    got = torch.tensor(v8.call("r.ways.Between.map((x) => Array.from(x))"), dtype=torch.float64)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    sentence = v8.call("figure.say(r, v)")
    (said,) = numbers(sentence.split("Between ")[1].split(",")[0].rstrip("."))
    assert said == pytest.approx(beale(want[-1]).item(), rel=0.006)


def test_it_has_a_box_and_a_step_size(v8, example):
    controls = {c["id"]: c for c in v8.call("figure.controls")}
    assert controls["Between"]["value"] is True
    assert controls["Between"]["group"] == controls["Adam"]["group"]
    slider = controls["step size of Between"]
    assert slider["min"] < slider["value"] == 0.03 < slider["max"]
    start(v8, example[1], Between=False)
    assert "Between" not in v8.call("Object.keys(r.ways)")
    assert "Between" not in v8.call("figure.say(r, v)")


def test_its_label_is_its_own():
    with pytest.raises(ValueError, match="rules: 'Adam' is a rule of the book"):
        play.figure("race", rules={"Adam": (SGD, {})})


def test_the_picture_of_the_landing_page_shows_the_race_before_anybody_plays():
    engine = with_figures("race")
    engine.context.eval("var v = Play.values(Play.figures.race), r = Play.figures.race.compute(v);")
    assert engine.call("[v.step, ...v.start]") == [race.STEPS, *race.START]
    ways, drawn = engine.call("Object.entries(r.ways).map(([k, z]) => [k, z])"), race.ways()
    assert [name for name, _ in ways] == list(drawn)
    for name, way in ways:
        way = torch.tensor(way, dtype=torch.float64)
        torch.testing.assert_close(way, drawn[name], rtol=1e-9, atol=1e-12)
        losses = torch.tensor(engine.call(f"r.losses[{json.dumps(name)}]"), dtype=torch.float64)
        torch.testing.assert_close(losses, race.LANDSCAPE(drawn[name]), rtol=1e-9, atol=1e-12)
