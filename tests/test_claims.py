"""The page of claims: rules first, results with their provenance, nothing stale."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pybtex.database import parse_file

from benchmarks import claims
from benchmarks.claims import NOT, PARTLY, REPRODUCED, grade, load_all, middle
from benchmarks.claims.__main__ import PAGE, SOURCES, page

BOOK = Path(__file__).resolve().parent.parent / "book"
ALL = list(load_all().values())
TRIED = [claim for claim in ALL if not claim.untried]


def ids(claim):
    return claim.id


def test_the_page_is_what_the_results_say():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m benchmarks.claims page"


@pytest.mark.parametrize("claim", ALL, ids=ids)
def test_a_claim_names_a_source_and_a_chapter(claim):
    assert re.fullmatch(r"[a-z0-9-]+", claim.id)
    assert claim.source in SOURCES
    assert claim.source in parse_file(BOOK / "references.bib").entries
    assert (BOOK / f"{claim.chapter}.md").is_file()


@pytest.mark.parametrize("claim", TRIED, ids=ids)
def test_a_result_says_where_it_comes_from_and_its_rule_applies(claim):
    result = claim.load()
    for name in ("python", "torch", "machine", "device", "date", "seconds", "settings", "seeds"):
        assert name in result
    assert claim.judge(result) in (REPRODUCED, PARTLY, NOT)


def test_no_result_is_left_without_its_claim():
    assert {path.stem for path in claims.RESULTS.glob("*.json")} == {claim.id for claim in TRIED}


@pytest.fixture
def doubling(monkeypatch, tmp_path):
    monkeypatch.setattr(claims, "RESULTS", tmp_path)
    monkeypatch.setattr(claims, "CLAIMS", {})

    @claims.claim(
        id="doubling",
        source="xie2024",
        where="Lemma 1",
        chapter="geometry/01_norms",
        says="Twice two is four.",
        rule="Reproduced: it is.",
        verdict=lambda m: grade(middle(m["twice"]) == 4),
        settings={"x": 2, "sizes": (1, 2)},
        seeds=range(2),
    )
    def doubling(settings, seeds):
        """Double it."""
        return {"twice": (2 * settings["x"], 3, 5), "seeds": len(seeds)}

    return claims.CLAIMS["doubling"]


def test_a_run_writes_what_load_returns(doubling):
    doubling.run()
    result = doubling.load()
    assert result == json.loads(doubling.path.read_text(encoding="utf-8"))
    assert result["measured"] == {"twice": [4.0, 3.0, 5.0], "seeds": 2.0}
    assert doubling.judge(result) == REPRODUCED


def test_a_result_of_other_settings_is_refused(doubling):
    doubling.run()
    with pytest.raises(ValueError, match="other settings"):
        replace(doubling, settings={"x": 3, "sizes": (1, 2)}).load()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), (1.0, 2.0)])
def test_a_run_that_measures_nonsense_keeps_the_last_result(doubling, bad):
    doubling.run()
    before = doubling.path.read_bytes()
    broken = replace(doubling, measure=lambda settings, seeds: {"twice": bad})
    with pytest.raises(ValueError, match="finite number"):
        broken.run()
    assert doubling.path.read_bytes() == before
    assert list(doubling.path.parent.iterdir()) == [doubling.path]


def test_a_verdict_has_one_of_three_names(doubling):
    with pytest.raises(ValueError, match="rule returned"):
        replace(doubling, verdict=lambda m: "surely").judge(doubling.run())


def test_two_claims_of_one_name_are_refused(doubling):
    with pytest.raises(ValueError, match="two claims"):
        claims.claim(id="doubling", source="", where="", chapter="", says="", untried="no")


def test_a_claim_without_a_rule_is_refused(doubling):
    with pytest.raises(ValueError, match="a rule, a verdict"):
        claims.claim(id="x", source="", where="", chapter="", says="")(lambda settings, seeds: {})


@pytest.mark.parametrize(
    ("conditions", "verdict"),
    [((True, True), REPRODUCED), ((True, False), PARTLY), ((False, False), NOT)],
)
def test_grade(conditions, verdict):
    assert grade(*conditions) == verdict
