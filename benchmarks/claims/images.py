"""What Taniguchi et al. (2024) claim of ADOPT on images, and what is asked about it there."""

from benchmarks.claims import claim, grade, side
from benchmarks.claims.practice import compares, last, stored, summary
from companion.evidence import interval, paired
from companion.recipes import image_grids, report

CHAPTER = "practice/02_images"
COMMAND = (
    "torchrun --nproc-per-node 8 -m companion.recipes {} --scale full --optimizer {} --lr 1e-3"
)
DATA = "CIFAR-10, JPEG copies, averaged to 16×16 pixels"
SEEN = (
    "The runs had been seen when this rule took the place of another, *the interval does not lie "
    "below 0*, so that all entries of this part have one."
)
ELSE = (
    "paired over seeds, lies below 0. Not reproduced: everything else. The runs had been seen when "
    "the rule was written."
)
RESNET = {
    "network": "ResNet-18, width 8",
    "data": DATA,
    "steps": 600,
    "batch": 32,
    "runs": "companion/results/practice-resnet.csv",
    "distance from the paper": "an eighth of the width, a quarter of the pixels, less than half "
    "an epoch; grid, schedule and batch are ours",
    "full scale": COMMAND.format("resnet", '"ADOPT, warm-up"'),
}


@compares(
    "Adam",
    {"accuracy without warm-up": 1, "accuracy with warm-up": 1},
    note=SEEN,
    id="adopt-cifar10",
    chapter=CHAPTER,
    says="ADOPT is better than Adam: CIFAR-10 with a ResNet-18.",
    settings=RESNET,
    seeds=range(3),
)
def cifar10(settings, seeds):
    """Train without and with a linear warm-up, and take the accuracy on 5,000 test images.

    Each variant chooses its step size on another seed, by the loss on images held back.
    """
    warm = ", warm-up"
    found = last(stored("resnet"), {"accuracy": "test_accuracy"}, seeds)
    names = {"without": "", "with": warm}
    return {
        f"accuracy {word} warm-up, {rule}": found[f"accuracy, {rule}{ending}"]
        for word, ending in names.items()
        for rule in ("Adam", "ADOPT")
    }


@compares(
    "AdamW",
    {"accuracy": 1},
    note=SEEN,
    id="adopt-imagenet",
    chapter=CHAPTER,
    says="ADOPT is better than Adam: ImageNet with a Swin transformer.",
    settings={
        "network": "Swin, 77,326 parameters, patches of 2, windows of 4",
        "data": DATA,
        "steps": 600,
        "batch": 32,
        "runs": "companion/results/practice-swin.csv",
        "distance from the paper": "another data set, 16 pixels a side against 224, a network of a "
        "360th of the size, less than half an epoch against 300",
        "full scale": COMMAND.format("swin", "ADOPT") + " --data FOLDER",
    },
    seeds=range(3),
)
def imagenet(settings, seeds):
    """Train a small Swin transformer on CIFAR-10, and take accuracy and loss on 5,000 test images.

    Each rule chooses its step size on another seed, by the loss on images held back. Both have
    decoupled weight decay.
    """
    measures = {"accuracy": "test_accuracy", "loss": "test_loss"}
    return last(stored("swin"), measures, seeds)


@claim(
    id="adopt-warmup",
    source="taniguchi2024",
    where="Issue 8 of the official code, by a user",
    chapter=CHAPTER,
    says="On CIFAR-10 a residual network learns far worse by ADOPT than by Adam, until the step "
    "size rises linearly at first.",
    rule="Reproduced: the interval of the difference in accuracy, paired over seeds, lies below 0 "
    "for ADOPT − Adam without a warm-up, and above 0 for ADOPT with a warm-up − without. Not "
    "reproduced: everything else. The runs had been seen when the rule was written.",
    summary=lambda raw: {
        **summary({f"accuracy, {name}": raw[name] for name in ("Adam", "ADOPT")}),
        "accuracy, ADOPT, with a warm-up − without": paired(raw["ADOPT, warm-up"], raw["ADOPT"]),
    },
    verdict=lambda m: grade(
        side(m["accuracy, ADOPT − Adam"]) < 0 < side(m["accuracy, ADOPT, with a warm-up − without"])
    ),
    settings=RESNET
    | {
        "distance from the report": "a ResNet-18 of width 8, fewer pixels and steps, other settings"
    },
    seeds=range(3),
)
def warmup(settings, seeds):
    """Train by each rule without a warm-up and by ADOPT with one, at step sizes of their own."""
    found = report.seeds(stored("resnet"), "test_accuracy").loc[list(seeds)]
    return {name: found[name].tolist() for name in ("Adam", "ADOPT", "ADOPT, warm-up")}


AROUND = RESNET | {
    "steps": 200,
    "centre": "each rule at its tuned step size, with warm-up, cosine and its default options",
    "runs": "companion/results/practice-sensitivity.csv",
}
QUESTIONS = {  # option: id, where, in words, its values, a variant
    "schedule": (
        "schedule",
        "Left open",
        "the schedule",
        ["warm-up and cosine", "cosine alone", "constant"],
        "constant",
    ),
    "β₁": ("beta1", "Left open", "$\\beta_1$", [0, 0.9, 0.99], "β₁ = 0"),
    "β₂": (
        "beta2",
        "Abstract: any choice of $\\beta_2$",
        "$\\beta_2$",
        [0.9, 0.99, 0.999, 0.9999],
        "β₂ = 0.9",
    ),
}


def spans(settings, seeds):
    """Change one option of a tuned run, and take the span of the test loss at the end.

    That is, of one seed's runs, the highest loss less the lowest over the values of the option.
    """
    table, option = stored("sensitivity"), settings["option"]
    return {
        f"span, {rule}": image_grids.spans(table, rule, option, "test_loss")[list(seeds)].tolist()
        for rule in ("Adam", "ADOPT")
    }


for option, (name, where, words, values, variant) in QUESTIONS.items():
    claim(
        id=f"adopt-cifar10-{name}",
        source="taniguchi2024",
        where=where,
        chapter=CHAPTER,
        says=f"On CIFAR-10 with a ResNet-18 ADOPT depends less on {words} than Adam.",
        rule=f"Reproduced: the interval of the difference of the spans, ADOPT − Adam, {ELSE}",
        summary=summary,
        verdict=lambda m: grade(side(m["span, ADOPT − Adam"]) < 0),
        settings=AROUND
        | {
            "option": option,
            "values": values,
            "full scale": COMMAND.format("sensitivity", f'"ADOPT, {variant}"'),
        },
        seeds=range(3),
    )(spans)


@claim(
    id="adopt-cifar10-clip",
    source="taniguchi2024",
    where="Left open",
    chapter=CHAPTER,
    says="On CIFAR-10 with a ResNet-18 ADOPT's clip lowers the loss.",
    rule=f"Reproduced: the interval of the difference of the test loss, with the clip − without, "
    f"{ELSE}",
    summary=lambda raw: {
        **{f"loss, {name}": interval(values) for name, values in raw.items()},
        "loss, with the clip − without": paired(raw["ADOPT"], raw["ADOPT, no clip"]),
    },
    verdict=lambda m: grade(side(m["loss, with the clip − without"]) < 0),
    settings=AROUND | {"full scale": COMMAND.format("sensitivity", '"ADOPT, no clip"')},
    seeds=range(3),
)
def clip(settings, seeds):
    """Train with the default clip and without one, at the step size tuned with it."""
    found = report.seeds(stored("sensitivity"), "test_loss").loc[list(seeds)]
    return {name: found[name].tolist() for name in ("ADOPT", "ADOPT, no clip")}


@claim(
    id="adopt-cifar10-phase",
    source="taniguchi2024",
    where="Abstract: any choice of $\\beta_2$",
    chapter=CHAPTER,
    says="On CIFAR-10 ADOPT trains with every $\\beta_2$, where Adam fails with small ones.",
    rule="Reproduced: the interval of the difference of the failed shares of a grid of "
    f"$(\\beta_1, \\beta_2)$, ADOPT − Adam, {ELSE}",
    summary=summary,
    verdict=lambda m: grade(side(m["failed share, ADOPT − Adam"]) < 0),
    settings={
        "network": "three convolutions, width 8",
        "data": DATA,
        "steps": 800,
        "batch": 32,
        "lr": "α/√(1 + t/100), one α a rule, tuned at its defaults",
        "β₁": list(image_grids.BETA1),
        "β₂": list(image_grids.BETA2),
        "runs": "companion/results/practice-phase.csv",
        "distance from the paper": "it has no such grid; a small network, a quarter of the pixels, "
        "half an epoch",
        "full scale": COMMAND.format("phase", '"ADOPT, β₁ = 0.9, β₂ = 0"'),
    },
    seeds=range(3),
)
def phase(settings, seeds):
    """Train at each pair of the grid; a run fails whose training loss ends no better than guessing.

    That is, less than 1 % below log 10, as a mean over the last quarter of the run.
    """
    table = stored("phase")
    return {
        f"failed share, {rule}": image_grids.failures(table, rule)[list(seeds)].tolist()
        for rule in ("Adam", "ADOPT")
    }
