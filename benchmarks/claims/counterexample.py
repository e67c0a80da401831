"""What Reddi, Kale and Kumar (2018) claim about Adam."""

import torch

from benchmarks.claims import claim, grade, middle
from companion import simulate
from companion.optim import Adam, AMSGrad
from companion.problems import Reddi1010, ReddiMod3, ReddiStochastic
from companion.theory import cyclic_drift

HERE = {"source": "reddi2018", "chapter": "convergence/01_counterexample"}
CPU = torch.float64


def end(optimizer, problem, steps, seeds, start=0.0, **hyper):
    """Return the quartiles over seeds of the last iterate: (median, lower, upper)."""
    problem.reset()
    x = simulate.run(
        optimizer,
        problem,
        torch.full((1,), start, dtype=CPU),
        steps,
        seeds=len(seeds),
        seed=seeds[0],
        project=problem.interval,
        **hyper,
    ).x.flatten()
    lower, median, upper = torch.quantile(x, torch.tensor([0.25, 0.5, 0.75], dtype=CPU)).tolist()
    return median, lower, upper


@claim(
    id="reddi-theorem-1",
    where="Theorem 1",
    says=(
        "On the gradients $C, -1, -1$ in turn, with $\\beta_1 = 0$ and "
        "$\\beta_2 = 1/(1 + C^2)$, Adam ends at $x = +1$, the worst point of $[-1, 1]$."
    ),
    rule="Reproduced: from every start and for every $C$ the last iterate is above .99.",
    verdict=lambda m: grade(*(x > 0.99 for x in m.values())),
    settings={"C": [3, 4, 10], "x0": [-1, 0, 1], "lr": "0.1/√t", "steps": 20_000},
    **HERE,
)
def theorem_1(settings, seeds):
    """Run Adam with ε = 0, projected after each step, and read the last iterate."""
    return {
        f"$C = {C}$, $x_0 = {x0}$": end(
            Adam,
            ReddiMod3(C),
            settings["steps"],
            (0,),
            start=float(x0),
            lr=lambda t: 0.1 / t**0.5,
            beta1=0.0,
            beta2=1 / (1 + C**2),
            eps=0.0,
        )[0]
        for C in settings["C"]
        for x0 in settings["x0"]
    }


@claim(
    id="reddi-theorem-2",
    where="Theorem 2",
    says=(
        "For any constant $\\beta_1 < \\sqrt{\\beta_2}$ there is a convex problem on which Adam "
        "does not converge to the best point."
    ),
    rule="Reproduced: for each pair $(\\beta_1, \\beta_2)$ a problem with one large gradient in "
    "$n$ is found whose exact drift points to the worst point.",
    verdict=lambda m: grade(*(n > 0 for n in m.values())),
    settings={
        "pairs": [[0.0, 0.5], [0.0, 0.999], [0.5, 0.9], [0.9, 0.99], [0.9, 0.999], [0.95, 0.9999]],
        "large gradient": "n",
        "others": -1,
        "n up to": 2000,
    },
    **HERE,
)
def theorem_2(settings, seeds):
    """Find the smallest period n of gradients n, -1, …, -1 whose exact cyclic drift is wrong.

    Every n from 2 on is tried. Zero stands for none found.
    """
    sizes = range(2, settings["n up to"] + 1)
    return {
        f"$n$ for $\\beta$ = ({beta1}, {beta2})": next(
            (n for n in sizes if cyclic_drift(beta1, beta2, n) < 0), 0
        )
        for beta1, beta2 in settings["pairs"]
    }


@claim(
    id="reddi-theorem-3",
    where="Theorem 3",
    says=(
        "There is a stochastic convex problem on which Adam with any fixed "
        "$\\beta_1 < \\sqrt{\\beta_2}$ does not converge to the best point."
    ),
    rule="Reproduced: the upper and lower quartiles of Adam's last iterate are above .9 for every "
    "pair.",
    verdict=lambda m: grade(*(low > 0.9 for _, low, _ in m.values())),
    settings={"C": 10, "δ": 0.1, "pairs": [[0.0, 0.5], [0.9, 0.9]], "lr": "0.1/√t",
              "steps": 200_000},
    seeds=range(20),
    **HERE,
)  # fmt: skip
def theorem_3(settings, seeds):
    """Run Adam on gradients C with probability (1 + δ)/(C + 1) and -1 otherwise, from zero.

    Values are quartiles of the last iterate over seeds; the best point is -1.
    """
    return {
        f"$\\beta$ = ({beta1}, {beta2})": end(
            Adam,
            ReddiStochastic(float(settings["C"]), settings["δ"]),
            settings["steps"],
            seeds,
            lr=lambda t: 0.1 / t**0.5,
            beta1=beta1,
            beta2=beta2,
        )
        for beta1, beta2 in settings["pairs"]
    }


@claim(
    id="reddi-figure-online",
    where="Section 5, the online example",
    says=(
        "With gradients 1010 once in 101 steps and $-10$ otherwise, and $\\beta = (.9, .99)$, Adam "
        "goes to $+1$ and AMSGrad to $-1$."
    ),
    rule="Reproduced: at the end Adam is above .9 and AMSGrad below $-.9$.",
    verdict=lambda m: grade(middle(m["Adam"]) > 0.9, middle(m["AMSGrad"]) < -0.9),
    settings={"lr": "0.5/√t", "x0": 0, "steps": 200_000, "beta": [0.9, 0.99]},
    **HERE,
)
def online(settings, seeds):
    """Run both from zero, projected. The step size of the figure is not known to us."""
    return _both("cyclic", settings, (0,))


@claim(
    id="reddi-figure-stochastic",
    where="Section 5, the stochastic example",
    says=(
        "With gradients 1010 with probability .01 and $-10$ otherwise Adam goes to $+1$ and "
        "AMSGrad to $-1$."
    ),
    rule="Reproduced: over seeds Adam's median is above .9 and AMSGrad's below $-.9$.",
    verdict=lambda m: grade(middle(m["Adam"]) > 0.9, middle(m["AMSGrad"]) < -0.9),
    settings={"lr": "0.5/√t", "x0": 0, "steps": 1_000_000, "beta": [0.9, 0.99]},
    seeds=range(20),
    **HERE,
)
def stochastic(settings, seeds):
    """Run both from zero; values are quartiles of the last iterate over seeds.

    The step size of the figure is not known to us.
    """
    return _both("iid", settings, seeds)


def _both(order, settings, seeds):
    beta1, beta2 = settings["beta"]
    return {
        optimizer.__name__: end(
            optimizer,
            Reddi1010(order),
            settings["steps"],
            seeds,
            lr=lambda t: 0.5 / t**0.5,
            beta1=beta1,
            beta2=beta2,
        )
        for optimizer in (Adam, AMSGrad)
    }


@claim(
    id="reddi-theorem-6",
    where="Theorem 6",
    says="A positive $\\epsilon$ does not rescue Adam: for each some problem misleads it.",
    rule="Reproduced: for every $\\epsilon$ Adam ends above .99.",
    verdict=lambda m: grade(*(x > 0.99 for x in m.values())),
    settings={"C": 10, "ε": [1e-8, 1e-3, 1e-1], "lr": "0.1/√t", "steps": 20_000},
    **HERE,
)
def theorem_6(settings, seeds):
    """Run Adam with each ε on the three-line problem from zero, β1 = 0 and β2 = 1/(1 + C²)."""
    C = settings["C"]
    return {
        f"$\\epsilon$ = {eps:g}": end(
            Adam,
            ReddiMod3(C),
            settings["steps"],
            (0,),
            lr=lambda t: 0.1 / t**0.5,
            beta1=0.0,
            beta2=1 / (1 + C**2),
            eps=eps,
        )[0]
        for eps in settings["ε"]
    }
