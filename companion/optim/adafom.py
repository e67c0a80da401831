r"""AdaFom: momentum over AdaGrad, with a running mean in place of the sum."""

from typing import ClassVar, NamedTuple

from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT, Number
from companion.optim.rule import descend, ema, ema_square


class AdaFom(Optimizer):
    r"""AdaGrad with first-order momentum.

    .. math::

        m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad
        v_t = (1 - 1/t) \, v_{t-1} + g_t^2 / t, \qquad
        x_t = x_{t-1} - \alpha \, m_t / (\sqrt{v_t} + \epsilon)

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr : float or Tensor
        Step size α. The analysis takes :math:`\alpha_t \propto 1/\sqrt t`: use a scheduler.
    beta1 : float
        Decay rate of the momentum.
    eps : float
        ε, outside the root.
    weight_decay : float
        λ, see `companion.optim.optimizer.Optimizer`.
    **options
        ``decoupled``, ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    v is the plain mean of all squared gradients: it may fall as well as rise. Memory: two tensors
    a parameter. Source: Chen, Liu, Sun and Hong (2019).

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = AdaFom([x])
    >>> for g in (3.0, 1.0):
    ...     x.grad = torch.tensor([g])
    ...     optimizer.step()
    >>> optimizer.state[x]["v"].item()  # (9 + 1) / 2
    5.0
    """

    elementwise = True
    options: ClassVar = {"beta1": UNIT, "eps": Number()}

    class State(NamedTuple):
        m: Tensor
        v: Tensor

    def __init__(self, params, lr=1e-3, beta1=0.9, eps=1e-8, weight_decay=0.0, **options):
        super().__init__(params, {"lr": lr, "beta1": beta1, "eps": eps}, weight_decay, **options)

    @staticmethod
    def rule(x, g, s, t, h):
        m = ema(s.m, g, h.beta1)
        v = ema_square(s.v, g, 1 - 1 / t)
        return descend(x, h.lr, m, v.sqrt() + h.eps), AdaFom.State(m, v)
