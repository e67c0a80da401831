"""Losses, accuracies, and what they are on a whole data set."""

import reprlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.train.devices import fields, mode

BATCH = 1024  # samples at once where nothing is learned


def cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    """Mean of -log softmax(output)[y] in nats: logits (..., classes), int64 targets (...)."""
    return F.cross_entropy(output.flatten(0, -2), y.flatten())


def scalar(loss, value) -> Tensor:
    """Return what a loss gave; raise unless it is one real number as a tensor."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(
            f"loss: expected a scalar tensor of floating point, got {reprlib.repr(value)} ({kind})"
            f" from {getattr(loss, '__name__', loss)}"
        )
    if value.dim():
        raise ValueError(f"loss: expected a scalar, got shape {tuple(value.shape)}")
    return value


def count_correct(output, y: Tensor) -> Tensor | None:
    """How many targets have the largest logit; None where targets are no class numbers."""
    classes = isinstance(output, Tensor) and not y.is_floating_point()
    if not classes or output.shape[:-1] != y.shape or output.shape[-1] < 2:
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

    Raises
    ------
    TypeError, ValueError
        No data set, or an empty one; a loss that is no scalar tensor.

    Examples
    --------
    >>> from companion.data import digits
    >>> evaluate(lambda x: torch.zeros(len(x), 10), digits("test"))["loss"]  # log(10)
    2.302585...
    """
    x, y = fields(data)
    total, correct = 0.0, 0.0
    with torch.no_grad(), mode(model, training=False):
        for inputs, targets in zip(x.split(BATCH), y.split(BATCH), strict=True):
            output = model(inputs)
            total += scalar(loss, loss(output, targets)).double() * len(inputs)
            right = count_correct(output, targets)
            correct = None if right is None or correct is None else correct + right
    result = {"loss": float(total / len(x))}
    if correct is not None:
        result["accuracy"] = float(correct) / y.numel()
    return result
