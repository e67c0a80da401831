"""Quadratics, where every quantity of the theory can be written down."""

import torch
from torch import Tensor


class Quadratic:
    r"""A convex quadratic with chosen eigenvalues.

    .. math::

        f(x) = \tfrac12 (x - x^*)^\top H (x - x^*), \qquad H = R \,\mathrm{diag}(\lambda) \, R^\top

    Parameters
    ----------
    eigenvalues : sequence of float or Tensor
        λ, of shape (d,), positive.
    rotation : Tensor, optional
        R, orthogonal, of shape (d, d); the identity if left out.
    minimiser : sequence of float or Tensor, optional
        x*, of shape (d,); zero if left out.

    Attributes
    ----------
    eigenvalues, minimiser : Tensor
        λ and x*, float64, of shape (d,).
    hessian : Tensor
        H, float64, of shape (d, d).
    kappa : float
        Condition number κ = λ_max / λ_min.

    Examples
    --------
    >>> f = Quadratic([1.0, 10.0])
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> f.loss(x).tolist(), f.kappa
    ([0.5, 5.0], 10.0)
    """

    def __init__(self, eigenvalues, rotation=None, minimiser=None):
        self.eigenvalues = torch.as_tensor(eigenvalues, dtype=torch.float64)
        d = len(self.eigenvalues) if self.eigenvalues.dim() == 1 else 0
        if not d or not bool((self.eigenvalues > 0).all()):
            raise ValueError(f"eigenvalues must be positive, of shape (d,), got {eigenvalues!r}")
        rotation = torch.eye(d) if rotation is None else torch.as_tensor(rotation)
        rotation = rotation.double()
        identity = torch.eye(d, dtype=torch.float64)
        if rotation.shape != (d, d) or not torch.allclose(rotation @ rotation.T, identity):
            raise ValueError(f"rotation must be orthogonal, of shape ({d}, {d}), got {rotation!r}")
        self.minimiser = torch.zeros(d) if minimiser is None else torch.as_tensor(minimiser)
        self.minimiser = self.minimiser.double()
        if self.minimiser.shape != (d,):
            raise ValueError(f"minimiser must have shape ({d},), got {tuple(self.minimiser.shape)}")
        self.hessian = (rotation * self.eigenvalues) @ rotation.T
        self.kappa = (self.eigenvalues.max() / self.eigenvalues.min()).item()

    def grad(self, x: Tensor) -> Tensor:
        """Return ∇f(x) = H (x - x*), from (..., d) to (..., d)."""
        return (x - self.minimiser.to(x)) @ self.hessian.to(x)

    def loss(self, x: Tensor) -> Tensor:
        """Return f(x), from (..., d) to (...)."""
        return (self.grad(x) * (x - self.minimiser.to(x))).sum(-1) / 2

    def noisy(self, sigma: float):
        """Return an oracle of noisy gradients: mean ∇f(x), covariance σ² I, whatever x.

        Parameters
        ----------
        sigma : float
            Standard deviation of the noise in each coordinate.

        Returns
        -------
        callable
            ``(x, generator) -> g``, with g = ∇f(x) + σ ξ and ξ normal.
        """
        if not sigma >= 0:
            raise ValueError(f"sigma must be at least 0, got {sigma!r}")

        def oracle(x, generator=None):
            shape, like = x.shape[-2:], {"dtype": x.dtype, "device": x.device}
            return self.grad(x) + sigma * torch.randn(shape, generator=generator, **like)

        return oracle
