"""What Taniguchi et al. (2024) claim about ADOPT in reinforcement learning."""

from benchmarks.claims.practice import compares, last, stored


@compares(
    "Adam",
    {"return": 1},
    id="adopt-rl",
    chapter="practice/06_reinforcement",
    says="ADOPT is better than Adam: reinforcement learning.",
    settings={
        "runs": "companion/results/practice-sac-halfcheetah.csv",
        "environment": "HalfCheetah-v4",
        "steps": 25_000,
        "hidden units": [128, 128],
        "lr": 1e-3,
        "distance from the paper": "25,000 steps where the full scale has a million, half its "
        "width, one of its two robots, few seeds; a step size that Adam on another seed moved "
        "with, not tuned for either",
        "full scale": "python -m companion.recipes.mujoco sac-halfcheetah --scale full",
    },
    seeds=range(3),
)
def robot(settings, seeds):
    """Read the last returns of stored runs: soft actor-critic on a robot, nothing tuned."""
    return last(stored("sac-halfcheetah"), {"return": "return"}, seeds)
