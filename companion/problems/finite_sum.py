"""Finite sums over data: least squares, and the logistic loss on rare features."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from companion.problems.oracles import Samples


class FiniteSum:
    r"""An average of losses, each a function of one inner product.

    .. math:: f(x) = \frac1n \sum_{i=1}^n f_i(x), \qquad f_i(x) = \varphi(a_i^\top x, b_i)

    Subclasses write ``value`` (φ) and ``slope`` (its derivative by the inner product).

    Parameters
    ----------
    features : Tensor
        The rows a_i, of shape (n, d).
    targets : Tensor
        b_i, of shape (n,).
    """

    def __init__(self, features: Tensor, targets: Tensor):
        self.features = torch.as_tensor(features, dtype=torch.float64)
        self.targets = torch.as_tensor(targets, dtype=torch.float64)
        if self.features.dim() != 2 or self.targets.shape != self.features.shape[:1]:
            raise ValueError(
                "features must have shape (n, d) and targets (n,), got "
                f"{tuple(self.features.shape)} and {tuple(self.targets.shape)}"
            )

    @staticmethod
    def value(z: Tensor, b: Tensor) -> Tensor:
        """Return φ(z, b)."""
        raise NotImplementedError

    @staticmethod
    def slope(z: Tensor, b: Tensor) -> Tensor:
        """Return ∂φ/∂z."""
        raise NotImplementedError

    def loss(self, x: Tensor) -> Tensor:
        """Return f(x), from (..., d) to (...)."""
        return self.value(x @ self.features.T.to(x), self.targets.to(x)).mean(-1)

    def grad(self, x: Tensor) -> Tensor:
        """Return ∇f(x), from (..., d) to (..., d)."""
        a = self.features.to(x)
        return self.slope(x @ a.T, self.targets.to(x)) @ a / len(a)

    def sample_gradients(self, x: Tensor) -> Tensor:
        """Return every ∇f_i(x), from (..., d) to (..., n, d)."""
        a = self.features.to(x)
        return self.slope(x @ a.T, self.targets.to(x)).unsqueeze(-1) * a

    def gradient_covariance(self, x: Tensor) -> Tensor:
        """Return the covariance of ∇f_i(x) for i drawn uniformly, from (..., d) to (..., d, d).

        The mean of a minibatch of B independent draws has 1/B of it.
        """
        noise = self.sample_gradients(x) - self.grad(x).unsqueeze(-2)
        return noise.mT @ noise / len(self.features)

    def batch_gradient(self, x: Tensor, index: Tensor) -> Tensor:
        """Return the mean of ∇f_i(x) over minibatches, from (..., d) and (..., B) to (..., d)."""
        a, b = self.features.to(x)[index], self.targets.to(x)[index]
        slope = self.slope(torch.einsum("...bd,...d->...b", a, x), b)
        return torch.einsum("...b,...bd->...d", slope, a) / index.shape[-1]

    def samples(self, batch_size: int, order: str = "iid") -> Samples:
        """Return an oracle of minibatch gradients.

        Parameters
        ----------
        batch_size : int
            B; must divide n unless the order is ``"iid"``.
        order : {"iid", "reshuffled", "cyclic"}
            ``"iid"``: every index uniform and independent, so the gradient is unbiased with
            covariance ``gradient_covariance(x) / B``. The others: `companion.problems.oracles`.

        Examples
        --------
        >>> f = LeastSquares.random(n=8, d=2, kappa=10, noise=0.1, seed=0)
        >>> oracle, x = f.samples(2, "cyclic"), torch.ones(2, dtype=torch.float64)
        >>> one_epoch = sum(oracle(x) for _ in range(4)) / 4
        >>> torch.allclose(one_epoch, f.grad(x))
        True
        """
        return Samples(self.batch_gradient, len(self.features), order, batch_size)


class LeastSquares(FiniteSum):
    r"""Least squares, :math:`f_i(x) = \frac12 (a_i^\top x - b_i)^2`.

    Parameters
    ----------
    features, targets : Tensor
        a and b, of shapes (n, d) and (n,); the features of full column rank.

    Attributes
    ----------
    hessian : Tensor
        H = AᵀA / n, of shape (d, d).
    eigenvalues : Tensor
        Of the Hessian, ascending, of shape (d,).
    kappa : float
        Condition number of the Hessian.
    minimiser : Tensor
        x*, of shape (d,). The lowest loss is ``loss(minimiser)``.

    Examples
    --------
    >>> f = LeastSquares(torch.tensor([[1.0], [1.0]]), torch.tensor([1.0, 3.0]))
    >>> f.minimiser.item(), f.loss(f.minimiser).item()
    (2.0, 0.5)
    """

    def __init__(self, features, targets):
        super().__init__(features, targets)
        self.hessian = self.features.T @ self.features / len(self.features)
        self.eigenvalues = torch.linalg.eigvalsh(self.hessian)
        if self.eigenvalues[0] <= 1e-12 * self.eigenvalues[-1]:
            raise ValueError(
                f"features of shape {tuple(self.features.shape)} must have full column rank; "
                "drop the columns that depend on others"
            )
        self.kappa = (self.eigenvalues[-1] / self.eigenvalues[0]).item()
        moments = self.features.T @ self.targets / len(self.features)
        self.minimiser = torch.linalg.solve(self.hessian, moments)

    @staticmethod
    def value(z, b):
        return (z - b).square() / 2

    @staticmethod
    def slope(z, b):
        return z - b

    @classmethod
    def random(cls, n: int, d: int, kappa: float, noise: float, seed: int = 0) -> "LeastSquares":
        """Return a random problem whose Hessian has the eigenvalues 1/κ, …, 1 exactly.

        Parameters
        ----------
        n, d : int
            Samples and dimensions, n ≥ d.
        kappa : float
            Condition number; the eigenvalues are evenly spaced on a logarithmic scale.
        noise : float
            Standard deviation of the targets around a linear model. Zero: all f_i share their
            minimiser, and the gradient noise vanishes there.
        seed : int
            Seeds everything.
        """
        if not n >= d >= 1 or not kappa >= 1 or not noise >= 0:
            raise ValueError(
                f"need n >= d >= 1, kappa >= 1, noise >= 0, got n={n}, d={d}, kappa={kappa}, "
                f"noise={noise}"
            )
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        left = torch.linalg.qr(normal(n, d)).Q  # (n, d), orthonormal columns
        right = torch.linalg.qr(normal(d, d)).Q
        eigenvalues = float(kappa) ** torch.linspace(-1, 0, d, dtype=torch.float64)
        features = (left * (n * eigenvalues).sqrt()) @ right.T
        return cls(features, features @ normal(d) + noise * normal(n))


class SparseLogistic(FiniteSum):
    r"""Logistic loss on features of which most are rare, as words are in a text.

    .. math::

        f_i(x) = \log(1 + e^{-b_i a_i^\top x}), \qquad
        P(a_{ij} = 1) = p_j = j^{-\text{power}}, \quad j = 1, \dots, d

    Feature 1 is always present, and so a bias. Labels b_i = ±1 are drawn from the logistic model of
    normal weights.

    Parameters
    ----------
    n, d : int
        Samples and features. A feature that happens to be absent from all samples is given to one.
    power : float
        How fast features become rare; 0 makes all of them present always.
    seed : int
        Seeds everything.

    Attributes
    ----------
    frequency : Tensor
        The share of samples in which each feature is present, of shape (d,).
    weights : Tensor
        The weights that the labels are drawn from, of shape (d,).

    Examples
    --------
    >>> f = SparseLogistic(n=100, d=10, power=1.0)
    >>> f.frequency[0].item(), bool(f.frequency[-1] < 0.3)
    (1.0, True)
    """

    def __init__(self, n: int, d: int, power: float = 1.0, seed: int = 0):
        if not (n >= 1 and d >= 1 and power >= 0):
            raise ValueError(f"need n, d >= 1 and power >= 0, got n={n}, d={d}, power={power}")
        generator = torch.Generator().manual_seed(seed)
        like = {"generator": generator, "dtype": torch.float64}
        p = torch.arange(1, d + 1, dtype=torch.float64) ** -power
        features = (torch.rand(n, d, **like) < p).double()
        owner = torch.randint(n, (d,), generator=generator)
        absent = features.sum(0) == 0
        features[owner[absent], absent] = 1
        self.weights = torch.randn(d, **like)
        positive = torch.rand(n, **like) < torch.sigmoid(features @ self.weights)
        super().__init__(features, positive.double() * 2 - 1)
        self.frequency = self.features.mean(0)

    @staticmethod
    def value(z, b):
        return softplus(-b * z)

    @staticmethod
    def slope(z, b):
        return -b * torch.sigmoid(-b * z)
