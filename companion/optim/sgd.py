r"""Stochastic gradient descent, with momentum in the form of ``torch.optim.SGD``."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import REAL, Flag, Number
from companion.optim.rule import descend, is_zero, where


class SGD(Optimizer):
    r"""Stochastic gradient descent with heavy-ball or Nesterov momentum.

    .. math::

        m_t = \mu m_{t-1} + (1 - \tau) g_t, \qquad m_1 = g_1, \qquad
        x_t = x_{t-1} - \alpha \begin{cases} m_t \\ g_t + \mu m_t & \text{(Nesterov)} \end{cases}

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr : float or Tensor
        Step size α.
    momentum : float
        μ. At 0 no state is kept.
    dampening : float
        τ; ``dampening = momentum`` turns the sum into an average, from the second step on.
    weight_decay : float
        λ, see `companion.optim.optimizer.Optimizer`.
    nesterov : bool
        Look ahead. Needs ``momentum > 0`` and ``dampening = 0``.
    **options
        ``decoupled``, ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    Memory: one tensor a parameter with momentum, none without. Sources: Robbins and Monro (1951),
    Polyak (1964), Nesterov (1983); the implicit form of Nesterov's step is that of Sutskever et
    al. (2013).

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.tensor([4.0]))
    >>> optimizer = SGD([x], lr=0.5)
    >>> x.square().sum().div(2).backward()  # gradient 4
    >>> optimizer.step()
    >>> x.item()
    2.0
    """

    elementwise = True
    options: ClassVar = {"momentum": Number(), "dampening": REAL, "nesterov": Flag}

    class State(NamedTuple):
        m: Tensor | None

    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0.0,
        dampening=0.0,
        weight_decay=0.0,
        nesterov=False,
        **options,
    ):
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        super().__init__(params, defaults, weight_decay, **options)

    def check_options(self, o):
        momentum, dampening = (
            torch.as_tensor(o[name], device="cpu") for name in ("momentum", "dampening")
        )
        if o["nesterov"] and (momentum.max() <= 0 or bool((dampening != 0).any())):
            raise ValueError(
                "SGD: nesterov=True needs momentum > 0 and dampening = 0, got "
                f"momentum={o['momentum']}, dampening={o['dampening']}"
            )
        # Without momentum there is no buffer to dampen; a tensor that holds both has a buffer.
        if momentum.dim() and bool((momentum == 0).any()) and bool((dampening != 0).any()):
            raise ValueError(
                "SGD: a grid of momentum that holds 0 needs dampening = 0, got "
                f"dampening={o['dampening']}; run momentum=0.0 by itself"
            )

    @staticmethod
    def unused(h):
        return ("m",) if is_zero(h.momentum) else ()

    @staticmethod
    def rule(x, g, s, t, h):
        if s.m is None:
            return descend(x, h.lr, g), s
        m = where(t > 1, h.momentum * s.m + (1 - h.dampening) * g, g)
        step = g + h.momentum * m if h.nesterov else m
        return descend(x, h.lr, step), SGD.State(m)
