r"""RMSprop: AdaGrad's sum becomes an exponential moving average."""

from typing import ClassVar, NamedTuple

from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT, Flag, Number
from companion.optim.rule import descend, ema, ema_square, is_zero


class RMSprop(Optimizer):
    r"""RMSprop in the form of ``torch.optim``: ε outside the root, no bias correction.

    .. math::

        v_t = \alpha v_{t-1} + (1 - \alpha) g_t^2, \qquad
        x_t = x_{t-1} - \mathrm{lr} \, \frac{g_t}{\sqrt{v_t} + \epsilon}

    With ``centered`` the root is of :math:`v_t - \bar g_t^2`, an estimate of the variance; with
    ``momentum`` μ the normalised gradients are summed, :math:`b_t = \mu b_{t-1} + g_t / (\cdot)`.

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr : float or Tensor
        Step size. As v starts at zero, the first step has length ``lr / √(1 - alpha)``.
    alpha : float
        Decay of the average of g².
    eps : float
        ε.
    weight_decay : float
        λ, see `companion.optim.optimizer.Optimizer`.
    momentum : float
        μ.
    centered : bool
        Subtract the squared average of the gradient.
    **options
        ``decoupled``, ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    Memory: one to three tensors a parameter. Source: Hinton (2012), lecture 6; defaults of
    ``torch.optim.RMSprop``.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.tensor([4.0], dtype=torch.float64))
    >>> optimizer = RMSprop([x], lr=0.1, alpha=0.99)
    >>> x.square().sum().div(2).backward()
    >>> optimizer.step()
    >>> round(x.item(), 6)  # a first step of 10 lr
    3.0
    """

    elementwise = True
    options: ClassVar = {"alpha": UNIT, "eps": Number(), "momentum": Number(), "centered": Flag}

    class State(NamedTuple):
        v: Tensor
        g_mean: Tensor | None
        b: Tensor | None

    def __init__(
        self,
        params,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0.0,
        momentum=0.0,
        centered=False,
        **options,
    ):
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "momentum": momentum,
            "centered": centered,
        }
        super().__init__(params, defaults, weight_decay, **options)

    @staticmethod
    def unused(h):
        return ("b",) * is_zero(h.momentum) + ("g_mean",) * (not h.centered)

    @staticmethod
    def rule(x, g, s, t, h):
        v = variance = ema_square(s.v, g, h.alpha)
        g_mean, b = s.g_mean, s.b
        if g_mean is not None:
            g_mean = ema(g_mean, g, h.alpha)
            variance = v - g_mean.square()
        step = g / (variance.sqrt() + h.eps)
        if b is not None:
            b = step = h.momentum * b + step
        return descend(x, h.lr, step), RMSprop.State(v, g_mean, b)
