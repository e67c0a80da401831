"""Finite sums on which Adam's fate depends on β2: function (2), and a pair with and without D₀."""

import torch

from companion.problems.rare import RareGradient


class Function2(RareGradient):
    r"""Function (2) of Zhang et al.: one steep component against n - 1 gentle ones.

    With the slope :math:`s_0 = 1 + (n - 1) a` of the rare component and :math:`s_1 = -a` of the
    others,

    .. math::

        f_i(x) = \begin{cases}
            s_i \, x & x \ge -1 \\
            \tfrac12 s_i \, (x + 2)^2 - \tfrac32 s_i & x < -1
        \end{cases}

    The sum of all components is x, and ½(x + 2)² - 3/2 left of -1: minimal at x* = -2.

    Parameters
    ----------
    n : int
        Number of components, at least 2.
    a : float
        Minus the gentle slope, positive; 1 is the form of the paper, with slopes n and -1.
    order : {"iid", "reshuffled", "cyclic"}
        Cyclic begins with the steep component.

    Attributes
    ----------
    D0, D1 : float
        The constants of :math:`\frac1n \sum_i (f_i' - \bar f')^2 \le D_1 (\sum_i f_i')^2 + D_0`.
        D₀ = 0, and D₁ holds with equality at every x: (s₀ - s₁)² (n - 1)/n².

    Notes
    -----
    `loss` and `grad` are means over the components, 1/n of the paper's sum: the oracle is unbiased
    for them. Against the mean's square on the right, D₁ is n² times larger. Source: Zhang et al.
    (2022), equation (2); with a, Zhang's thesis, equation 2.5.

    Examples
    --------
    >>> f, x = Function2(n=10), torch.tensor([[1.0], [-2.0], [-4.0]], dtype=torch.float64)
    >>> [round(10 * loss, 12) for loss in f.loss(x).tolist()]
    [1.0, -1.5, 0.5]
    >>> f.rare(x).flatten().tolist(), f.common(x).flatten().tolist()
    ([10.0, 0.0, -20.0], [-1.0, -0.0, 2.0])
    """

    minimiser = -2.0
    D0 = 0.0

    def __init__(self, n: int, a: float = 1.0, order: str = "iid"):
        if isinstance(n, bool) or n != int(n) or n < 2:
            raise ValueError(f"n must be a whole number of at least 2, got {n!r}")
        if not a > 0:
            raise ValueError(f"a must be positive, got {a!r}")
        super().__init__(1 / n, order)
        self.n, self.a = int(n), float(a)
        self.slopes = (1 + (n - 1) * self.a, -self.a)
        self.D1 = (self.slopes[0] - self.slopes[1]) ** 2 * (n - 1) / n**2

    def rare(self, x):
        return self.slopes[0] * torch.where(x >= -1, torch.ones_like(x), x + 2)

    def common(self, x):
        return self.slopes[1] * torch.where(x >= -1, torch.ones_like(x), x + 2)

    def either(self, now, x):
        # Both gradients are a slope times the same function of x, which grids compute once.
        rare, common = (x.new_tensor(slope) for slope in self.slopes)
        return torch.where(now, rare, common) * (x + 2).clamp(max=1)

    def losses(self, x):
        shape = torch.where(x >= -1, x, (x + 2).square() / 2 - 1.5)
        return self.slopes[0] * shape, self.slopes[1] * shape


class TenParabolas(RareGradient):
    r"""One steep parabola against nine that open downwards; their sum is convex.

    .. math::

        f_0(x) = (x - a)^2, \qquad f_i(x) = -\tfrac1{10} \big(x - \tfrac{10}9 a\big)^2, \quad
        i = 1, \dots, 9, \qquad \sum_i f_i(x) = \tfrac1{10} x^2 - \tfrac19 a^2

    The minimiser is x* = 0. At a = 0 all gradients vanish there, so D₀ = 0; otherwise they do not.

    Parameters
    ----------
    a : float
        Where the steep parabola has its minimum.
    order : {"iid", "reshuffled", "cyclic"}
        Cyclic begins with the steep parabola.

    Attributes
    ----------
    D0 : float
        The variance of the oracle at x*, 4a²/9. If a ≠ 0, the affine bound of `Function2` holds
        with a finite D₁ for every D₀ above it, and for none below.

    Notes
    -----
    `loss` and `grad` are means over the ten components. After the two panels of Zhang et al. (2022)
    with and without D₀, whose constants are not known to us.

    Examples
    --------
    >>> f = TenParabolas(a=3.0)
    >>> f.D0, round(f.moments(torch.zeros(1, dtype=torch.float64)).variance.item(), 12)
    (4.0, 4.0)
    """

    minimiser = 0.0

    def __init__(self, a: float, order: str = "iid"):
        super().__init__(0.1, order)
        self.a = float(a)
        self.D0 = 4 * self.a**2 / 9

    def rare(self, x):
        return 2 * (x - self.a)

    def common(self, x):
        return -0.2 * (x - self.a * 10 / 9)

    def losses(self, x):
        return (x - self.a).square(), -0.1 * (x - self.a * 10 / 9).square()
