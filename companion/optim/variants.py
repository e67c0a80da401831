r"""Rules that lie between others: Adam without its correction, and half of what ADOPT changes."""

import math
from typing import ClassVar, NamedTuple

from torch import Tensor

from companion.optim.adam import Adam
from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT, Number
from companion.optim.rule import clamp, descend, ema, ema_square, where


class UncorrectedAdam(Adam):
    r"""Adam without bias correction: Adam that believes itself infinitely old.

    .. math:: x_t = x_{t-1} - \alpha \, m_t / (\sqrt{v_t} + \epsilon)

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, **options
        As for `companion.optim.Adam`.
    """

    @staticmethod
    def rule(x, g, s, t, h):
        return Adam.rule(x, g, s, math.inf, h)


class HalfWay(Optimizer):
    """What the two half-way rules between Adam and ADOPT share.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, **options
        As for `companion.optim.ADOPT`; ε is a floor.
    """

    elementwise = True
    options: ClassVar = {"beta1": UNIT, "beta2": UNIT, "eps": Number()}

    class State(NamedTuple):
        m: Tensor
        v: Tensor

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, **options):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps}, weight_decay, **options)


class Decorrelated(HalfWay):
    """Average, then divide by the v of before: ADOPT's first change to Adam alone."""

    @staticmethod
    def rule(x, g, s, t, h):
        first = t == 1  # as in ADOPT, the first call only sets v
        m = where(first, s.m, ema(s.m, g, h.beta1))
        v = where(first, g.square(), ema_square(s.v, g, h.beta2))
        return where(first, x, descend(x, h.lr, m, clamp(s.v.sqrt(), h.eps))), HalfWay.State(m, v)


class Reordered(HalfWay):
    """Divide by the v of now, then average: ADOPT's second change to Adam alone."""

    @staticmethod
    def rule(x, g, s, t, h):
        v = where(t == 1, g.square(), ema_square(s.v, g, h.beta2))
        m = ema(s.m, g / clamp(v.sqrt(), h.eps), h.beta1)
        return descend(x, h.lr, m), HalfWay.State(m, v)
