"""A GPT: the decoder-only transformer, in the form of GPT-2."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from companion.arguments import whole


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a `GPT`.

    Attributes
    ----------
    vocab : int
        Number of tokens, V.
    block : int
        Longest context, in tokens.
    layers, heads, width : int
        Blocks; attention heads of each; numbers a token carries, C: a multiple of ``heads``.
    dropout : float, default 0.0
        Probability that an entry is dropped while training. At 0 the loss is deterministic.
    """

    vocab: int
    block: int
    layers: int
    heads: int
    width: int
    dropout: float = 0.0

    def __post_init__(self):
        for name in ("vocab", "block", "layers", "heads", "width"):
            object.__setattr__(self, name, whole(name, getattr(self, name), least=1))
        if self.width % self.heads:
            raise ValueError(f"width: expected a multiple of heads={self.heads}, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected 0 <= dropout < 1, got {self.dropout!r}")


class Attention(nn.Module):
    """Causal self-attention: a token looks at itself and at the tokens before it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.projection = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (B, T, 3, heads, C/heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, C/heads)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        y = y.transpose(1, 2).flatten(2)  # (B, heads, T, C/heads) → (B, T, C)
        return F.dropout(self.projection(y), self.dropout, self.training)


class MLP(nn.Module):
    """Two linear layers around a GELU, token by token."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.expand = nn.Linear(config.width, 4 * config.width)
        self.projection = nn.Linear(4 * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C)."""
        y = F.gelu(self.expand(x))  # (B, T, 4C)
        return F.dropout(self.projection(y), self.dropout, self.training)


class Block(nn.Module):
    """Attention, then MLP, each behind a LayerNorm and added to what came in."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.attention, self.mlp = Attention(config), MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C)."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    r"""A decoder-only transformer that predicts the next token at every place.

    .. math::
        h = E_{x_t} + P_t, \qquad
        h \leftarrow h + \operatorname{attention}(\operatorname{norm}(h)), \qquad
        h \leftarrow h + \operatorname{mlp}(\operatorname{norm}(h)), \qquad
        \operatorname{logits} = E \operatorname{norm}(h)

    The output layer is the token embedding E itself (weight tying).

    Parameters
    ----------
    config : GPTConfig
        The sizes.

    Notes
    -----
    Weights and embeddings start as normals of standard deviation 0.02, the two projections of a
    block, which are added to its input, as ones of 0.02/√(2 · layers); biases at 0, LayerNorm gains
    at 1. So the first loss is close to ln V (on text a little below it where characters repeat:
    through the tied weights a token first predicts itself). Parameters:
    V·C + block·C + layers·(12 C² + 13 C) + 2 C.

    Attention is ``scaled_dot_product_attention``. Its fused kernels have no second derivative, and
    the one for CPUs does not batch over models: for Hessian products and `companion.train.sweep`
    run the model under ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``.

    References
    ----------
    Radford et al., "Language models are unsupervised multitask learners", 2019 (GPT-2).

    Examples
    --------
    >>> import torch
    >>> model = GPT(GPTConfig(vocab=65, block=32, layers=2, heads=4, width=64))
    >>> model(torch.zeros(3, 32, dtype=torch.int64)).shape  # logits for `train.cross_entropy`
    torch.Size([3, 32, 65])
    >>> sum(p.numel() for p in model.parameters())
    106304
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.vocab, config.width)
        self.position = nn.Embedding(config.block, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        for name, p in self.named_parameters():
            if name.endswith("projection.weight"):
                nn.init.normal_(p, std=0.02 / (2 * config.layers) ** 0.5)
            elif p.dim() == 2:
                nn.init.normal_(p, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token numbers (B, T), int64, T ≤ block, to logits (B, T, V)."""
        longest = self.config.block
        if tokens.dim() != 2 or not 1 <= tokens.shape[1] <= longest:
            raise ValueError(
                f"tokens: expected shape (B, T) with 1 <= T <= {longest}, got {tuple(tokens.shape)}"
            )
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]  # (B, T, C) + (T, C)
        x = F.dropout(x, self.config.dropout, self.training)
        for block in self.blocks:
            x = block(x)  # (B, T, C)
        return F.linear(self.norm(x), self.token.weight)  # (B, T, C) → (B, T, V)
