"""What Taniguchi et al. (2024) claim about ADOPT, Adam and AMSGrad."""

from functools import partial

import torch
from scipy.stats import t as student

from benchmarks.claims import claim, grade, side
from benchmarks.toy import RULES, medians
from companion.optim import ADOPT, Adam
from companion.optim.variants import Decorrelated, Reordered
from companion.simulate import iterates
from companion.theory import adopt_smooth_rate, drift

HERE = {"source": "taniguchi2024", "chapter": "convergence/06_adopt"}
TOY = {"k": [10, 50], "β₂": [0.1, 0.5, 0.999], "β₁": 0.9, "lr": "0.01/√(1 + t/100)"}
MILLION = {**TOY, "steps": 1_000_000}


def toy(rule, settings, seeds):
    """Return quartiles of the last iterate by k and β2."""
    frame = medians(
        RULES[rule], settings["k"], settings["steps"], len(seeds), seeds[0], settings["β₂"]
    )
    return {
        f"$k = {row.k}$, $\\beta_2 = {row.beta2:g}$": (row.median, row.q25, row.q75)
        for row in frame.itertuples()
    }


def of(measured, k):
    """Return the medians of one k."""
    return [value[0] for name, value in measured.items() if name.startswith(f"$k = {k}$")]


@claim(
    id="adopt-toy",
    where="Toy problem",
    says=(
        "On the toy problem ($f(x) = x$ on $[-1, 1]$, gradient $k^2$ with probability $1/k$, else "
        "$-k$) ADOPT converges to the best point $-1$ for every $\\beta_2$, at $k = 10$ and "
        "$k = 50$."
    ),
    rule="Reproduced: for every $\\beta_2$ the median is below -.9 at $k = 10$ and the upper "
    "quartile is below 0 at $k = 50$.",
    verdict=lambda m: grade(
        *(x < -0.9 for x in of(m, 10)),
        *(high < 0 for name, (_, _, high) in m.items() if name.startswith("$k = 50$")),
    ),
    settings=MILLION,
    seeds=range(20),
    **HERE,
)
def adopt_toy(settings, seeds):
    """Run ADOPT without clip from zero; quartiles of the last iterate over seeds."""
    return toy("ADOPT", settings, seeds)


@claim(
    id="adopt-toy-adam",
    where="Toy problem",
    says=(
        "On the toy problem Adam fails for small $\\beta_2$; at $k = 50$ it does not reach the "
        "best point even with $\\beta_2 = 0.999$, though it does at $k = 10$."
    ),
    rule="Reproduced: the median is above .9 for $\\beta_2 \\le 0.5$ at both $k$, below -.9 for "
    "$\\beta_2 = 0.999$ at $k = 10$ and above 0 at $k = 50$.",
    verdict=lambda m: grade(
        *(x > 0.9 for k in (10, 50) for x in of(m, k)[:2]), of(m, 10)[2] < -0.9, of(m, 50)[2] > 0
    ),
    settings=MILLION,
    seeds=range(20),
    **HERE,
)
def adam_toy(settings, seeds):
    """Run Adam without bias correction from zero; quartiles of the last iterate over seeds.

    The table of a longer run had been seen when the rule was written.
    """
    return toy("Adam", settings, seeds)


@claim(
    id="adopt-toy-amsgrad",
    where="Toy problem",
    says=(
        "On the toy problem AMSGrad converges at $k = 10$ for every $\\beta_2$, and is very slow "
        "at $k = 50$."
    ),
    rule="Reproduced: the median is below -.9 for every $\\beta_2$ at $k = 10$ and above -.5 for "
    "every $\\beta_2$ at $k = 50$.",
    verdict=lambda m: grade(*(x < -0.9 for x in of(m, 10)), *(x > -0.5 for x in of(m, 50))),
    settings=MILLION,
    seeds=range(20),
    **HERE,
)
def amsgrad_toy(settings, seeds):
    """Run the paper's AMSGrad from zero; quartiles of the last iterate over seeds.

    The table of a longer run had been seen when the rule was written.
    """
    return toy("AMSGrad", settings, seeds)


@claim(
    id="adopt-two-changes",
    where="The two modifications",
    says=(
        "Without momentum it suffices to remove the current gradient from the second moment. With "
        "momentum this is not enough: the normalisation must come before the momentum as well."
    ),
    rule="Reproduced: on the toy with $k = 10$ and $\\beta_2 \\le 0.9$ the interval of the mean "
    "step lies on the right side of zero with both changes, and with the first alone at "
    "$\\beta_1 = 0$; it lies on the wrong side with either change alone at $\\beta_1 = 0.9$.",
    verdict=lambda m: grade(
        *(
            side(value) == (1 if name.startswith(("both", "first change, $\\beta_1 = 0$")) else -1)
            for name, value in m.items()
        )
    ),
    settings={"k": 10, "β₂": [0.1, 0.5, 0.9], "steps": 20_000},
    seeds=range(100),
    **HERE,
)
def two_changes(settings, seeds):
    """Measure the mean step to the left, in units of the step size, with its interval over seeds.

    Sums of the same draws serve as a control variate, which costs a degree of freedom.
    """
    reach = student.ppf(0.975, len(seeds) - 2)
    k, beta2 = settings["k"], torch.tensor(settings["β₂"], dtype=torch.float64)
    gradients = [float(k**2)] + [-float(k)] * (k - 1)
    both = partial(ADOPT, clip_lambda=None)
    cases = {
        "first change, $\\beta_1 = 0$": (Decorrelated, 0.0),
        "first change, $\\beta_1 = 0.9$": (Decorrelated, 0.9),
        "second change, $\\beta_1 = 0.9$": (Reordered, 0.9),
        "both, $\\beta_1 = 0.9$": (both, 0.9),
    }
    measured = {}
    for name, (rule, beta1) in cases.items():
        mean, error = drift(
            beta1,
            beta2,
            gradients,
            "iid",
            settings["steps"],
            len(seeds),
            optimizer=getattr(rule, "func", rule),
            seed=seeds[0],
            **getattr(rule, "keywords", {}),
        )
        for b, y, e in zip(settings["β₂"], mean.tolist(), error.tolist(), strict=True):
            measured[f"{name}, $\\beta_2 = {b:g}$"] = (y, y - reach * e, y + reach * e)
    return measured


def powers(rule, settings, seeds, noise, **options):
    """Return the power of T of the averaged squared gradient over the last decade, by β2.

    The interval is over halves of the seeds.
    """
    horizons = torch.logspace(2, settings["log10 T"], 7, dtype=torch.float64).round()
    lr = settings["α √T"] / horizons.sqrt()
    start = torch.full((len(horizons), 1, len(seeds), 1), 2.8, dtype=torch.float64)
    beta2 = torch.tensor(settings["β₂"], dtype=torch.float64).view(-1, 1, 1)
    walk = iterates(
        rule,
        lambda x, generator: x.sin() + noise(x.shape[-2:], generator),
        start,
        int(horizons[-1]) - 1,
        seed=seeds[0],
        lr=lr.view(-1, 1, 1, 1),
        beta2=beta2,
        **options,
    )
    total = 0.0
    for t, x in walk:
        size = x[..., 0].sin().abs() ** (4 / 3)  # (T, β2, seeds)
        parts = (size, *size.chunk(2, -1))
        value = torch.stack([part.mean(-1) ** 1.5 for part in parts])
        total = total + (t < horizons.view(-1, 1)) * value
    average = total / horizons.view(-1, 1)  # (3, T, β2)
    spacing = (settings["log10 T"] - 2) / 6
    last = -1 - round(1 / spacing)  # about a decade before the end
    power = (average[:, -1] / average[:, last]).log() / (horizons[-1] / horizons[last]).log()
    return average[0], horizons, power


def rare(shape, generator):
    """Return noise of mean zero: 6 with probability 1/4, else -2."""
    now = torch.rand(shape, generator=generator, dtype=torch.float64) < 0.25
    return torch.where(now, 6.0, -2.0).double()


def normal(shape, generator):
    """Return normal noise of standard deviation 3."""
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64)


def falls(measured, name):
    """Say whether the power of T is within -.5 ± .15."""
    return abs(measured[name][0] + 0.5) < 0.15


@claim(
    id="adopt-rate",
    where="Theorem on ADOPT",
    says=(
        "For smooth non-convex problems ADOPT converges at the rate $O(1/\\sqrt T)$ with any "
        "$\\beta_2$."
    ),
    rule="Reproduced: the averaged squared gradient falls with a power of $T$ within -.5 ± .15 "
    "over the last decade and stays below the bound that the chapter proves, for every "
    "$\\beta_2$, while Adam's power is above -.1 at $\\beta_2 = 0.1$.",
    verdict=lambda m: grade(
        *(falls(m, name) for name in m if name.startswith("ADOPT")),
        m["largest share of the bound"] < 1,
        m["Adam, $\\beta_2 = 0.1$"][0] > -0.1,
    ),
    settings={
        "f": "1 - cos x",
        "x₀": 2.8,
        "noise": "6 with probability 1/4, else -2",
        "β₁": 0.0,
        "β₂": [0.1, 0.5, 0.9, 0.99, 0.999],
        "α √T": 2 / 13**0.5,
        "log10 T": 4.5,
    },
    seeds=range(100),
    **HERE,
)
def rate(settings, seeds):
    """Fit the power of T of the averaged squared gradient; low and high are halves of the seeds."""
    options = {"beta1": 0.0}
    average, horizons, power = powers(ADOPT, settings, seeds, rare, clip_lambda=None, **options)
    bound = adopt_smooth_rate(horizons, G=13**0.5, L=1, gap=2, v_min=1).view(-1, 1)
    measured = {
        f"ADOPT, $\\beta_2 = {b:g}$": (p[0], *sorted(p[1:]))
        for b, p in zip(settings["β₂"], power.T.tolist(), strict=True)
    }
    measured["largest share of the bound"] = (average / bound).max().item()
    power = powers(Adam, {**settings, "β₂": [0.1]}, seeds, rare, **options)[2].T.tolist()[0]
    measured["Adam, $\\beta_2 = 0.1$"] = (power[0], *sorted(power[1:]))
    return measured


@claim(
    id="adopt-unbounded-noise",
    where="Abstract",
    says="The rate does not need that the gradient noise is bounded.",
    rule="Reproduced: with normal noise the averaged squared gradient falls with a power of $T$ "
    "within -.5 ± .15 over the last decade for every $\\beta_2$.",
    verdict=lambda m: grade(*(falls(m, name) for name in m)),
    settings={
        "f": "1 - cos x",
        "x₀": 2.8,
        "noise": "normal, standard deviation 3",
        "β₁": 0.9,
        "β₂": [0.1, 0.5, 0.9, 0.99, 0.999],
        "clip": "none",
        "α √T": 1.0,
        "log10 T": 4.5,
    },
    seeds=range(100),
    **HERE,
)
def unbounded_noise(settings, seeds):
    """Fit the power of T as for the rate, with noise that has no bound; ε is ADOPT's default."""
    power = powers(ADOPT, settings, seeds, normal, clip_lambda=None, beta1=0.9)[2]
    return {
        f"ADOPT, $\\beta_2 = {b:g}$": (p[0], *sorted(p[1:]))
        for b, p in zip(settings["β₂"], power.T.tolist(), strict=True)
    }
