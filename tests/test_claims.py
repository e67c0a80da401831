"""The page of claims: rules first, results with their provenance, nothing stale."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pybtex.database import parse_file

from benchmarks import claims
from benchmarks.claims import NOT, PARTLY, REPRODUCED, grade, load_all, middle, side
from benchmarks.claims.__main__ import PAGE, SINCE, SOURCES, entry, page, same
from companion.evidence import paired

BOOK = Path(__file__).resolve().parent.parent / "book"
ALL = list(load_all().values())
TRIED = [claim for claim in ALL if not claim.untried]


def ids(claim):
    return claim.id


def test_the_page_is_what_the_results_say():
    assert same(PAGE.read_text(encoding="utf-8"), page()), "python -m benchmarks.claims page"


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
    [
        ((True, True), REPRODUCED),
        ((True, True, False), PARTLY),
        ((True, False), NOT),  # half is not more than half
        ((True, False, False), NOT),
        ((False, False), NOT),
    ],
)
def test_grade(conditions, verdict):
    assert grade(*conditions) == verdict


def test_a_comparison_is_decided_by_the_side_of_its_interval():
    assert side((-1.0, -2.0, -0.5)) == -1
    assert side((1.0, -0.1, 2.0)) == 0
    assert side((1.3, 1.1, 1.6), of=1.0) == 1
    assert side((1.3, 1.1, 1.6), of=1.5) == 0


def test_the_same_difference_is_judged_alike_in_every_entry():
    claims_ = load_all()
    found = {
        "linf-figure-4": ("Adam − rotated Adam", 1),
        "linf-table-4": ("loss, Adam − rotated Adam", 1),
        "linf-rotation-norm": ("resnet, loss, rotated Adam − Adam", -1),
    }
    sides = set()
    for name, (value, sign) in found.items():
        claim = claims_[name]
        sides.add(sign * side(claim.measured(claim.load())[value]))
    assert sides == {0}  # not told apart by six seeds


@pytest.mark.parametrize(
    "claim", [c for c in TRIED if "companion/results" in str(c.settings)], ids=ids
)
def test_what_stored_runs_say_is_what_they_say_now(claim):
    again, result = claim.measure(dict(claim.settings), claim.seeds), claim.load()
    kept = result["raw" if claim.summary else "measured"]
    assert list(again) == list(kept)
    for name, value in again.items():
        assert value == pytest.approx(kept[name], rel=1e-9, abs=1e-12)


@pytest.fixture
def pairs(doubling):
    return replace(
        doubling,
        measure=lambda settings, seeds: {"a": [1.0, 2.0, 3.5], "b": [2.0, 3.0, 4.6]},
        summary=lambda raw: {"a − b": paired(raw["a"], raw["b"])},
        verdict=lambda m: grade(side(m["a − b"]) < 0),
    )


def test_single_seeds_are_kept_and_another_rule_can_judge_them(pairs):
    pairs.run()
    result = pairs.load()
    assert result["raw"] == {"a": [1.0, 2.0, 3.5], "b": [2.0, 3.0, 4.6]}
    assert "measured" not in result
    assert pairs.judge(result) == REPRODUCED
    other = replace(pairs, summary=lambda raw: {"a − b": paired(raw["b"], raw["a"])})
    assert other.judge(result) == NOT


def test_a_result_says_which_commit_made_it_and_that_code_has_changed_since(doubling, monkeypatch):
    doubling.run()
    result = json.loads(doubling.path.read_text(encoding="utf-8"))
    line = next(x for x in entry(doubling)[1] if "Where from" in x)
    assert f"Version {result['version']} at commit {result['commit']}" in line
    assert SINCE not in line
    monkeypatch.setattr(claims, "changed", lambda function, recorded: ["companion/optim/adam.py"])
    line = next(x for x in entry(doubling)[1] if "Where from" in x)
    assert f"{SINCE} `companion/optim/adam.py`." in line


def test_an_old_result_says_that_its_commit_was_not_recorded(doubling):
    doubling.run()
    result = json.loads(doubling.path.read_text(encoding="utf-8"))
    for name in ("version", "commit", "code"):
        del result[name]
    doubling.path.write_text(json.dumps(result), encoding="utf-8")
    assert doubling.changed(doubling.load()) is None
    assert "Made before the commit was recorded" in "\n".join(entry(doubling)[1])


def test_pages_that_differ_in_what_has_changed_since_agree():
    assert same(f"one. {SINCE} `a`.\ntwo", "one.\ntwo")
    assert not same("one.\ntwo", "one.\nthree")
