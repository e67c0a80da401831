"""One rule for the practice part: is ADOPT better than its baseline, by the stored runs?

A row reads the last values of its runs, by measure and rule, seed by seed, and names what decides::

    @compares("Adam", {"loss in nats": -1}, id="adopt-llama", ...)  # -1: lower is better, 1: higher
    def adopt_llama(settings, seeds):
        '''Read the loss at the end of the stored runs.'''
        return last(stored("lora"), {"loss in nats": "test_loss"}, seeds)
"""

import pandas as pd

from benchmarks.claims import claim, grade, side
from companion import recipes
from companion.evidence import interval, paired
from companion.recipes import report


def compares(baseline: str, decides: dict[str, int], *, note: str = "", **fields):
    """Register a claim that ADOPT is better than a baseline; return its decorator, as `claim` does.

    Parameters
    ----------
    baseline : str
        Name of the rule that the paper compares ADOPT with.
    decides : dict of str to {-1, 1}
        Measures that the verdict is read from, and their better side.
    note : str
        What the entry says after the rule.
    """
    where = [f"{'below' if side < 0 else 'above'} 0 for {name}" for name, side in decides.items()]
    rule = (
        f"Reproduced: the interval of the difference ADOPT − {baseline}, paired over seeds, lies "
        f"wholly on ADOPT's better side, {' and '.join(where)}. Not reproduced: everything else."
    )
    return claim(
        source="taniguchi2024",
        where="Section 5",
        rule=f"{rule} {note}".strip(),
        summary=summary,
        verdict=lambda m: grade(
            all(side(m[f"{n}, ADOPT − {baseline}"]) == better for n, better in decides.items())
        ),
        **fields,
    )


def stored(recipe: str) -> pd.DataFrame:
    """Return the table of the stored runs of a recipe."""
    return report.stored(recipes.experiment(recipe, "stored")).table


def last(table: pd.DataFrame, measures: dict[str, str], seeds) -> dict[str, list[float]]:
    """Return the last values of reported runs, seed by seed, by measure and rule.

    Parameters
    ----------
    table : DataFrame
        Of `stored`, or a part of it.
    measures : dict of str to str
        Names, and the columns that they name.
    seeds : sequence of int
        In this order.
    """
    found = {}
    for name, column in measures.items():
        values = report.seeds(table, column).loc[list(seeds)]
        found |= {f"{name}, {rule}": values[rule].tolist() for rule in values}
    return found


def summary(raw: dict[str, list[float]]) -> dict:
    """Return each mean, and the difference of ADOPT to each other rule, with their intervals."""
    found = {name: interval(values) for name, values in raw.items()}
    for key in raw:
        name, _, rule = key.rpartition(", ")
        if rule != "ADOPT":
            found[f"{name}, ADOPT − {rule}"] = paired(raw[f"{name}, ADOPT"], raw[key])
    return found
