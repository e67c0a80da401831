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
    one a row, that is an output. Other vectors and biases as Adam; normalisation layers one block.

    Parameters
    ----------
    n_heads : int
        Attention heads a layer, those of the queries.
    n_kv_heads : int, optional
        Heads of keys and values where queries share them (grouped or multi-query attention);
        default ``n_heads``.
    head_dim : int, optional
        Rows a head; default the number of inputs divided by ``n_heads``.
    transposed : tuple of str
        What the names of weights contain that are stored as (in, out), in lower case. For GPT-2's
        Conv1D: ``("c_attn", "c_proj", "c_fc")``.
    query, key, norm : tuple of str
        The same for queries, keys and normalisation layers.
    fused_qkv : tuple of str
        The same for one projection that stacks all queries, then all keys, then all values.

    Raises
    ------
    ValueError
        A projection whose number of outputs is not that of its heads, or whose name tells of a
        layout that is none of these.

    Examples
    --------
    Two heads of keys and values for four of queries, of width 2, in one projection:

    >>> labels = AdamMini(4, n_kv_heads=2)(torch.zeros(16, 8), "layers.0.qkv.weight")
    >>> labels[:, 0].tolist()
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9]
    """

    n_heads: int
    n_kv_heads: int | None = None
    head_dim: int | None = None
    transposed: tuple = ()
    query: tuple = ("q_proj", "wq", "query")
    key: tuple = ("k_proj", "wk", "key")
    norm: tuple = ("norm", "ln_")
    fused_qkv: tuple = ("c_attn", "qkv", "in_proj")

    def __post_init__(self):
        for field in ("n_heads", "n_kv_heads", "head_dim"):
            n = getattr(self, field)
            if (n is not None or field == "n_heads") and (type(n) is not int or n < 1):
                raise ValueError(f"AdamMini: {field} must be a whole number >= 1, got {n!r}")

    def __call__(self, p, name=None):
        if name is None:
            raise ValueError("AdamMini goes by names: pass model.named_parameters() as params")
        name = name.lower()
        if _contains(name, self.norm):
            return tensor(p)
        if p.dim() < 2:
            return elements(p)
        axis = int(_contains(name, self.transposed))  # of the outputs
        runs = self._runs(name, p, p.shape[axis], p.shape[1 - axis])
        if axis == 0 and len(runs) == 1:
            return runs[0][0]
        rows = [size for n, size in runs for _ in range(n)]
        label = torch.arange(len(rows), device=p.device)
        label = label.repeat_interleave(torch.tensor(rows, device=p.device))
        shape = [-1 if i == axis else 1 for i in range(p.dim())]
        return label.view(shape).expand(p.shape).contiguous()

    def _runs(self, name, p, outputs, inputs):
        """Return (number of blocks, rows of each) of the runs that the outputs fall into."""
        heads, shared = self.n_heads, self.n_kv_heads or self.n_heads
        rows = self.head_dim or inputs // heads
        if _contains(name, self.fused_qkv):
            runs = [(heads, rows), (shared, rows), (shared * rows, 1)]
        elif "kv" in name or "key_value" in name:
            raise ValueError(
                f"AdamMini: the name {name!r} does not say how keys and values are stacked; "
                "add it to fused_qkv, or pass a function of your own as partition"
            )
        elif _contains(name, self.query):
            runs = [(heads, rows)]
        elif _contains(name, self.key):
            runs = [(shared, rows)]
        else:
            return [(outputs, 1)]
        if sum(n * size for n, size in runs) != outputs:
            raise ValueError(
                f"AdamMini: {name!r} of shape {tuple(p.shape)} has {outputs} outputs, but "
                f"n_heads={heads}, n_kv_heads={shared} and head_dim={rows} make "
                f"{sum(n * size for n, size in runs)}; pass n_kv_heads where queries share keys, "
                "head_dim where a head is not inputs / n_heads wide, and the name in transposed "
                "where weights are stored as (in, out), as in GPT-2: c_attn, c_proj and c_fc"
            )
        return runs


def _contains(name, parts):
    return any(part in name for part in parts)


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


def divide(partition, p, name=None):
    """Return the blocks into which a partition divides a parameter, after a check that they fit."""
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
