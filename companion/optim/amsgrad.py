r"""AMSGrad: Adam that divides by the largest second moment seen so far."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT, Choice, Number
from companion.optim.rule import descend, ema, ema_square


class AMSGrad(Optimizer):
    r"""AMSGrad, in three readings that differ in the bias correction.

    .. math::

        m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad
        v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2

    ``"torch"``
        :math:`u_t = \max(u_{t-1}, v_t)`, step
        :math:`\alpha \hat m_t / (\sqrt{u_t / (1 - \beta_2^t)} + \epsilon)`
    ``"paper"``
        :math:`u_t = \max(u_{t-1}, v_t)`, step :math:`\alpha m_t / (\sqrt{u_t} + \epsilon)`
    ``"optax"``
        :math:`u_t = \max(u_{t-1}, \hat v_t)`, step
        :math:`\alpha \hat m_t / (\sqrt{u_t} + \epsilon)`

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr, betas, eps, weight_decay
        As for `companion.optim.Adam`.
    variant : {"torch", "paper", "optax"}
        Which of the three.
    **options
        ``decoupled``, ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    Memory: three tensors a parameter. Source: Reddi, Kale and Kumar (2018), Algorithm 2, which
    has no bias correction and no ε.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = AMSGrad([x], betas=(0.0, 0.5), variant="paper")
    >>> for g in (8.0, 0.0, 0.0):
    ...     x.grad = torch.tensor([g])
    ...     optimizer.step()
    >>> state = optimizer.state[x]
    >>> state["v"].item(), state["u"].item()  # v forgets, u does not
    (8.0, 32.0)
    """

    elementwise = True
    options: ClassVar = {
        "beta1": UNIT,
        "beta2": UNIT,
        "eps": Number(),
        "variant": Choice(("torch", "paper", "optax")),
    }

    class State(NamedTuple):
        m: Tensor
        v: Tensor
        u: Tensor

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        variant="torch",
        **options,
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "variant": variant}
        super().__init__(params, defaults, weight_decay, **options)

    @staticmethod
    def rule(x, g, s, t, h):
        m = ema(s.m, g, h.beta1)
        v = ema_square(s.v, g, h.beta2)
        if h.variant == "paper":
            u = torch.maximum(s.u, v)
            return descend(x, h.lr, m, u.sqrt() + h.eps), AMSGrad.State(m, v, u)
        m_hat, debias = m / (1 - h.beta1**t), 1 - h.beta2**t
        if h.variant == "torch":
            u = torch.maximum(s.u, v)
            v_hat = u / debias
        else:
            u = v_hat = torch.maximum(s.u, v / debias)
        return descend(x, h.lr, m_hat, v_hat.sqrt() + h.eps), AMSGrad.State(m, v, u)
