"""What is claimed of the repairs of Adam."""

import torch

from benchmarks.claims import claim, grade
from companion.optim import AMSGrad
from companion.problems import ReddiMod3
from companion.simulate import trajectory


@claim(
    id="reddi-theorem-4",
    source="reddi2018",
    where="Theorem 4",
    chapter="convergence/02_repairs",
    says="AMSGrad's regret grows no faster than $\\sqrt T$ (up to a logarithm).",
    rule="Reproduced: the slope of log regret against log $T$ over the last two decades is at most "
    ".55 for every start on which the regret is positive.",
    verdict=lambda m: grade(*(slope < 0.55 for slope in m.values())),
    settings={"C": [3, 4, 10], "lr": "0.1/√t", "steps": 200_000, "beta": [0.0, "1/(1 + C²)"]},
)
def theorem_4(settings, seeds):
    """Run AMSGrad from +1 on C, -1, -1 and fit the slope of its regret against the best point.

    A bound from above: a smaller slope agrees with it.
    """
    measured = {}
    for C in settings["C"]:
        problem, x = ReddiMod3(C), torch.ones(1, 1, dtype=torch.float64)
        path = trajectory(
            AMSGrad, problem, x, settings["steps"], project=problem.project,
            lr=lambda t: 0.1 / t**0.5, beta1=0.0, beta2=1 / (1 + C**2), variant="paper",
        ).flatten()  # fmt: skip
        slopes = torch.full_like(path[:-1], -1.0)
        slopes[0::3] = C
        regret = (slopes * (path[:-1] + 1)).cumsum(0)[2::3]
        T = 3 * torch.arange(1, len(regret) + 1, dtype=torch.float64)
        late = torch.logspace(3.3, 5.3, 50, dtype=torch.float64).div(3).long().clamp(max=len(T) - 1)
        a, b = T[late].log(), regret[late].clamp(min=1e-12).log()
        a = a - a.mean()
        measured[f"slope, $C = {C}$"] = float((a * b).sum() / a.square().sum())
    return measured
