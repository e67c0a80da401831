"""What a language model of a recipe reads: texts as its tokens, instructions, windows of both."""

import json
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from companion.data import Dataset, cache_dir, text

ANSWER = "\n\n### Answer\n"  # between an instruction and what the network has to say; ours


def folder(name: str) -> Path:
    """Return the folder of a network's weights and tokenizer."""
    if name == "smollm2":
        from companion.recipes.smollm import smollm2

        return smollm2()
    path = cache_dir() / name
    if not path.is_dir():
        raise FileNotFoundError(
            f"{path}: put the weights there, in the format of transformers: config.json, "
            "*.safetensors, tokenizer.json. Those of LLaMA are given on request by their makers"
        )
    return path


def characters(data: str) -> list:
    """Return the characters of Python's documentation and of another text."""
    return sorted({*text("pydoc").vocab, *text(data).vocab})


def encoded(found, vocab: list) -> Tensor:
    """Return a text as numbers of another vocabulary."""
    return torch.tensor([vocab.index(c) for c in found.vocab])[found.ids]


@cache
def tokens(base: str, data: str) -> Tensor:
    """Return a text as the base network reads it."""
    found = text(data)
    if base == "small":
        return encoded(found, characters(data))
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder(base))
    return torch.tensor(tokenizer(found.decode(found.ids), verbose=False)["input_ids"])


def windows(ids: Tensor, context: int) -> Dataset:
    """Return all windows that do not overlap, and the same one token later."""
    n = (len(ids) - 1) // context
    return Dataset(*(ids[i : i + n * context].view(n, context) for i in (0, 1)))


@cache
def instructions(base: str, context: int) -> tuple[Tensor, Tensor]:
    """Return Alpaca's instructions and answers, in random order; only answers have targets.

    Raises
    ------
    FileNotFoundError
        If alpaca/alpaca_data.json is not in the data folder.
    """
    from transformers import AutoTokenizer

    path = cache_dir() / "alpaca" / "alpaca_data.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: put the file of the repository stanford_alpaca there")
    tokenizer = AutoTokenizer.from_pretrained(folder(base))
    examples = json.loads(path.read_text(encoding="utf-8"))
    ids = torch.zeros(len(examples), context + 1, dtype=torch.int64)
    answers = torch.zeros(len(examples), context + 1, dtype=torch.bool)
    for i, example in enumerate(examples):
        asked = "\n\n".join(filter(None, (example["instruction"], example["input"]))) + ANSWER
        given = tokenizer(asked)["input_ids"]
        said = tokenizer(example["output"], add_special_tokens=False)["input_ids"]
        row = torch.tensor([*given, *said, tokenizer.eos_token_id])[: context + 1]
        ids[i, : len(row)] = row
        answers[i, len(given) : len(row)] = True
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))
    order = order[answers[order].any(1)]  # an instruction that fills the window teaches nothing
    ids, answers = ids[order], answers[order]
    return ids[:, :-1], ids[:, 1:].masked_fill(~answers[:, 1:], -100)
