r"""Adam: momentum over RMSprop, both averages corrected for their start at zero."""

from typing import ClassVar, NamedTuple

from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT, Number
from companion.optim.rule import descend, ema, ema_square


class Adam(Optimizer):
    r"""Adam.

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, & \hat m_t &= m_t / (1 - \beta_1^t), \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) g_t^2, & \hat v_t &= v_t / (1 - \beta_2^t), \\
        x_t &= x_{t-1} - \alpha \, \hat m_t / (\sqrt{\hat v_t} + \epsilon)

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr : float or Tensor
        Step size α: while gradients are steady, about the most a coordinate moves in a step.
    betas : (float, float)
        Decay rates β1 and β2.
    eps : float
        ε, outside the root.
    weight_decay : float
        λ, see `companion.optim.optimizer.Optimizer`.
    **options
        ``decoupled``, ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    Memory: two tensors a parameter. Source: Kingma and Ba (2015), Algorithm 1; defaults of
    ``torch.optim.Adam``.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.tensor([4.0]))
    >>> optimizer = Adam([x], lr=0.5)
    >>> x.square().sum().div(2).backward()
    >>> optimizer.step()
    >>> x.item()  # the first step is lr · sign(g)
    3.5
    """

    elementwise = True
    options: ClassVar = {"beta1": UNIT, "beta2": UNIT, "eps": Number()}

    class State(NamedTuple):
        m: Tensor
        v: Tensor

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, **options):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps}, weight_decay, **options)

    @staticmethod
    def rule(x, g, s, t, h):
        m = ema(s.m, g, h.beta1)
        v = ema_square(s.v, g, h.beta2)
        m_hat = m / (1 - h.beta1**t)
        v_hat = v / (1 - h.beta2**t)
        return descend(x, h.lr, m_hat, v_hat.sqrt() + h.eps), Adam.State(m, v)
