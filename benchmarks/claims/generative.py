"""What Taniguchi et al. (2024) claim about generative models, and about their clip."""

import math

import numpy as np

from benchmarks.claims import claim, grade, side
from companion import recipes
from companion.evidence import interval, paired
from companion.recipes import report

HERE = {"source": "taniguchi2024", "chapter": "practice/03_generative"}
LARGEST = float(np.finfo(np.float32).max)  # what a value counts that is finite no longer


@claim(
    id="adopt-nvae",
    where="Section 5",
    says="ADOPT is at least as good as Adam and its variants: a deep variational autoencoder "
    "(NVAE) on MNIST, where the paper's baseline is Adamax.",
    rule="Reproduced: over seeds the difference of −ELBO on test images at the end, in nats, ADOPT "
    "less Adamax, lies below 0, and else not. Step sizes are chosen on another seed and on "
    "images held back from training. Short runs on the digits had been seen when the rule was "
    "written.",
    summary=lambda raw: {
        **{name: interval(values) for name, values in raw.items()},
        "ADOPT − Adamax": paired(raw["ADOPT"], raw["Adamax"]),
        "ADOPT − Adam": paired(raw["ADOPT"], raw["Adam"]),
    },
    verdict=lambda m: grade(side(m["ADOPT − Adamax"]) < 0),
    settings={
        "data": "MNIST, binarised anew in each batch",
        "network": "hierarchical VAE, 16 channels, 2 groups of latents",
        "steps": 400,
        "batch": 64,
        "paper's": "NVAE, 32 channels, 15 groups, 200 and 300 epochs: some hundred times as many "
        "steps",
        "full scale": "torchrun --nproc-per-node 2 -m companion.recipes vae --scale full "
        "--optimizer Adamax",
    },
    seeds=range(3),
    **HERE,
)
def nvae(settings, seeds):
    """Read −ELBO on test images at the end of the stored runs, each rule at its own step size."""
    values = report.seeds(report.stored(recipes.experiment("vae", "stored")).table, "nelbo")
    return {name: values.loc[list(seeds), name].tolist() for name in values}


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
        "full scale": "torchrun --nproc-per-node 2 -m companion.recipes vae-clip --scale full "
        "--optimizer 'ADOPT, no clip'",
    },
    seeds=range(5),
    **HERE,
)
def clip(settings, seeds):
    """Read the highest −ELBO of each stored run over its first, as a logarithm to base 10."""
    table = report.stored(recipes.experiment("vae-clip", "stored")).table
    table = table.assign(nelbo=table.nelbo.fillna(LARGEST).clip(upper=LARGEST))
    runs = table.groupby(["optimizer", "seed"], sort=False).nelbo
    ratio = np.log10(runs.max() / runs.first())
    return {name: ratio[name].loc[list(seeds)].tolist() for name in ratio.index.unique(0)}
