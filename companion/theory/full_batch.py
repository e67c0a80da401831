r"""Adam on the whole batch, n = 1: a proof of convergence with all of its constants.

Adam is meant without bias correction and without ε, as in the proof for any n:
x_{k+1} = x_k - η/√k · m_k/√v_k, k = 1, 2, …, from m_0 = v_0 = 0.
"""

import math

import torch
from torch import Tensor


def step_bound(beta1, beta2) -> Tensor:
    r"""Return B, the largest |m|/√v that any gradients can produce.

    .. math::

        B = \frac{1 - \beta_1}{\sqrt{(1 - \beta_2)(1 - \beta_1^2/\beta_2)}}

    Parameters
    ----------
    beta1, beta2 : float or Tensor
        From 0 to 1, 1 excluded; tensors broadcast.

    Returns
    -------
    Tensor
        B, float64; infinite where β1 ≥ √β2.

    Notes
    -----
    Cauchy and Schwarz: m = Σ a_s g_{t-s} and v = Σ b_s g²_{t-s} give m² ≤ v Σ a_s²/b_s, with
    equality for g_{t-s} ∝ (β1/β2)^s. Derived here.

    Examples
    --------
    >>> step_bound(0.9, torch.tensor([0.5, 0.999], dtype=torch.float64))
    tensor([   inf, 7.2703], dtype=torch.float64)
    """
    beta1, beta2 = (torch.as_tensor(b, dtype=torch.float64) for b in (beta1, beta2))
    inside = (1 - beta2) * (1 - beta1.square() / beta2)
    inside = torch.where(beta1 == 0, 1 - beta2, inside)  # 0/0 where both are 0
    return torch.where(inside > 0, (1 - beta1) / inside.clamp(min=0).sqrt(), torch.inf)


def goal_error(beta1: float, beta2: float) -> float:
    r"""Return K: how far m/√v may be from the gradient's sign, in units of a gradient's movement.

    If the steps up to k move a partial derivative g by at most e_j = e/√j each, then at step k

    .. math::

        g_k \frac{m_k}{\sqrt{v_k}} \ge (1 - \beta_1) |g_k| - \frac{K e}{\sqrt k}, \qquad
        K = M_1 + \max\Big( (1 - \beta_1) M_2, \frac{B M_1}{1 - \beta_1} \Big)

    with M₁ = (1 - β1) Σ_s β1^s s√(s + 1) and M₂² = (1 - β2) Σ_s β2^s s²(s + 1).

    Parameters
    ----------
    beta1, beta2 : float
        0 ≤ β1 < √β2 < 1.

    Raises
    ------
    ValueError
        Otherwise.

    Notes
    -----
    |g_k - g_{k-s}| ≤ e s/√(k - s) ≤ e s√(s + 1)/√k. So m_k is within e M₁/√k of (1 - β1^k) g_k,
    and √v_k ≤ |g_k| + e M₂/√k by Minkowski's inequality. If (1 - β1)|g_k| exceeds e M₁/√k, insert
    both; if not, |g_k m_k/√v_k| ≤ B |g_k|. Derived here.

    Examples
    --------
    >>> round(goal_error(0.0, 0.5), 4)  # M₂² = Σ s²(s + 1)/2^(s+1) = 16
    4.0
    """
    B = step_bound(beta1, beta2).item()
    if not (0 <= beta1 < 1 and 0 < beta2 < 1 and math.isfinite(B)):
        raise ValueError(f"need 0 <= beta1 < sqrt(beta2) < 1, got {beta1!r} and {beta2!r}")
    s = torch.arange(math.ceil(60 / (1 - max(beta1, beta2))), dtype=torch.float64)
    first = ((1 - beta1) * beta1**s * s * (s + 1).sqrt()).sum().item()
    second = math.sqrt(((1 - beta2) * beta2**s * s.square() * (s + 1)).sum().item())
    return first + max((1 - beta1) * second, B * first / (1 - beta1))


def full_batch_rate(T, beta1: float, beta2: float, lr: float, L: float, gap: float, d: int = 1):
    r"""Bound min_k |∇f(x_k)|₁, k = 1, …, T, for Adam on the whole batch with steps η/√k.

    .. math::

        \min_{k \le T} \lVert \nabla f(x_k) \rVert_1 \le
        \frac{\Delta + \eta^2 d L B \, (\sqrt d K + \tfrac12 B)(1 + \ln T)}
        {2 (1 - \beta_1) \, \eta \, (\sqrt{T + 1} - 1)}

    Parameters
    ----------
    T : int or Tensor
        Steps.
    beta1, beta2 : float
        0 ≤ β1 < √β2 < 1.
    lr : float
        η.
    L : float
        Lipschitz constant of ∇f in the Euclidean norm.
    gap : float
        Δ ≥ f(x₁) - inf f.
    d : int
        Dimension.

    Notes
    -----
    A step moves x by at most √d B η/√k, so a partial derivative by e/√k, e = L √d B η. The descent
    lemma gives f(x_{k+1}) ≤ f(x_k) - η_k ⟨∇f, m/√v⟩ + L d B² η_k²/2; insert `goal_error` in each
    coordinate, sum over k, and use Σ 1/k ≤ 1 + ln T and Σ 1/√k ≥ 2(√(T + 1) - 1). Derived here.

    Examples
    --------
    >>> round(full_batch_rate(10_000, 0.5, 0.9, lr=0.1, L=1.0, gap=1.0), 2)
    0.84
    """
    B, K = step_bound(beta1, beta2).item(), goal_error(beta1, beta2)
    T = torch.as_tensor(T, dtype=torch.float64)
    paid = gap + lr**2 * d * L * B * (d**0.5 * K + B / 2) * (1 + T.log())
    bound = paid / (2 * (1 - beta1) * lr * ((T + 1).sqrt() - 1))
    return bound.item() if bound.dim() == 0 else bound
