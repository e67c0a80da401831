"""The multilayer perceptron."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from companion.arguments import whole

ACTIVATIONS = {"relu": F.relu, "tanh": F.tanh}


class MLP(nn.Module):
    r"""Linear layers with an activation between them.

    .. math:: h_0 = x, \qquad h_l = \phi(W_l h_{l-1} + b_l), \qquad f(x) = W_L h_{L-1} + b_L

    Parameters
    ----------
    sizes : sequence of int
        Widths from input to output, at least two: ``(64, 32, 10)`` has one hidden layer of 32.
    activation : {"relu", "tanh"} or callable, default "relu"
        φ, applied entry by entry.
    bias : bool, default True
        Whether there are :math:`b_l`.

    Raises
    ------
    ValueError
        Fewer than two sizes, a size below 1, an unknown activation.
    TypeError
        A size that is no whole number.

    Notes
    -----
    Weights and biases start as ``torch.nn.Linear`` starts them, uniform in ±1/√(fan-in). A forward
    pass costs 2 Σ sizes[l] sizes[l+1] operations a sample, a gradient three times that.

    Examples
    --------
    >>> import torch
    >>> model = MLP([64, 32, 10])
    >>> model(torch.zeros(5, 1, 8, 8)).shape  # images are flattened
    torch.Size([5, 10])
    >>> sum(p.numel() for p in model.parameters())
    2410
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Callable[[Tensor], Tensor] = "relu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        sizes = [whole("sizes", n, least=1) for n in sizes]
        if len(sizes) < 2:
            raise ValueError(f"sizes: expected two or more widths, got {sizes}")
        if not callable(activation) and activation not in ACTIVATIONS:
            raise ValueError(
                f"activation: expected one of {sorted(ACTIVATIONS)} or a function, "
                f"got {activation!r}"
            )
        self.activation = activation if callable(activation) else ACTIVATIONS[activation]
        self.layers = nn.ModuleList(nn.Linear(n, m, bias=bias) for n, m in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, sizes[0]) or (n, c, h, w) with c·h·w = sizes[0] to (n, sizes[-1])."""
        *hidden, last = self.layers
        x = x.flatten(1)  # (n, sizes[0])
        for layer in hidden:
            x = self.activation(layer(x))  # (n, sizes[l])
        return last(x)  # (n, sizes[-1])
