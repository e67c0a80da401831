r"""Adamax: Adam with a fading maximum in place of the root mean square."""

from typing import ClassVar, NamedTuple

from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT, Number
from companion.optim.rule import descend, ema, fading_max


class Adamax(Optimizer):
    r"""Adamax, Adam's :math:`\ell_\infty` sibling.

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, & \hat m_t &= m_t / (1 - \beta_1^t), \\
        u_t &= \max(\beta_2 u_{t-1}, |g_t| + \epsilon), & x_t &= x_{t-1} - \alpha \, \hat m_t / u_t

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr : float or Tensor
        Step size α: what a coordinate moves in a step while gradients are steady; never more than
        α β2 (1 - β1) / (β2 - β1) where β1 < β2, at the defaults 1.01 α.
    betas : (float, float)
        Decay rates β1 of the mean and β2 of the maximum.
    eps : float
        ε. The paper has none, so that a coordinate whose gradients have all been zero would be
        0/0; ``torch.optim.Adamax`` adds it to \|g\|, inside the maximum, as here. With 0 the rule
        is the paper's.
    weight_decay : float
        λ, see `companion.optim.optimizer.Optimizer`.
    **options
        ``decoupled``, ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    Memory: two tensors a parameter. The maximum needs no bias correction. Source: Kingma and Ba
    (2015), Algorithm 2; defaults of ``torch.optim.Adamax``.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = Adamax([x], lr=0.5, betas=(0.0, 0.5))
    >>> for g in (8.0, 1.0, 3.0):
    ...     x.grad = torch.tensor([g])
    ...     optimizer.step()
    >>> optimizer.state[x]["u"].item()  # 8, 4 (larger than 1), 3 (larger than 2)
    3.0
    """

    elementwise = True
    options: ClassVar = {"beta1": UNIT, "beta2": UNIT, "eps": Number()}

    class State(NamedTuple):
        m: Tensor
        u: Tensor

    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, **options):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps}, weight_decay, **options)

    @staticmethod
    def rule(x, g, s, t, h):
        m = ema(s.m, g, h.beta1)
        u = fading_max(s.u, g.abs() + h.eps, h.beta2)
        m_hat = m / (1 - h.beta1**t)
        return descend(x, h.lr, m_hat, u), Adamax.State(m, u)
