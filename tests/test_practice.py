"""Rows of the practice part: one rule, by the side of a paired interval, on last values by seed."""

import pandas as pd
import pytest

from benchmarks import claims
from benchmarks.claims import NOT, REPRODUCED, load_all
from benchmarks.claims.practice import compares, last, summary

CALM = {"Adam": [2.0, 3.0, 4.0], "SGD": [9.0, 2.0, 4.0]}
BELOW, HOLDS = [1.0, 2.1, 2.9], [1.0, 3.1, 4.2]
ABOVE = [3.0, 4.1, 4.9]


@pytest.fixture
def row(monkeypatch):
    """Return the verdict of a new row on values of single seeds, by measure."""
    monkeypatch.setattr(claims, "CLAIMS", {})

    def judge(decides, **measures):
        fields = {"id": "row", "chapter": "", "says": "", "seeds": range(3)}
        compares("Adam", decides, **fields)(judge)
        claim = claims.CLAIMS.pop("row")
        rules = {name: CALM | {"ADOPT": values} for name, values in measures.items()}
        raw = {f"{n}, {rule}": v for n, values in rules.items() for rule, v in values.items()}
        return claim.judge({"raw": raw})

    judge.__doc__ = "Measure nothing."
    return judge


def test_only_an_interval_wholly_on_the_better_side_reproduces(row):
    assert row({"loss": -1}, loss=BELOW) == REPRODUCED
    assert row({"loss": -1}, loss=HOLDS) == NOT
    assert row({"loss": -1}, loss=ABOVE) == NOT
    assert row({"return": 1}, **{"return": ABOVE}) == REPRODUCED
    assert row({"return": 1}, **{"return": BELOW}) == NOT


def test_all_that_decides_has_to_hold_and_nothing_else(row):
    both = {"loss": -1, "spike": -1}
    assert row(both, loss=BELOW, spike=BELOW) == REPRODUCED
    assert row(both, loss=BELOW, spike=HOLDS) == NOT
    assert row({"loss": -1}, loss=BELOW, spike=ABOVE) == REPRODUCED


def test_a_summary_has_differences_to_all_other_rules():
    found = summary({"a, b, ADOPT": BELOW} | {f"a, b, {k}": v for k, v in CALM.items()})
    assert found["a, b, ADOPT − Adam"].mean == pytest.approx(-1)
    assert found["a, b, ADOPT − SGD"].mean == pytest.approx(-3)
    assert found["a, b, ADOPT"].mean == pytest.approx(2)
    assert len(found) == 5


def test_last_values_are_those_of_the_seeds_asked_for_in_their_order():
    rows = [
        {"phase": phase, "optimizer": name, "lr": 0.1, "seed": seed, "loss": 10 * seed + step}
        for phase, name in (("tune", "Adam"), ("report", "Adam"), ("report", "ADOPT"))
        for seed in (0, 1, 2)
        for step in (2, 1)
    ]
    found = last(pd.DataFrame(rows), {"loss in nats": "loss"}, (2, 0))
    assert found == {"loss in nats, Adam": [21, 1], "loss in nats, ADOPT": [21, 1]}


def test_every_comparison_of_the_part_has_the_one_rule():
    rows = [c for c in load_all().values() if c.chapter.startswith("practice/")]
    better = [c for c in rows if c.where == "Section 5"]  # others ask about parts of ADOPT
    assert len({c.chapter for c in better}) == 6  # the seventh chapter compares no rules
    for claim in better:
        assert claim.summary is summary
        assert "lies wholly on ADOPT's better side" in claim.rule
