"""Partitions of a parameter into blocks that share one second moment, for `BlockwiseAdam`.

A partition is a function ``(p, name) -> blocks``: the number of equal contiguous blocks of
``p.flatten()``, or a tensor of labels. Complex parameters count as pairs of reals.
"""

from dataclasses import dataclass

import torch


def tensor(p, name=None):
    """One block: the whole tensor, as in Adalayer (Zhao et al., 2024)."""
    return 1


def rows(p, name=None):
    """One block for each index of the first axis: an output neuron, a token of an embedding."""
    return p.shape[0] if p.dim() else 1


def elements(p, name=None):
    """One block for each entry: BlockwiseAdam is then Adam."""
    return 2 * p.numel() if p.is_complex() else p.numel()


@dataclass(frozen=True)
class heads:
    """One block for each attention head of a projection with ``n`` heads along its first axis.

    Parameters
    ----------
    n : int
        Number of heads; must divide the length of the first axis.
    """

    n: int

    def __call__(self, p, name=None):
        if self.n < 1 or not p.dim() or p.shape[0] % self.n:
            raise ValueError(
                f"heads: n={self.n} must divide the first axis of shape {tuple(p.shape)}"
            )
        return self.n


adalayer = tensor


@dataclass(frozen=True)
class AdamMini:
    """Adam-mini's partition of a transformer (Zhang et al., 2024), by the names of its parameters.

    Queries and keys: one block a head. Embedding, output, values, attention projection and MLP:
    one a row. Other vectors and biases as Adam; normalisation layers one block each.

    Parameters
    ----------
    n_heads : int
        Attention heads a layer.
    query_key, norm : tuple of str
        What the names of such parameters contain, in lower case.
    fused_qkv : tuple of str
        The same for one projection that stacks queries, keys and values along its first axis.
    """

    n_heads: int
    query_key: tuple = ("q_proj", "k_proj", "wq", "wk", "query", "key")
    norm: tuple = ("norm", "ln_")
    fused_qkv: tuple = ("c_attn", "qkv", "in_proj")

    def __call__(self, p, name=None):
        if name is None:
            raise ValueError("AdamMini goes by names: pass model.named_parameters() as params")
        name = name.lower()
        if any(key in name for key in self.norm):
            return tensor(p)
        if p.dim() < 2:
            return elements(p)
        if any(key in name for key in self.fused_qkv):
            return self._stacked(p)
        if any(key in name for key in self.query_key):
            return heads(self.n_heads)(p)
        return rows(p)

    def _stacked(self, p):
        """Label q and k by head and v by row."""
        third, rest = divmod(p.shape[0], 3)
        if rest or self.n_heads < 1 or third % self.n_heads:
            raise ValueError(
                f"AdamMini: first axis of shape {tuple(p.shape)} is not 3 × {self.n_heads} heads"
            )
        row = torch.arange(p.shape[0], device=p.device)
        head = row // (third // self.n_heads)
        label = torch.where(row < 2 * third, head, row - 2 * third + 2 * self.n_heads)
        return label.view(-1, *[1] * (p.dim() - 1)).expand(p.shape).contiguous()


NAMED = {"tensor": tensor, "rows": rows, "elements": elements, "adalayer": adalayer}


def resolve(partition):
    """Return the function that a partition names, or the function itself."""
    if callable(partition):
        return partition
    if not isinstance(partition, str) or partition not in NAMED:
        raise ValueError(
            f"partition must be one of {list(NAMED)} or a function (p, name) -> blocks, "
            f"got {partition!r}"
        )
    return NAMED[partition]


def blocks(partition, p, name=None):
    """Return a parameter's blocks, after a check that they fit it."""
    numel = 2 * p.numel() if p.is_complex() else p.numel()
    if numel == 0:
        return 1
    result = partition(p, name)
    if isinstance(result, int) and not isinstance(result, bool):
        if result < 1 or numel % result:
            raise ValueError(
                f"partition: {result} blocks do not divide the {numel} entries of {name!r}"
            )
        return result
    if isinstance(result, torch.Tensor) and result.dtype == torch.int64:
        if result.shape != p.shape or int(result.min()) < 0:
            raise ValueError(
                f"partition: labels must be >= 0 and of shape {tuple(p.shape)}, "
                f"got shape {tuple(result.shape)}"
            )
        # Both parts of a complex entry belong to the entry's block.
        return torch.stack((result, result), -1) if p.is_complex() else result
    raise TypeError(f"partition must return an int or an int64 tensor, got {result!r}")
