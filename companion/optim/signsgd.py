r"""SignSGD and, with momentum, Signum: every coordinate moves by exactly the step size."""

from typing import ClassVar, NamedTuple

from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT
from companion.optim.rule import descend, ema, is_zero


class SignSGD(Optimizer):
    r"""Sign descent; with momentum, Signum.

    .. math::

        m_t = \beta m_{t-1} + (1 - \beta) g_t, \qquad x_t = x_{t-1} - \alpha \, \mathrm{sign}(m_t)

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr : float or Tensor
        Step size α: how far each coordinate moves.
    momentum : float
        β in [0, 1). At 0 no state is kept.
    weight_decay : float
        λ, see `companion.optim.optimizer.Optimizer`.
    **options
        ``decoupled``, ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    A zero gradient moves nothing. Complex parameters take the sign of real and imaginary part.
    Memory: one tensor a parameter with momentum. Source: Bernstein et al. (2018).

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.zeros(3))
    >>> optimizer = SignSGD([x], lr=0.5)
    >>> x.grad = torch.tensor([100.0, 0.0, -0.01])
    >>> optimizer.step()
    >>> x.tolist()
    [-0.5, 0.0, 0.5]
    """

    elementwise = True
    options: ClassVar = {"momentum": UNIT}  # an average, so it stays below one

    class State(NamedTuple):
        m: Tensor | None

    def __init__(self, params, lr=1e-3, momentum=0.0, weight_decay=0.0, **options):
        super().__init__(params, {"lr": lr, "momentum": momentum}, weight_decay, **options)

    @staticmethod
    def unused(h):
        return ("m",) if is_zero(h.momentum) else ()

    @staticmethod
    def rule(x, g, s, t, h):
        if s.m is None:
            return descend(x, h.lr, g.sign()), s
        m = ema(s.m, g, h.momentum)
        return descend(x, h.lr, m.sign()), SignSGD.State(m)
