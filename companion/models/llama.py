"""A LLaMA: a decoder-only transformer with rotary positions and grouped queries."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.arguments import whole


@dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a `Llama`.

    Attributes
    ----------
    vocab : int
        Number of tokens, V.
    layers, heads, width : int
        Blocks; heads of queries in each; numbers a token carries, C: a multiple of ``heads``, with
        C/heads even.
    kv_heads : int
        Heads of keys and values: a divisor of ``heads``.
    hidden : int
        Width inside the MLP.
    base : float, default 10000
        Of the angles of rotary positions.
    eps : float, default 1e-5
        Added to the mean square in RMSNorm.
    tied : bool, default False
        Whether the output layer is the token embedding.
    """

    vocab: int
    layers: int
    heads: int
    kv_heads: int
    width: int
    hidden: int
    base: float = 10_000.0
    eps: float = 1e-5
    tied: bool = False

    def __post_init__(self):
        for name in ("vocab", "layers", "heads", "kv_heads", "width", "hidden"):
            object.__setattr__(self, name, whole(name, getattr(self, name), least=1))
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width: expected a multiple of 2 heads = {2 * self.heads}, got {self.width}"
            )
        if self.heads % self.kv_heads:
            raise ValueError(
                f"kv_heads: expected a divisor of heads={self.heads}, got {self.kv_heads}"
            )
        for name in ("base", "eps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)!r}")


def angles(places: Tensor, size: int, base: float = 10_000.0) -> Tensor:
    r"""Return the angles :math:`t\,\theta_i`, :math:`\theta_i = b^{-2i/d}`, of rotary positions.

    Parameters
    ----------
    places : Tensor, shape (T,)
        Places t of the tokens.
    size : int
        Numbers of a head, d, even.
    base : float
        b.

    Returns
    -------
    Tensor, shape (T, d/2), of the dtype of ``places`` if that is float64, else float32

    Examples
    --------
    >>> angles(torch.arange(3), 4)
    tensor([[0.0000, 0.0000],
            [1.0000, 0.0100],
            [2.0000, 0.0200]])
    """
    wide = torch.promote_types(places.dtype, torch.float32)
    powers = torch.arange(0, size, 2, device=places.device, dtype=wide) / size
    return places[:, None] * base**-powers


def rotate(x: Tensor, angle: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i+d/2}) of the last dimension by its angle.

    Parameters
    ----------
    x : Tensor, shape (..., T, d)
    angle : Tensor, shape (T, d/2)

    Examples
    --------
    >>> rotate(torch.tensor([[1.0, 0.0]]), torch.tensor([[torch.pi / 2]])).round(decimals=3)
    tensor([[-0.,  1.]])
    """
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)  # (T, d/2)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class RMSNorm(nn.Module):
    """Divide by the root mean square, then multiply by a gain."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(config.width)), config.eps

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # squares in half precision lose
        rms = (wide.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return (wide / rms).to(x.dtype) * self.weight


class Attention(nn.Module):
    """Causal self-attention in which some heads of queries share keys and values."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.size = config.width // config.heads  # d
        self.group = config.heads // config.kv_heads
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key = nn.Linear(config.width, config.kv_heads * self.size, bias=False)
        self.value = nn.Linear(config.width, config.kv_heads * self.size, bias=False)
        self.projection = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, angle: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C)."""
        q, k, v = (
            layer(x).unflatten(-1, (-1, self.size)).transpose(1, 2)  # (B, heads, T, d)
            for layer in (self.query, self.key, self.value)
        )
        q, k = rotate(q, angle), rotate(k, angle)
        k, v = (z.repeat_interleave(self.group, 1) for z in (k, v))  # (B, kv_heads → heads, T, d)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.projection(y.transpose(1, 2).flatten(2))  # (B, heads, T, d) → (B, T, C)


class SwiGLU(nn.Module):
    """A product of two linear maps, one through SiLU; then a third, token by token."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.hidden, bias=False)
        self.up = nn.Linear(config.width, config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class LlamaBlock(nn.Module):
    """Attention, then MLP, each behind an RMSNorm and added to what came in."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(config), RMSNorm(config)
        self.attention, self.mlp = Attention(config), SwiGLU(config)

    def forward(self, x: Tensor, angle: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C)."""
        x = x + self.attention(self.norm1(x), angle)
        return x + self.mlp(self.norm2(x))


class Llama(nn.Module):
    r"""A decoder-only transformer whose attention knows how far tokens are apart.

    .. math::
        h = E_{x_t}, \qquad
        h \leftarrow h + \operatorname{attention}(\operatorname{norm}(h)), \qquad
        h \leftarrow h + \operatorname{mlp}(\operatorname{norm}(h)), \qquad
        \operatorname{logits} = U \operatorname{norm}(h)

    Parameters
    ----------
    config : LlamaConfig
        The sizes.

    Notes
    -----
    Weights and embeddings start as normals of standard deviation 0.02, gains at 1; there are no
    biases. Parameters: V·C (twice if not tied) + layers·(2 C² (1 + kv_heads/heads) + 3 C·hidden +
    2 C) + C. There is no table of positions, and so no longest context.

    References
    ----------
    Touvron et al., "LLaMA: open and efficient foundation language models", 2023. Su et al.,
    "RoFormer: enhanced transformer with rotary position embedding", 2021. Zhang and Sennrich, "Root
    mean square layer normalization", 2019. Shazeer, "GLU variants improve transformer", 2020.
    Ainslie et al., "GQA: training generalized multi-query transformer models", 2023.

    Examples
    --------
    >>> model = Llama(LlamaConfig(vocab=65, layers=2, heads=4, kv_heads=2, width=64, hidden=128))
    >>> model(torch.zeros(3, 32, dtype=torch.int64)).shape
    torch.Size([3, 32, 65])
    >>> sum(p.numel() for p in model.parameters())
    82368
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(LlamaBlock(config) for _ in range(config.layers))
        self.norm = RMSNorm(config)
        self.output = nn.Linear(config.width, config.vocab, bias=False)
        if config.tied:
            self.output.weight = self.token.weight
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token numbers (B, T), int64, to logits (B, T, V)."""
        if tokens.dim() != 2 or tokens.shape[1] < 1:
            raise ValueError(
                f"tokens: expected shape (B, T) with T >= 1, got {tuple(tokens.shape)}"
            )
        x = self.token(tokens)  # (B, T, C)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        if x.dtype == torch.float64:
            places = places.double()
        angle = angles(places, self.config.width // self.config.heads, self.config.base)
        for block in self.blocks:
            x = block(x, angle)  # (B, T, C)
        return self.output(self.norm(x))  # (B, T, C) → (B, T, V)
