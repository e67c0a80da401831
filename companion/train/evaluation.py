"""Losses, accuracies, and what they are on a whole data set."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH = 1024  # samples at once where nothing is learned


def cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    """Mean of -log softmax(output)[y] in nats: logits (..., classes), int64 targets (...)."""
    return F.cross_entropy(output.flatten(0, -2), y.flatten())


def count_correct(output: Tensor, y: Tensor) -> Tensor | None:
    """How many targets have the largest logit; None where targets are no class numbers."""
    if y.is_floating_point() or output.shape[:-1] != y.shape:
        return None
    return (output.argmax(-1) == y).sum()


def evaluate(model: nn.Module, data, loss=cross_entropy) -> dict[str, float]:
    """Return the mean loss, and the accuracy if there is one, of a model on a whole data set.

    Parameters
    ----------
    model : Module
        Put in evaluation mode, and back.
    data : Dataset
        On the model's device. It goes through in batches of 1,024 samples.
    loss : callable
        As for `fit`.

    Returns
    -------
    dict
        ``loss`` and, where y holds class numbers, ``accuracy``.

    Examples
    --------
    >>> from companion.data import digits
    >>> evaluate(lambda x: torch.zeros(len(x), 10), digits("test"))["loss"]  # log(10)
    2.302585...
    """
    training = getattr(model, "training", None)
    if training:
        model.eval()
    total, correct, n = 0.0, 0.0, len(data.x)
    with torch.no_grad():
        for x, y in zip(*(z.split(BATCH) for z in (data.x, data.y)), strict=True):
            output = model(x)
            total += loss(output, y).double() * len(x)
            right = count_correct(output, y)
            correct = None if right is None else correct + right
    if training:
        model.train()
    result = {"loss": float(total / n)}
    if correct is not None:
        result["accuracy"] = float(correct) / data.y.numel()
    return result
