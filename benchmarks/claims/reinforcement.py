"""What Taniguchi et al. (2024) claim about ADOPT in reinforcement learning."""

from benchmarks.claims import claim, grade, side
from companion import recipes
from companion.evidence import paired
from companion.recipes import report


@claim(
    id="adopt-rl",
    source="taniguchi2024",
    chapter="practice/06_reinforcement",
    where="Section 5",
    says="ADOPT is at least as good as Adam: reinforcement learning.",
    rule="Reproduced: the interval of the paired difference of the last returns, ADOPT − Adam, "
    "lies above 0. Not: otherwise.",
    summary=lambda raw: {"ADOPT − Adam": paired(raw["ADOPT"], raw["Adam"])},
    verdict=lambda m: grade(side(m["ADOPT − Adam"]) > 0),
    settings={
        "runs": "companion/results/practice-sac-halfcheetah.csv",
        "environment": "HalfCheetah-v4",
        "steps": 15_000,
        "hidden units": [128, 128],
        "lr": 3e-4,
        "distance from the paper": "15,000 steps where the full scale has a million, half its "
        "width, one of its two robots, few seeds; at best an agent creeps forward",
        "full scale": "python -m companion.recipes.mujoco sac-halfcheetah --scale full",
    },
    seeds=range(3),
)
def robot(settings, seeds):
    """Read the last returns of stored runs: soft actor-critic on a robot, nothing tuned."""
    runs = report.stored(recipes.experiment("sac-halfcheetah", "stored"))
    last = report.seeds(runs.table, "return").loc[list(seeds)]
    return {name: last[name].tolist() for name in last}
