"""What Taniguchi et al. (2024) claim about ADOPT and the fine-tuning of language models."""

from benchmarks.claims import claim, grade, side
from companion import recipes
from companion.evidence import interval, paired
from companion.recipes import report, tuning


@claim(
    id="adopt-llama",
    where="Section 5",
    says="ADOPT is at least as good as Adam: fine-tuning of a large language model.",
    rule="Reproduced: over seeds the interval of the difference of the loss on test text at the "
    "end, in nats a token, ADOPT less Adam, lies below 0, and else not. Step sizes are chosen on "
    "another seed and another part of the text.",
    summary=lambda raw: {
        **{name: interval(values) for name, values in raw.items()},
        "ADOPT − Adam": paired(raw["ADOPT"], raw["Adam"]),
        "four-choice, ADOPT − Adam": paired(raw["four-choice, ADOPT"], raw["four-choice, Adam"]),
    },
    verdict=lambda m: grade(side(m["ADOPT − Adam"]) < 0),
    settings={
        "network": "SmolLM2-135M-Instruct, from 4-bit weights",
        "tuned": "by LoRA of rank 8 on queries and values",
        "data": "tiny Shakespeare",
        "steps": 24,
        "tokens a step": 96,
        "paper's": "LLaMA-7B, all weights, 52,002 instructions, measured by MMLU, which the "
        "four-choice test on held-out text does not replace",
        "full scale": "torchrun --nproc-per-node 4 -m companion.recipes llama --scale full "
        "--optimizer ADOPT",
    },
    seeds=range(3),
    source="taniguchi2024",
    chapter="practice/05_finetuning",
)
def adopt_llama(settings, seeds):
    """Read loss and four-choice share at the end of the stored runs, at the chosen step sizes."""
    table = report.stored(recipes.experiment("lora", "stored")).table
    last = tuning.final(table).set_index(["optimizer", "seed"])
    raw = {}
    for column, prefix in (("test_loss", ""), ("choice", "four-choice, ")):
        for name in ("Adam", "ADOPT"):
            raw[prefix + name] = last[column][name].loc[list(seeds)].tolist()
    return raw
