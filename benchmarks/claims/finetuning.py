"""What Taniguchi et al. (2024) claim about ADOPT and the fine-tuning of language models."""

from benchmarks.claims.practice import compares, last, stored


@compares(
    "Adam",
    {"loss in nats a token": -1},
    note="Step sizes are chosen on another seed and another part of the text.",
    id="adopt-llama",
    chapter="practice/05_finetuning",
    says="ADOPT is better than Adam: fine-tuning of a large language model.",
    settings={
        "network": "SmolLM2-135M-Instruct, from 4-bit weights",
        "tuned": "by LoRA of rank 8 on queries and values",
        "data": "tiny Shakespeare",
        "steps": 24,
        "tokens a step": 96,
        "runs": "companion/results/practice-lora.csv",
        "distance from the paper": "it tunes all weights of LLaMA-7B on 52,002 instructions, and "
        "measures by MMLU, which the four-choice test on held-out text does not replace",
        "full scale": "torchrun --nproc-per-node 4 -m companion.recipes llama --scale full "
        "--optimizer ADOPT",
    },
    seeds=range(3),
)
def adopt_llama(settings, seeds):
    """Read loss and four-choice share on test text at the end of the stored runs."""
    measures = {"loss in nats a token": "test_loss", "four-choice share": "choice"}
    return last(stored("lora"), measures, seeds)
