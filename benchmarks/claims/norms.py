"""What Xie, Mohamadi and Li (2024) claim of norms, smoothness and rates."""

import math

import torch

from benchmarks.claims import claim, grade
from companion.optim import Adam, SignSGD
from companion.problems import Quadratic
from companion.rotation import haar
from companion.simulate import trajectory

HERE = {"source": "xie2024", "chapter": "geometry/01_norms"}


def quadratics(d):
    """Return quadratics of largest eigenvalue one by name."""
    spread = torch.logspace(0, -3, d, dtype=torch.float64)
    flat = torch.ones(d, dtype=torch.float64)
    return {
        "axis-aligned": Quadratic(spread),
        "rotated": Quadratic(spread, haar(d, dtype=torch.float64).dense()),
        "equal eigenvalues": Quadratic(flat),
    }


def starts(f, d, seeds):
    """Return a start for each seed, (seeds, d), at which the loss is one."""
    rows = [
        torch.randn(d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    x = torch.stack(rows)
    return x / f.loss(x).sqrt().unsqueeze(-1)


@claim(
    id="linf-theorem-3-2",
    where="Theorem 3.2",
    says=(
        "SignGD on a function that is $H$-smooth in $\\ell_\\infty$: "
        "$\\min_t \\lVert \\nabla L \\rVert_1 \\le \\Delta/(\\eta T) + \\eta H/2$, and "
        "$\\sqrt{2H\\Delta/T}$ at the best $\\eta$."
    ),
    rule="Reproduced: the measured minimum is at most the bound, with the exact $H$, for every "
    "quadratic, step size, $T$ and start. (The proof is in the "
    "chapter.)",
    verdict=lambda m: grade(*(ratio <= 1 for ratio in m.values())),
    settings={"d": 12, "T": [10, 100, 1000], "step sizes": "41, from 1e-4 to 10", "first loss": 1},
    seeds=range(20),
    **HERE,
)
def theorem_3_2(settings, seeds):
    """Take the largest ratio of the measured minimum to the bound; H by all sign vectors."""
    d = settings["d"]
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * d)
    lrs = torch.logspace(-4, 1, 41, dtype=torch.float64).view(-1, 1, 1)
    measured = {}
    for name, f in quadratics(d).items():
        H = ((signs @ f.hessian) * signs).sum(-1).max()
        x = starts(f, d, seeds)
        worst = 0.0
        for T in settings["T"]:
            path = trajectory(SignSGD, f.grad, x, T - 1, lr=lrs)
            smallest = f.grad(path).abs().sum(-1).amin(0)
            bound = 1 / (lrs[..., 0] * T) + lrs[..., 0] * H / 2
            worst = max(worst, (smallest / bound).max().item())
        measured[f"largest ratio, {name}"] = worst
    return measured


@claim(
    id="linf-sign",
    where="Section 3.1",
    says="Adam with $\\beta_1 = \\beta_2 = 0$ is SignGD, normalised steepest descent in "
    "$\\ell_\\infty$.",
    rule="Reproduced: with $\\epsilon = 0$ the iterates of both differ by at most 1e-12 over 1000 "
    "steps. Not: otherwise.",
    verdict=lambda m: grade(*(distance <= 1e-12 for distance in m.values())),
    settings={"d": 12, "steps": 1000, "lr": 0.01},
    seeds=range(20),
    **HERE,
)
def sign(settings, seeds):
    """Run both on three quadratics and take the largest distance of a coordinate."""
    measured = {}
    for name, f in quadratics(settings["d"]).items():
        x, steps, lr = starts(f, settings["d"], seeds), settings["steps"], settings["lr"]
        ours = trajectory(Adam, f.grad, x, steps, lr=lr, betas=(0.0, 0.0), eps=0.0)
        other = trajectory(SignSGD, f.grad, x, steps, lr=lr)
        measured[f"largest distance, {name}"] = (ours - other).abs().max().item()
    return measured


@claim(
    id="linf-lemma-3-14",
    where="Lemma 3.14",
    says=(
        "For $v_t = \\beta_2 v_{t-1} + (1 - \\beta_2) g_t^2$: $\\sum_t g_t^2 / v_t \\le T + "
        "\\frac{\\beta_2}{1 - \\beta_2} \\ln(v_T / v_0)$."
    ),
    rule="Reproduced: left minus right side is at most zero (up to 1e-9 T) for every law of "
    "gradients, every $\\beta_2$ and every seed.",
    verdict=lambda m: grade(*(gap <= 1e-9 for gap in m.values())),
    settings={"T": 10_000, "beta2": [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999], "v0": [1e-8, 1.0, 1e4]},
    seeds=range(50),
    **HERE,
)
def lemma_3_14(settings, seeds):
    """Draw normal, Cauchy, growing and vanishing gradients; take the largest gap over T."""
    T, laws = settings["T"], {}
    generator = torch.Generator().manual_seed(seeds[0])
    shape, like = (T, len(seeds)), {"dtype": torch.float64, "generator": generator}
    normal = torch.randn(shape, **like)
    laws["normal"] = normal
    laws["Cauchy"] = torch.tan(math.pi * (torch.rand(shape, **like) - 0.5))
    scale = torch.logspace(-6, 6, T, dtype=torch.float64).unsqueeze(-1)
    laws["growing"], laws["vanishing"] = normal * scale, normal * scale.flip(0)
    measured = {}
    for name, g in laws.items():
        worst = -math.inf
        for beta2 in settings["beta2"]:
            for v0 in settings["v0"]:
                v = torch.full((len(seeds),), v0, dtype=torch.float64)
                total = torch.zeros_like(v)
                for row in g.square():
                    v = beta2 * v + (1 - beta2) * row
                    total += row / v
                right = T + beta2 / (1 - beta2) * (v / v0).log()
                worst = max(worst, ((total - right) / T).max().item())
        measured[f"largest gap / T, {name}"] = worst
    return measured


@claim(
    id="linf-theorem-3-5",
    where="Theorem 3.5",
    says=(
        "Adam with $\\beta_1 = 0$, $\\epsilon$ inside the root and coordinate-wise noise: a bound "
        "on $\\min_{T/2 < t \\le T} \\mathbb{E} \\lVert \\nabla L \\rVert_1$ by "
        "$\\sum_i H_i$, $\\sum_i \\sigma_i$, $\\Delta$ and $T$."
    ),
    rule="Reproduced: the measured minimum (mean over seeds) is at most the bound with its "
    "logarithmic term set to zero, hence at most the bound, in every setting and at every noise "
    "level.",
    verdict=lambda m: grade(*(ratio <= 1 for ratio in m.values())),
    settings={
        "d": 12,
        "T": 1000,
        "sigma": [0.0, 0.01, 0.1, 1.0],
        "1 - beta2": [0.5, 0.1, 0.01, 0.001],
        "step sizes": "25, from 1e-4 to 1",
        "v0": 1.0,
        "eps": 1e-8,
        "first loss": 1,
    },
    seeds=range(20),
    **HERE,
)
def theorem_3_5(settings, seeds):
    """Take the largest ratio of the measured minimum to that smaller bound; normal noise."""
    d, T, v0, eps = (settings[k] for k in ("d", "T", "v0", "eps"))
    like = {"dtype": torch.float64}
    lr = torch.logspace(-4, 0, 25, **like).view(-1, 1, 1, 1)
    beta2 = 1 - torch.tensor(settings["1 - beta2"], **like).view(-1, 1, 1)
    problems, measured = quadratics(d), {}
    for sigma in settings["sigma"]:
        worst = 0.0
        for f in problems.values():
            generator = torch.Generator().manual_seed(0)
            x = starts(f, d, seeds).expand(len(lr), len(beta2), -1, -1)
            v, smallest = (
                torch.full_like(x, v0),
                torch.full((len(lr), len(beta2)), math.inf, **like),
            )
            for t in range(1, T + 1):
                noise = torch.randn(len(seeds), d, generator=generator, **like)
                g = f.grad(x) + sigma * noise
                v = beta2 * v + (1 - beta2) * g.square()
                x = x - lr * g / (v + eps).sqrt()
                if t > T // 2:
                    size = f.grad(x).abs().sum(-1).mean(-1)
                    smallest = torch.minimum(smallest, size)
            H, noise = f.hessian.abs().sum(), d * sigma
            eta, b = lr[..., 0, 0], beta2[:, 0, 0]
            E = 2 / (eta * T) + eta * H + 2 * (1 - b).sqrt() * noise
            rest = 4 * b ** (T / 4) * d * v0**0.5 / (T * (1 - b)) + noise + d * eps**0.5
            bound = 2 * 2**0.5 * E + (2 * E * rest).sqrt()
            worst = max(worst, (smallest / bound).max().item())
        measured[f"largest ratio, $\\sigma_i = {sigma}$"] = worst
    return measured
