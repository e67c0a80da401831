r"""AdaGrad: every coordinate divides by the root of its summed squared gradients."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import Number
from companion.optim.rule import descend


class AdaGrad(Optimizer):
    r"""AdaGrad, diagonal form.

    .. math::

        v_t = v_{t-1} + g_t^2, \qquad
        x_t = x_{t-1} - \frac{\alpha}{1 + (t - 1)\eta} \, \frac{g_t}{\sqrt{v_t} + \epsilon}

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr : float or Tensor
        Step size α.
    lr_decay : float
        η, ``torch.optim``'s additional decay.
    weight_decay : float
        λ, see `companion.optim.optimizer.Optimizer`.
    initial_accumulator_value : float
        v₀.
    eps : float
        ε, outside the root.
    **options
        ``decoupled``, ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    Memory: one tensor a parameter. Source: Duchi, Hazan and Singer (2011); defaults of
    ``torch.optim.Adagrad``. Unlike there, sparse gradients are refused.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.tensor([4.0]))
    >>> optimizer = AdaGrad([x], lr=0.5)
    >>> x.square().sum().div(2).backward()
    >>> optimizer.step()
    >>> x.item()  # the first step is lr · sign(g)
    3.5
    """

    elementwise = True
    options: ClassVar = {
        "lr_decay": Number(),
        "initial_accumulator_value": Number(),
        "eps": Number(),
    }

    class State(NamedTuple):
        v: Tensor

    def __init__(
        self,
        params,
        lr=1e-2,
        lr_decay=0.0,
        weight_decay=0.0,
        initial_accumulator_value=0.0,
        eps=1e-10,
        **options,
    ):
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "initial_accumulator_value": initial_accumulator_value,
        }
        super().__init__(params, defaults, weight_decay, **options)

    @classmethod
    def init(cls, x, h):
        return cls.State(torch.zeros_like(x) + h.initial_accumulator_value)

    @staticmethod
    def rule(x, g, s, t, h):
        v = s.v + g.square()
        lr = h.lr / (1 + (t - 1) * h.lr_decay)
        return descend(x, lr, g, v.sqrt() + h.eps), AdaGrad.State(v)
