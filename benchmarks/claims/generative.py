"""What Taniguchi et al. (2024) claim about generative models, and about their clip."""

import math

import numpy as np

from benchmarks.claims import claim, grade, side
from benchmarks.claims.practice import compares, last, stored
from companion.evidence import interval

LARGEST = float(np.finfo(np.float32).max)  # what a value counts that is finite no longer


@compares(
    "Adamax",
    {"−ELBO in nats": -1},
    note="Step sizes are chosen on another seed and on images held back from training. Short runs "
    "on the digits had been seen when the rule was written.",
    id="adopt-nvae",
    chapter="practice/03_generative",
    says="ADOPT is better than Adam and its variants: a deep variational autoencoder (NVAE) on "
    "MNIST, where the paper's baseline is Adamax.",
    settings={
        "data": "MNIST, binarised anew in each batch",
        "network": "hierarchical VAE, 16 channels, 2 groups of latents",
        "steps": 400,
        "batch": 64,
        "runs": "companion/results/practice-vae.csv",
        "distance from the paper": "it trains an NVAE of 32 channels and 15 groups for 200 and 300 "
        "epochs: some hundred times as many steps",
        "full scale": "torchrun --nproc-per-node 2 -m companion.recipes vae --scale full "
        "--optimizer Adamax",
    },
    seeds=range(3),
)
def nvae(settings, seeds):
    """Read −ELBO on test images at the end of the stored runs, each rule at its own step size."""
    return last(stored("vae"), {"−ELBO in nats": "nelbo"}, seeds)


@claim(
    id="adopt-clip-vae",
    where="Algorithm 2 and the authors' code",
    says="The clip keeps ADOPT stable early in training, where a first gradient was zero or tiny.",
    rule="Reproduced: over seeds the highest −ELBO of a run is above ten times its first without "
    "the clip, and below twice with it (intervals of the logarithm to base 10). A value that is "
    "not finite counts as the largest of float32. A run on the digits had been seen when the rule "
    "was written.",
    summary=lambda raw: {name: interval(values) for name, values in raw.items()},
    verdict=lambda m: grade(
        side(m["ADOPT, no clip"], of=1) > 0, side(m["ADOPT"], of=math.log10(2)) < 0
    ),
    settings={
        "data": "MNIST, binarised anew in each batch",
        "network": "hierarchical VAE, 16 channels, 2 groups of latents, heads at zero",
        "steps": 100,
        "lr": 0.003,
        "runs": "companion/results/practice-vae-clip.csv",
        "full scale": "torchrun --nproc-per-node 2 -m companion.recipes vae-clip --scale full "
        "--optimizer 'ADOPT, no clip'",
    },
    seeds=range(5),
    source="taniguchi2024",
    chapter="practice/03_generative",
)
def clip(settings, seeds):
    """Read the highest −ELBO of each stored run over its first, as a logarithm to base 10."""
    table = stored("vae-clip")
    table = table.assign(nelbo=table.nelbo.fillna(LARGEST).clip(upper=LARGEST))
    runs = table.groupby(["optimizer", "seed"], sort=False).nelbo
    ratio = np.log10(runs.max() / runs.first())
    return {name: ratio[name].loc[list(seeds)].tolist() for name in ratio.index.unique(0)}
