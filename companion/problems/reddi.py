"""The counterexamples of Reddi, Kale and Kumar: linear losses on [-1, 1] that mislead Adam."""

from companion.problems.rare import Linear


class ReddiMod3(Linear):
    r"""Losses C x, -x, -x in turn; Adam goes to +1, the worst point.

    .. math::

        f_t(x) = \begin{cases} C x & t \bmod 3 = 1 \\ -x & \text{otherwise} \end{cases},
        \qquad x \in [-1, 1], \quad C > 2, \quad x^* = -1

    Parameters
    ----------
    C : float
        The rare slope, above 2, so that the mean slope (C - 2)/3 is positive.
    order : {"cyclic", "reshuffled", "iid"}
        Cyclic is the problem as published: an online sequence without randomness.

    Notes
    -----
    Source: Reddi, Kale and Kumar (2018), Theorem 1, with β1 = 0 and β2 = 1/(1 + C²).

    Examples
    --------
    >>> f = ReddiMod3(C=4.0)
    >>> f.minimiser, round(f.grad(torch.zeros(1)).item(), 6)
    (-1.0, 0.666667)
    """

    def __init__(self, C: float, order: str = "cyclic"):
        if not C > 2:
            raise ValueError(f"C must exceed 2, or the minimiser is not -1; got {C!r}")
        super().__init__((C, -1.0), 1 / 3, order)
        self.C = float(C)


class Reddi1010(Linear):
    r"""Gradients 1010 once in 101 steps and -10 otherwise: the published synthetic experiment.

    Online, the large gradient comes at t mod 101 = 1, and the mean slope is 10/101. In the
    stochastic version it comes with probability 0.01, and the mean slope is 0.2. x* = -1 in both.

    Parameters
    ----------
    order : {"cyclic", "reshuffled", "iid"}
        Cyclic (online) and reshuffled: frequency 1/101. ``"iid"``: probability 0.01.

    Notes
    -----
    Source: Reddi, Kale and Kumar (2018), Section 5. The step size of their figure is not known to
    us.

    Examples
    --------
    >>> [round(Reddi1010(o).grad(torch.zeros(1)).item(), 4) for o in ("cyclic", "iid")]
    [0.099, 0.2]
    """

    def __init__(self, order: str = "cyclic"):
        super().__init__((1010.0, -10.0), 0.01 if order == "iid" else 1 / 101, order)


class ReddiStochastic(Linear):
    r"""Slope C with probability (1 + δ)/(C + 1), else -1: a stochastic convex problem.

    .. math::

        \mathbb E[g] = \frac{C (1 + \delta) - (C - \delta)}{C + 1} = \delta, \qquad x^* = -1

    Parameters
    ----------
    C : float
        The rare slope.
    delta : float
        δ, the mean slope, with 0 < δ < C.

    Notes
    -----
    Draws are independent: the frequency is not one over a whole number. Source: Reddi, Kale and
    Kumar (2018), Theorem 3.

    Examples
    --------
    >>> f = ReddiStochastic(C=10.0, delta=0.1)
    >>> round(f.grad(torch.zeros(1, dtype=torch.float64)).item(), 12)
    0.1
    """

    def __init__(self, C: float, delta: float):
        if not 0 < delta < C:
            raise ValueError(f"need 0 < delta < C, got delta={delta!r} and C={C!r}")
        super().__init__((C, -1.0), (1 + delta) / (C + 1))
        self.C, self.delta = float(C), float(delta)
