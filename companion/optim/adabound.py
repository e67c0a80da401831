r"""AdaBound: Adam whose step size a coordinate is squeezed towards that of SGD."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT, Number
from companion.optim.rule import clamp, ema, ema_square


class AdaBound(Optimizer):
    r"""Adam with dynamic bounds on the step size of each coordinate.

    .. math::

        \eta_t = \mathrm{clip}\!\left(
            \frac{\alpha \sqrt{1 - \beta_2^t} / (1 - \beta_1^t)}{\sqrt{v_t} + \epsilon}, \;
            \alpha^* \Big(1 - \frac{1}{\gamma t + 1}\Big), \;
            \alpha^* \Big(1 + \frac{1}{\gamma t}\Big)\right), \qquad
        x_t = x_{t-1} - \eta_t m_t

    Both bounds tend to α*, so that Adam turns slowly into SGD with momentum. It is the step size
    that is clipped, not v.

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr : float or Tensor
        Adam's step size α. When a scheduler changes it, α* changes in the same proportion (from 0,
        by as much as ``lr`` itself).
    betas : (float, float)
        Decay rates of :math:`m` and :math:`v`, both as in Adam.
    final_lr : float
        α*.
    gamma : float
        γ: how fast the bounds close, after about 1/γ steps.
    eps : float
        ε.
    weight_decay : float
        λ, see `companion.optim.optimizer.Optimizer`.
    **options
        ``decoupled``, ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    Memory: two tensors a parameter. Source: Luo, Xiong, Liu and Sun (2019), with the bias
    correction and the scaling of α* by the schedule that the authors' code adds.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = AdaBound([x], betas=(0.0, 0.999), final_lr=0.1, gamma=1e9)
    >>> x.grad = torch.tensor([2.0])
    >>> optimizer.step()
    >>> round(x.item(), 4)  # bounds closed at once: SGD with lr 0.1
    -0.2
    """

    elementwise = True
    options: ClassVar = {
        "beta1": UNIT,
        "beta2": UNIT,
        "eps": Number(),
        "final_lr": Number(),
        "gamma": Number(),
        "base_lr": Number(),
    }

    class State(NamedTuple):
        m: Tensor
        v: Tensor

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        final_lr=0.1,
        gamma=1e-3,
        eps=1e-8,
        weight_decay=0.0,
        **options,
    ):
        defaults = {"lr": lr, "betas": betas, "final_lr": final_lr, "gamma": gamma, "eps": eps}
        super().__init__(params, defaults, weight_decay, **options)

    def add_param_group(self, param_group):
        """Add a group and keep its first step size, the unit of ``final_lr``."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group.setdefault("base_lr", _unit(group["lr"]))

    @classmethod
    def hyper_of(cls, group):
        h = super().hyper_of(group)
        if not hasattr(h, "base_lr"):
            h.base_lr = _unit(h.lr)
        return h

    @staticmethod
    def rule(x, g, s, t, h):
        m = ema(s.m, g, h.beta1)
        v = ema_square(s.v, g, h.beta2)
        debias1, debias2 = 1 - h.beta1**t, 1 - h.beta2**t
        final_lr = h.final_lr * h.lr / h.base_lr
        lower = final_lr * (1 - 1 / (h.gamma * t + 1))
        upper = final_lr * (1 + 1 / (h.gamma * t))
        eta = h.lr * debias2**0.5 / debias1 / (v.sqrt() + h.eps)
        return x - clamp(eta, lower, upper) * m, AdaBound.State(m, v)


def _unit(lr):
    """Return the step size that ``final_lr`` goes with; one for a step size of zero."""
    return torch.where(lr == 0, 1, lr) if isinstance(lr, Tensor) else lr or 1.0
