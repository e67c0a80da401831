r"""ADOPT: Adam that normalises by the past second moment, before the momentum."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT, Anything, Number
from companion.optim.rule import clamp, descend, ema, ema_square, where


class ADOPT(Optimizer):
    r"""ADOPT: modified Adam that converges with any β2.

    The first call sets :math:`v_1 = g_1^2` and moves nothing. From the second on, with
    :math:`c_t = (t - 1)^{1/4}`,

    .. math::

        u_t &= \mathrm{clip}\big(g_t / \max(\sqrt{v_{t-1}}, \epsilon), \, -c_t, \, c_t\big), \\
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) u_t, \\
        x_t &= x_{t-1} - \alpha m_t, \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) g_t^2

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr : float or Tensor
        Step size α.
    betas : (float, float)
        Decay rates β1 and β2.
    eps : float
        ε, a floor under :math:`\sqrt{v}`, not an addition to it.
    weight_decay : float
        λ, see `companion.optim.optimizer.Optimizer`. Decoupled decay too waits for the second call.
    clip_lambda : float, callable or None
        The clip :math:`c_t` as a power of the number of earlier calls (0.25: the authors'
        default), as a function of that number, or ``None`` for the paper's algorithm without a
        clip. A number is saved with the state and loads under ``weights_only=True``; a function
        has to be picklable to be saved.
    **options
        ``decoupled``, ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    Memory: two tensors a parameter. There is no bias correction. Source: Taniguchi et al. (2024),
    Algorithm 2; the clip, the floor and the defaults follow the authors' published code.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.tensor([4.0]))
    >>> optimizer = ADOPT([x], lr=0.5, betas=(0.0, 0.99))
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     x.square().sum().div(2).backward()
    ...     optimizer.step()
    ...     print(x.item())
    4.0
    3.5
    """

    elementwise = True
    options: ClassVar = {"beta1": UNIT, "beta2": UNIT, "eps": Number(), "clip_lambda": Anything}

    class State(NamedTuple):
        m: Tensor
        v: Tensor

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.9999),
        eps=1e-6,
        weight_decay=0.0,
        clip_lambda=0.25,
        **options,
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "clip_lambda": clip_lambda}
        super().__init__(params, defaults, weight_decay, **options)

    def check_options(self, o):
        clip = o["clip_lambda"]
        number = isinstance(clip, (int, float, Tensor)) and not isinstance(clip, bool)
        power = number and bool(torch.as_tensor((clip >= 0) & (clip < 1e9), device="cpu").all())
        if not (clip is None or callable(clip) or power):
            raise ValueError(
                "ADOPT: clip_lambda must be a power >= 0, a function of the step or None, "
                f"got {clip!r}"
            )

    @staticmethod
    def decay(x, t, h):
        return where(t > 1, Optimizer.decay(x, t, h), x)

    @staticmethod
    def rule(x, g, s, t, h):
        u = g / clamp(s.v.sqrt(), h.eps)
        if h.clip_lambda is not None:
            power = not callable(h.clip_lambda)
            c = (t - 1) ** h.clip_lambda if power else h.clip_lambda(t - 1)
            u = clamp(u, -c, c)
        m = ema(s.m, u, h.beta1)
        first = t == 1  # the first call only sets v
        v = ema_square(s.v, g, where(first, 0.0, h.beta2))
        x = where(first, x, descend(x, h.lr, m))
        return x, ADOPT.State(m=where(first, s.m, m), v=v)
