"""What the source papers claim, how it is tested here, and the verdict by a rule stated beforehand.

One function a claim, in the module of the chapter that teaches it::

    @claim(
        id="adopt-toy",                       # also the name of the result on disk
        source="taniguchi2024",               # a key of book/references.bib
        where="Figure 1",
        chapter="convergence/06_adopt",       # a page under book/
        says="On the toy problem ADOPT goes to -1 for every β2.",
        rule="Reproduced: the median is below -.9 for every β2.",
        verdict=lambda m: grade(*(middle(v) < -0.9 for v in m.values())),
        settings={"k": 10, "steps": 1_000_000},
        seeds=range(12),
    )
    def adopt_toy(settings, seeds):
        '''Run ADOPT from zero and take quartiles over seeds.'''
        return {"β2 = .1": (-0.99, -0.999, -0.98), ...}

Measured values are numbers, or ``(middle, low, high)``. Words are plain Markdown with ``$…$`` for
formulas. All comparisons follow one rule, that of `companion.evidence`: paired over seeds, by
Student's t, two-sided 5 %; a verdict reads it by `side`. An experiment that compares runs returns
the values of single seeds, by name, and ``summary`` makes the measured values of them: the file
keeps the seeds, so that another rule can judge them without another run::

        summary=lambda raw: {"Adam − SGD": paired(raw["Adam"], raw["SGD"])},
        verdict=lambda m: grade(side(m["Adam − SGD"]) < 0),

Where a seed's values do not depend on which others are measured with it, ``block=6`` makes tasks of
six seeds each, for runs on many machines (`benchmarks.claims.parts`)::

        block=6,

A claim that was not tried says why, and has no function::

    claim(id="imagenet", ..., untried="It takes eight GPUs for days.")

``python -m benchmarks.claims run`` measures what has no result yet and writes one file a claim;
``python -m benchmarks.claims page`` writes book/appendix/claims.md from those files.
"""

import importlib
import json
import math
import os
import pkgutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.provenance import changed, code, provenance

RESULTS = Path(__file__).parent.parent / "results" / "claims"
REPRODUCED, PARTLY, NOT, UNTRIED = "reproduced", "partly", "not reproduced", "not tried"
CLAIMS: dict[str, "Claim"] = {}


@dataclass(frozen=True)
class Claim:
    """One claim of one source, and its experiment; the fields are those of `claim`."""

    id: str
    source: str
    where: str
    chapter: str
    says: str
    rule: str = ""
    verdict: Callable[[dict], str] | None = None
    settings: dict | None = None
    seeds: tuple[int, ...] = ()
    untried: str = ""
    summary: Callable[[dict], dict] | None = None
    block: int | None = None
    measure: Callable[[dict, tuple[int, ...]], dict] | None = None

    @property
    def path(self) -> Path:
        """The file of the result."""
        return RESULTS / f"{self.id}.json"

    def run(self) -> dict:
        """Measure, and write the result whole or not at all."""
        result = self.joined([self.part(self.seeds)])
        self.write(result)
        return result

    def part(self, seeds: tuple[int, ...]) -> dict:
        """Measure with some of the seeds, and write nothing; any machine can do that."""
        start = time.perf_counter()
        found = self.measure(dict(self.settings), tuple(seeds))
        plain = _seeds if self.summary else _plain
        return {
            "id": self.id,
            "raw" if self.summary else "measured": {k: plain(v) for k, v in found.items()},
            "settings": json.loads(json.dumps(self.settings)),
            "seeds": list(seeds),
            "seconds": round(time.perf_counter() - start, 1),
            **provenance(),
            "code": code(self.measure),
        }

    def joined(self, parts: list[dict]) -> dict:
        """Return the result that parts make, in the order of the seeds."""
        first, *others = parts
        seeds = [seed for part in parts for seed in part["seeds"]]
        if seeds != list(self.seeds):
            raise ValueError(f"{self.id}: parts of the seeds {seeds} make no result")
        if others:
            raw = {name: [v for p in parts for v in p["raw"][name]] for name in first["raw"]}
            where = {
                name: ", ".join(dict.fromkeys(p[name] for p in parts)) for name in provenance()
            }
            seconds = round(sum(part["seconds"] for part in parts), 1)
            first = {**first, "raw": raw, "seeds": seeds, "seconds": seconds, **where}
        return first

    def write(self, result: dict) -> None:
        """Write a result, whole or not at all."""
        self.judge(result)  # before the last result is replaced
        RESULTS.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=RESULTS, delete=False, encoding="utf-8") as part:
            json.dump(result, part, indent=1, ensure_ascii=False, allow_nan=False)
            part.write("\n")
        os.replace(part.name, self.path)

    def load(self) -> dict:
        """Return the result on disk, of these very settings and seeds."""
        result = json.loads(self.path.read_text(encoding="utf-8"))
        now = json.loads(json.dumps([self.settings, list(self.seeds)]))
        if [result["settings"], result["seeds"]] != now:
            raise ValueError(f"{self.path.name} has other settings or seeds: run it again")
        return result

    def measured(self, result: dict) -> dict:
        """Return the measured values of a result, from those of single seeds where it has them."""
        if self.summary is None:
            return result["measured"]
        return {name: _plain(value) for name, value in self.summary(result["raw"]).items()}

    def changed(self, result: dict) -> list[str] | None:
        """Return the files behind a result whose code is another by now; None if not recorded."""
        return changed(self.measure, result["code"]) if "code" in result else None

    def judge(self, result: dict) -> str:
        """Return the verdict that the rule gives on a result."""
        verdict = self.verdict(self.measured(result))
        if verdict not in (REPRODUCED, PARTLY, NOT):
            raise ValueError(f"{self.id}: the rule returned {verdict!r}")
        return verdict


def claim(*, seeds=(), settings=None, **fields):
    """Register a claim; return the decorator of the function that tests it."""

    def register(measure=None):
        made = Claim(seeds=tuple(seeds), settings=settings or {}, measure=measure, **fields)
        if made.id in CLAIMS:
            raise ValueError(f"there are two claims {made.id!r}")
        if not made.untried and not (measure and measure.__doc__ and made.rule and made.verdict):
            raise ValueError(f"{made.id}: a claim has a rule, a verdict and a documented function")
        if made.block and not made.summary:
            raise ValueError(f"{made.id}: a block of seeds needs values of single seeds: a summary")
        CLAIMS[made.id] = made
        return measure

    return register() if fields.get("untried") else register


def grade(*conditions: bool) -> str:
    """Return reproduced if all conditions hold, partly if more than half do, else not."""
    if all(conditions):
        return REPRODUCED
    return PARTLY if sum(map(bool, conditions)) > len(conditions) / 2 else NOT


def side(value, of: float = 0.0) -> int:
    """Return on which side of a number a measured interval lies: 1, -1, or 0 where it holds it.

    That is how every comparison is decided: a paired difference by its side of zero, a ratio by its
    side of one. Zero means not told apart.
    """
    _, low, high = value
    return (low > of) - (high < of)


def middle(value) -> float:
    """Return the middle of a measured value, which may carry an interval."""
    return value[0] if isinstance(value, list | tuple) else value


def load_all() -> dict[str, Claim]:
    """Import every module of claims, and return them all by name."""
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "__main__"):
        importlib.import_module(f"{__name__}.{module}")
    return CLAIMS


def _plain(value):
    """Return a number or three as JSON has them; refuse what is not finite."""
    numbers = [float(v) for v in value] if isinstance(value, list | tuple) else [float(value)]
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"a measured value is a finite number or (middle, low, high), got {value}")
    return numbers[0] if len(numbers) == 1 else numbers


def _seeds(values) -> list[float]:
    """Return the values of single seeds as JSON has them; refuse what is not finite."""
    numbers = [float(v) for v in values]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"the value of a seed is a finite number, got {numbers}")
    return numbers
