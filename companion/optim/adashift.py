r"""AdaShift: the second moment reads gradients that are n steps old."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from companion.optim.optimizer import Optimizer
from companion.optim.options import UNIT, Choice, Count, Number
from companion.optim.rule import descend, push, where


class AdaShift(Optimizer):
    r"""AdaShift: shifted gradients make :math:`v_t` independent of the step's own gradient.

    .. math::

        m_t = \frac{\sum_{i=0}^{n-1} \beta_1^i g_{t-i}}{\sum_{i=0}^{n-1} \beta_1^i}, \qquad
        v_t = \beta_2 v_{t-1} + (1 - \beta_2)\, \phi(g_{t-n}^2), \qquad
        x_t = x_{t-1} - \alpha \frac{m_t}{\sqrt{v_t / (1 - \beta_2^{t-n})} + \epsilon}

    The first n calls gather gradients and do not move x.

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr : float or Tensor
        Step size α.
    betas : (float, float)
        Decay rates.
    eps : float
        ε.
    n : int
        The shift, at least 1.
    phi : {"max", "mean", None}
        Spatial operation φ over each parameter tensor; ``None`` keeps the coordinates apart.
    weight_decay : float
        λ, see `companion.optim.optimizer.Optimizer`.
    **options
        ``decoupled``, ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    Memory: n + 1 tensors a parameter (n with a scalar more when φ reduces). Source: Zhou et al.
    (2019), Algorithm 3.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.zeros(2))
    >>> optimizer = AdaShift([x], lr=0.5, n=1)
    >>> for _ in range(2):
    ...     x.grad = torch.tensor([2.0, 1.0])
    ...     optimizer.step()
    >>> x.tolist()  # one move, both coordinates divided by the larger
    [-0.5, -0.25]
    """

    options: ClassVar = {
        "beta1": UNIT,
        "beta2": UNIT,
        "eps": Number(),
        "n": Count(1),
        "phi": Choice(("max", "mean", None)),
    }

    class State(NamedTuple):
        v: Tensor
        past: Tensor  # (n, ...): g_{t-n}, …, g_{t-1}

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-10,
        n=10,
        phi="max",
        weight_decay=0.0,
        **options,
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "n": n, "phi": phi}
        super().__init__(params, defaults, weight_decay, **options)

    @classmethod
    def init(cls, x, h):
        return cls.State(torch.zeros_like(AdaShift.phi(x, h)), x.new_zeros(h.n, *x.shape))

    @staticmethod
    def phi(z, h):
        """Return φ(z): the largest or the mean entry of the tensor, or z itself."""
        return z if h.phi is None else {"max": h.max, "mean": h.mean}[h.phi](z)

    @staticmethod
    def rule(x, g, s, t, h):
        past = push(s.past, g)
        weights = [h.beta1 ** (h.n - i) for i in range(1, h.n + 1)]  # of the oldest first
        m = sum(w * z for w, z in zip(weights, past, strict=True)) / sum(weights)
        started = t > h.n
        square = AdaShift.phi(s.past[0].square(), h)
        v = where(started, h.beta2 * s.v + (1 - h.beta2) * square, s.v)
        v_hat = v / (1 - h.beta2 ** where(started, t - h.n, 1))
        x = where(started, descend(x, h.lr, m, v_hat.sqrt() + h.eps), x)
        return x, AdaShift.State(v, past)
