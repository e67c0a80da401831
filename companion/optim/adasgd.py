r"""AdaSGD: Adam with a single second moment, which scales the whole step."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT, Number
from companion.optim.rule import descend, ema


class AdaSGD(Optimizer):
    r"""Adam with a single second moment for all coordinates of a parameter group.

    .. math::

        v_t = \beta_2 v_{t-1} + (1 - \beta_2) \, \|g_t\|_2^2 / d, \qquad
        x_t = x_{t-1} - \alpha \, \hat m_t / (\sqrt{\hat v_t} + \epsilon)

    with the momentum and the bias corrections of `companion.optim.Adam`; d counts the coordinates
    of the group that have a gradient at step t.

    Parameters
    ----------
    params : iterable
        Parameters or groups; each group has its own scalar.
    lr, betas, eps, weight_decay, **options
        As for `companion.optim.Adam`.

    Notes
    -----
    Rotation-equivariant, as SGD is and Adam is not. Memory: one tensor and one number a parameter.
    Source: Wang and Wiens (2020); Xie, Mohamadi and Li (2024), Algorithm 2, there without bias
    correction and with ε inside the root.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.zeros(2))
    >>> optimizer = AdaSGD([x], lr=1.0)
    >>> x.grad = torch.tensor([1.0, 7.0])  # ‖g‖²/d = 25
    >>> optimizer.step()
    >>> [round(value, 4) for value in x.tolist()]
    [-0.2, -1.4]
    """

    block = "group"
    options: ClassVar = {"beta1": UNIT, "beta2": UNIT, "eps": Number()}

    class State(NamedTuple):
        m: Tensor
        v: Tensor

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, **options):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps}, weight_decay, **options)

    @classmethod
    def init(cls, x, h):
        return cls.State(torch.zeros_like(x), torch.zeros_like(h.mean_square(x)))

    @staticmethod
    def rule(x, g, s, t, h):
        m = ema(s.m, g, h.beta1)
        v = h.beta2 * s.v + (1 - h.beta2) * h.mean_square(g)
        m_hat = m / (1 - h.beta1**t)
        v_hat = v / (1 - h.beta2**t)
        return descend(x, h.lr, m_hat, v_hat.sqrt() + h.eps), AdaSGD.State(m, v)
