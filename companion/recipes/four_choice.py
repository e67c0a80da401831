"""A test of reading: which of four continuations a language model finds most likely.

It stands where the ADOPT paper has MMLU, a test with four answers a question, and is not MMLU: the
questions are passages of a held-out text, and the wrong answers come from other places of it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def questions(ids: Tensor, count: int, context: int, length: int, seed: int = 0) -> Tensor:
    """Return questions from a text, the right continuation first.

    Parameters
    ----------
    ids : Tensor, shape (n,)
        Tokens of the text.
    count : int
        Questions. Their passages do not overlap.
    context, length : int
        Tokens that are given, and tokens of a continuation.
    seed : int
        Of the passages and of the wrong continuations, which come from other passages.

    Returns
    -------
    Tensor, shape (count, 4, context + length)

    Raises
    ------
    ValueError
        If the text is too short for so many passages.

    Examples
    --------
    >>> made = questions(torch.arange(40), count=4, context=4, length=2)
    >>> made.shape, (made[:, 0].diff() == 1).all().item(), len(made[0, :, 5].unique())
    (torch.Size([4, 4, 6]), True, 4)
    """
    size = context + length
    if len(ids) < max(count, 4) * size:
        raise ValueError(
            f"ids: {len(ids)} tokens; {count} questions of {size} need {max(count, 4) * size}"
        )
    generator = torch.Generator().manual_seed(seed)
    passages = ids[: len(ids) // size * size].view(-1, size)
    rows = []
    for place in torch.randperm(len(passages), generator=generator)[:count].tolist():
        others = torch.randperm(len(passages) - 1, generator=generator)[:3]
        others = others + (others >= place)  # any passage but this one
        ends = torch.cat([passages[place, context:][None], passages[others, context:]])
        rows.append(torch.cat([passages[place, :context].expand(4, -1), ends], 1))
    return torch.stack(rows)


@torch.no_grad()
def accuracy(model, asked: Tensor, length: int, batch: int = 8) -> float:
    r"""Return the share of questions whose right continuation has the highest likelihood.

    .. math:: \log p(y \mid x) = \sum_{i=1}^{\ell} \log p(y_i \mid x, y_1, \dots, y_{i-1})

    Parameters
    ----------
    model : Module
        Token numbers (B, T) to logits (B, T, V).
    asked : Tensor, shape (count, 4, T)
        Of `questions`.
    length : int
        Tokens of a continuation, ℓ.
    batch : int
        Questions at once.

    Returns
    -------
    float
        0.25 on average for a model that guesses.
    """
    right = 0
    for part in asked.split(batch):
        rows = part.flatten(0, 1)  # (4 batch, T)
        logits = model(rows[:, :-1])[:, -length:]  # (4 batch, ℓ, V)
        lost = F.cross_entropy(logits.transpose(1, 2).float(), rows[:, -length:], reduction="none")
        right += int((lost.sum(1).view(-1, 4).argmin(1) == 0).sum())
    return right / len(asked)
