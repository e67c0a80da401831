r"""Which step sizes keep SGD on least squares together *in mean square*, noise included.

A minibatch of B samples, drawn with replacement and independently of the past, moves the error
z = x - x* by z ← (I - η H_B) z - η g_B, where H_B is the Hessian of the minibatch and g_B its
gradient at x*. H_B is random, so the step that E|z|² can bear is shorter than the 2/L of the mean.
"""

import math

import torch
from torch import Tensor


def second_moment_operator(features: Tensor, lr: float, batch_size: int) -> Tensor:
    r"""Return the matrix that one minibatch applies to E[z zᵀ] where no noise is left at x*.

    .. math::

        T(\eta) \operatorname{vec} C = \operatorname{vec} \mathbb E[(I - \eta H_B) C (I - \eta H_B)]
        = (I - \eta A + \eta^2 Q) \operatorname{vec} C

    with :math:`A = H \otimes I + I \otimes H`, :math:`Q = \tfrac1B M + (1 - \tfrac1B) H \otimes H`
    and :math:`M = \tfrac1n \sum_i (a_i a_i^\top) \otimes (a_i a_i^\top)`.

    Parameters
    ----------
    features : Tensor, shape (n, d)
        The rows a_i of least squares, f_i(x) = ½ (a_iᵀx - b_i)².
    lr : float
        η.
    batch_size : int
        B, drawn with replacement.

    Returns
    -------
    Tensor, shape (d², d²), float64
        Symmetric. Its spectral radius is below 1 if and only if E|z|² tends to zero from every
        start: this is stability in mean square.

    Raises
    ------
    ValueError
        Features of another shape, or a batch size below 1.

    Notes
    -----
    In E[H_B C H_B] the B diagonal pairs of samples agree and the others are independent, whence Q.
    Cost: O(n d⁴), memory d⁴: for small d. Standard; derived here.

    Examples
    --------
    >>> second_moment_operator(torch.tensor([[1.0], [2.0]]), lr=0.1, batch_size=1).item()
    0.585
    """
    A, Q = _operators(features, batch_size)
    return torch.eye(len(A), dtype=torch.float64) - lr * A + lr**2 * Q


def mean_square_limit(features: Tensor, batch_size: int) -> float:
    r"""Return the η below which minibatch SGD on least squares is stable in mean square.

    .. math:: \eta_B = \frac1{\lambda_{\max}(A^{-1} Q)} \le \frac2L

    with A and Q of `second_moment_operator`. It rises with B, towards 2/L.

    Parameters
    ----------
    features : Tensor, shape (n, d)
        Of full column rank.
    batch_size : int
        B, drawn with replacement.

    Raises
    ------
    ValueError
        As for `second_moment_operator`, or columns that depend on each other.

    Notes
    -----
    T(η) maps positive semidefinite matrices to such, so its spectral radius is its largest
    eigenvalue, that of I - η (A - η Q): below 1 if and only if A - η Q is positive definite. Above
    the limit E|z|² grows without bound, though single runs may still come to rest. Cost: as for
    the operator. Derived here.

    Examples
    --------
    With one feature, ±1, all samples have the same Hessian, and nothing is lost:

    >>> round(mean_square_limit(torch.tensor([[1.0], [-1.0]]), batch_size=1), 9)
    2.0
    """
    A, Q = _operators(features, batch_size)
    values, vectors = torch.linalg.eigh(A)
    if values[0] <= 1e-12 * values[-1]:
        raise ValueError("features: expected full column rank; drop columns that depend on others")
    root = (vectors * values.rsqrt()) @ vectors.T
    return 1 / torch.linalg.eigvalsh(root @ Q @ root)[-1].item()


def minibatch_floor(problem, lr: float, batch_size: int) -> float:
    r"""Return the mean suboptimality at which minibatch SGD on least squares settles, exactly.

    .. math:: \tfrac12 \operatorname{tr}(H C), \qquad
              (I - T(\eta)) \operatorname{vec} C
              = \tfrac{\eta^2}{B} \operatorname{vec} \Sigma(x^*)

    Parameters
    ----------
    problem : companion.problems.LeastSquares
    lr : float
        η > 0.
    batch_size : int
        B, drawn with replacement.

    Returns
    -------
    float
        ``inf`` from the limit of `mean_square_limit` on.

    Notes
    -----
    In the long run E z = 0, so the mixed terms of H_B z and g_B have mean zero, and C is what a
    step preserves. Cost: O(n d⁴ + d⁶). Derived here.

    Examples
    --------
    >>> from companion.problems import LeastSquares
    >>> f = LeastSquares.random(n=64, d=4, kappa=4, noise=1.0)
    >>> minibatch_floor(f, 0.05, 1) > 4 * minibatch_floor(f, 0.05, 4)  # the noise, and more
    True
    """
    if not lr < mean_square_limit(problem.features, batch_size):
        return math.inf
    A, Q = _operators(problem.features, batch_size)
    noise = lr**2 / batch_size * problem.gradient_covariance(problem.minimiser)
    C = torch.linalg.solve(lr * A - lr**2 * Q, noise.flatten())
    return (problem.hessian.flatten() @ C).item() / 2


def minibatch_gap(problem, x0: Tensor, lr: float, batch_size: int, steps: int) -> Tensor:
    r"""Return the mean suboptimality of minibatch SGD on least squares after each step, exactly.

    With z = x - x*, m = E z, C = E[z zᵀ] and the residuals :math:`s_i = a_i^\top x^* - b_i`,

    .. math::

        \operatorname{vec} C \leftarrow T(\eta) \operatorname{vec} C + \tfrac{\eta^2}{B}
        \operatorname{vec} \Big(\Sigma(x^*) + \tfrac2n \sum_i s_i \, (a_i^\top m) \, a_i a_i^\top
        \Big), \qquad m \leftarrow (I - \eta H) m

    Parameters
    ----------
    problem : companion.problems.LeastSquares
    x0 : Tensor, shape (d,)
        Start.
    lr : float
        η.
    batch_size : int
        B, drawn with replacement.
    steps : int

    Returns
    -------
    Tensor, shape (steps + 1,), float64
        E f(x_t) - f(x*), the start first: ½ tr(H C).

    Notes
    -----
    The last term is that of H_B z with g_B: they share samples, so it vanishes with m only. Above
    `mean_square_limit` the values grow without bound. Cost: O(n d⁴ + steps d⁴). Derived here.

    Examples
    --------
    >>> from companion.problems import LeastSquares
    >>> f = LeastSquares.random(n=64, d=4, kappa=4, noise=1.0)
    >>> gap = minibatch_gap(f, torch.ones(4), lr=0.05, batch_size=4, steps=2000)
    >>> round(gap[-1].item() / minibatch_floor(f, 0.05, 4), 6)
    1.0
    """
    operator = second_moment_operator(problem.features, lr, batch_size)
    H, a, home = problem.hessian, problem.features, problem.minimiser
    s = a @ home - problem.targets
    shared = torch.einsum("n,ni,nj,nk->ijk", s, a, a, a) * 2 / len(a)
    noise, mean = problem.gradient_covariance(home), x0.double() - home
    C, gaps = torch.outer(mean, mean), []
    for _ in range(steps + 1):
        gaps.append((H * C).sum() / 2)
        fresh = lr**2 / batch_size * (noise + shared @ mean)
        C = (operator @ C.flatten()).view_as(C) + fresh
        mean = mean - lr * H @ mean
    return torch.stack(gaps)


def momentum_limit(mu, nesterov: bool = False):
    r"""Return the η λ below which the heavy ball, or Nesterov's method, is stable on ½ λ x².

    .. math:: 2 (1 + \mu) \quad \text{and} \quad \frac{2 (1 + \mu)}{1 + 2 \mu}

    Parameters
    ----------
    mu : float or Tensor
        Momentum, in [0, 1).
    nesterov : bool

    Notes
    -----
    The roots of z² - φ z + q lie inside the unit circle if and only if |φ| < 1 + q < 2. For the
    heavy ball φ = 1 + μ - a and q = μ; for Nesterov φ = (1 + μ)(1 - a) and q = μ (1 - a), and the
    condition at z = -1 is the one that binds. Standard; derived here.

    Examples
    --------
    >>> momentum_limit(0.5), momentum_limit(0.5, nesterov=True)
    (3.0, 1.5)
    """
    return 2 * (1 + mu) / (1 + 2 * mu if nesterov else 1)


def _operators(features, batch_size) -> tuple[Tensor, Tensor]:
    """Return A and Q, of shape (d², d²)."""
    a = torch.as_tensor(features).double()
    if a.dim() != 2 or not a.numel():
        raise ValueError(f"features must have shape (n, d), got {tuple(a.shape)}")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
    n, d = a.shape
    H, eye = a.T @ a / n, torch.eye(d, dtype=torch.float64)
    squares = (a[:, :, None] * a[:, None, :]).reshape(n, d * d)
    M = squares.T @ squares / n
    A = torch.kron(H, eye) + torch.kron(eye, H)
    return A, M / batch_size + (1 - 1 / batch_size) * torch.kron(H, H)
