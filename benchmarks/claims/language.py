"""What Taniguchi et al. (2024) claim about pretraining a language model."""

from benchmarks.claims.practice import compares, last, stored
from companion.recipes import language

STORED = language.STORED
LOSS, SPIKE = "loss in nats at {} windows a step", "spike in nats at {} windows a step"


@compares(
    "AdamW",
    dict.fromkeys([*map(LOSS.format, STORED.batches), SPIKE.format(min(STORED.batches))], -1),
    note="Losses are those on held-back text at the end. A spike is the largest rise of the "
    "training loss over its lowest value after the warm-up, in means over 4096 tokens. When the "
    "runs began the rule asked for losses that are not higher and a spike that is lower, and gave "
    "*partly* for two of the three, as it would here; while the last runs went on it gave way to "
    "the rule of all entries of this part.",
    id="adopt-gpt2",
    chapter="practice/04_language",
    says="ADOPT is better than AdamW: pretraining of GPT-2, where in small batches it is without "
    "the loss spikes that Adam has.",
    settings={
        "network": "GPT of 0.35 million parameters",
        "data": "tiny Shakespeare, a token a character",
        "tokens": STORED.tokens,
        "windows a step": list(STORED.batches),
        "lr": list(STORED.lrs),
        "runs": "companion/results/practice-gpt.csv",
        "distance from the paper": "its GPT-2 has 124 million parameters and learns "
        "OpenWebText; these runs have fewer steps than ADOPT's $\\beta_2$ remembers",
        "full scale": "python -m companion.recipes gpt --scale full --optimizer ADOPT",
    },
    seeds=STORED.seeds,
)
def pretraining(settings, seeds):
    """Read losses and spikes of the stored runs, step sizes chosen on another seed and text."""
    found = {}
    for batch, part in language.finals(stored("gpt"), STORED.warmup).groupby("batch"):
        measures = {LOSS.format(batch): "val_loss", SPIKE.format(batch): "spike"}
        found |= last(part, measures, seeds)
    return found
