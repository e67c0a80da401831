"""Which parameters weight decay pulls to zero."""

from torch import nn


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Return two parameter groups: matrices and larger tensors, which decay, and the rest.

    Biases and the gains of normalisations have one dimension: they choose a scale or an offset, of
    which zero is no better value than others, and do not decay.

    Parameters
    ----------
    model : Module
        Each parameter comes in exactly one group, one that is shared too; frozen ones in none.
    weight_decay : float
        Of the first group.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    >>> [(len(g["params"]), g["weight_decay"]) for g in decay_groups(model, 0.1)]
    [(1, 0.1), (3, 0.0)]
    """
    learned = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in learned if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in learned if p.dim() < 2], "weight_decay": 0.0},
    ]
