"""What Taniguchi et al. (2024) claim of ADOPT on MNIST."""

from benchmarks.claims import NOT, PARTLY, REPRODUCED, claim, side
from companion import recipes
from companion.evidence import interval, paired
from companion.recipes import report

RULES = ("Adam", "AdamW", "AMSGrad", "AdaShift", "ADOPT")


@claim(
    id="adopt-mnist",
    source="taniguchi2024",
    where="Section 5",
    chapter="practice/01_mnist",
    says="ADOPT is at least as good as Adam: MNIST.",
    rule="Of the test errors after the last step, the interval of ADOPT − Adam, paired over seeds, "
    "decides. Reproduced: it lies below zero. Partly: it holds zero. Not: it lies above.",
    verdict=lambda m: {-1: REPRODUCED, 0: PARTLY, 1: NOT}[side(m["errors, %, ADOPT − Adam"])],
    summary=lambda raw: (
        {f"errors, %, {rule}": interval(values) for rule, values in raw.items()}
        | {
            f"errors, %, ADOPT − {rule}": paired(raw["ADOPT"], raw[rule])
            for rule in raw
            if rule != "ADOPT"
        }
    ),
    settings={
        "data": "MNIST, 60 000 images to learn, 10 000 to test",
        "network": "784-784-10, ReLU",
        "steps": 10_000,
        "batch": 128,
        "lr": "α/√t, α the best of 1, .1, .01 and .001",
        "tuned on": "seed 1000, with the last 10 000 training images held back",
        "weight decay": 1e-4,
        "runs": "companion/results/practice-mnist.csv",
        "distance from the paper": "its three trials; width, batch, schedule and grid are ours",
        "full-scale command": "python -m companion.recipes mnist --scale full",
    },
    seeds=range(3),
)
def adopt_mnist(settings, seeds):
    """Train five rules with tuned step sizes on MNIST, and count the errors on the test images.

    The runs of the grid, and one of the three seeds, had been seen when the rule was written.
    """
    table = report.stored(recipes.experiment("mnist", "stored")).table
    errors = report.seeds(table.assign(errors=100 * (1 - table.test_accuracy)), "errors")
    return {rule: errors.loc[list(seeds), rule].tolist() for rule in RULES}
