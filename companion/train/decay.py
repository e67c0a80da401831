"""Which parameters weight decay pulls to zero."""

from torch import nn


def decay_groups(model: nn.Module, weight_decay: float, free: tuple = ()) -> list[dict]:
    """Return two parameter groups: matrices and larger tensors, which decay, and the rest.

    Biases and the gains of normalisations have one dimension: they choose a scale or an offset, of
    which zero is no better value than others, and do not decay.

    Parameters
    ----------
    model : Module
        Each parameter comes in exactly one group, one that is shared too; frozen ones in none.
    weight_decay : float
        Of the first group.
    free : tuple of str
        Ends of the names of matrices that do not decay either.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    >>> [(len(g["params"]), g["weight_decay"]) for g in decay_groups(model, 0.1)]
    [(1, 0.1), (3, 0.0)]
    """
    groups = [{"params": [], "weight_decay": weight_decay}, {"params": [], "weight_decay": 0.0}]
    for name, p in model.named_parameters():
        if p.requires_grad:
            groups[p.dim() < 2 or name.endswith(free)]["params"].append(p)
    return groups
