"""What Taniguchi et al. (2024) claim of ADOPT on MNIST."""

from benchmarks.claims.practice import compares, last, stored


@compares(
    "Adam",
    {"errors in %": -1},
    note="The runs of the grid, and one of the three seeds, had been seen when the rule was "
    "written. It then had a third verdict, *partly*, for an interval that holds zero; that was "
    "dropped with the results known, so that all entries of this part have one rule.",
    id="adopt-mnist",
    chapter="practice/01_mnist",
    says="ADOPT is better than Adam: MNIST.",
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
        "full scale": "python -m companion.recipes mnist --scale full",
    },
    seeds=range(3),
)
def adopt_mnist(settings, seeds):
    """Train five rules with tuned step sizes on MNIST, and count the errors on the test images."""
    table = stored("mnist")
    return last(
        table.assign(errors=100 * (1 - table.test_accuracy)), {"errors in %": "errors"}, seeds
    )
