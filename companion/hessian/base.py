"""A symmetric linear operator: a matrix of which only products are at hand."""

import numpy as np
import torch
from torch import Tensor


class LinearOperator:
    r"""A symmetric matrix :math:`A \in \mathbb{R}^{d \times d}`, known by its products.

    Subclasses give ``d``, ``dtype`` and ``device`` and write ``matmat``.

    Parameters
    ----------
    d : int
        Number of rows and columns, at least one.
    dtype : torch.dtype
        float32 or float64: half precision is too coarse for what is estimated here.
    device : torch.device
    """

    def __init__(self, d: int, dtype: torch.dtype, device):
        if d < 1:
            raise ValueError(f"d: expected an operator of at least one row, got {d}")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
        self.d, self.dtype, self.device = d, dtype, torch.device(device)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, ``(d, d)``."""
        return self.d, self.d

    def matmat(self, V: Tensor) -> Tensor:
        """Return ``A @ V`` for columns V of shape (d, k), of the operator's dtype and device."""
        raise NotImplementedError

    def __matmul__(self, v: Tensor) -> Tensor:
        """Return ``A @ v``, for v of shape (d,) or (d, k)."""
        if not isinstance(v, Tensor) or v.ndim not in (1, 2) or v.shape[0] != self.d:
            got = tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__
            raise ValueError(f"expected a tensor of shape ({self.d},) or ({self.d}, k), got {got}")
        if v.dtype != self.dtype or v.device != self.device:
            raise ValueError(
                f"expected {self.dtype} on {self.device}, as the operator is; "
                f"got {v.dtype} on {v.device}"
            )
        return self.matmat(v) if v.ndim == 2 else self.matmat(v.unsqueeze(1)).squeeze(1)

    def dense(self) -> Tensor:
        """Return the matrix, of shape (d, d). Cost: d products and d² numbers."""
        return self @ torch.eye(self.d, dtype=self.dtype, device=self.device)

    def to_scipy(self):
        """Return a ``scipy.sparse.linalg.LinearOperator`` that takes and gives NumPy arrays."""
        import scipy.sparse.linalg  # slow to import, and few need it

        def product(v: np.ndarray) -> np.ndarray:
            v = torch.as_tensor(v).to(self.dtype)
            return (self @ v.to(self.device)).detach().cpu().numpy()

        dtype = torch.empty(0, dtype=self.dtype).numpy().dtype
        return scipy.sparse.linalg.LinearOperator(
            self.shape,
            matvec=product,
            rmatvec=product,
            matmat=product,
            rmatmat=product,
            dtype=dtype,
        )


class Dense(LinearOperator):
    """The operator of a symmetric matrix that is at hand, of shape (d, d).

    Raises
    ------
    ValueError
        Another shape or dtype; a matrix that differs from its transpose by more than the square
        root of rounding, relative to its largest entry.
    FloatingPointError
        NaN or infinity.
    """

    def __init__(self, matrix: Tensor):
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"expected a square matrix, got the shape {tuple(matrix.shape)}")
        super().__init__(matrix.shape[0], matrix.dtype, matrix.device)
        size = torch.stack(matrix.aminmax()).abs().max()
        if not bool(size.isfinite()):
            raise FloatingPointError("matrix: it holds NaN or infinity")
        off = (matrix - matrix.T).max()  # of A - Aᵀ, the largest is the largest in size
        if off > torch.finfo(matrix.dtype).eps ** 0.5 * size:
            raise ValueError(
                f"matrix: expected a symmetric one, got |A - Aᵀ| of up to {off:.3g} beside entries "
                f"of up to {size:.3g}; (A + A.T) / 2 is"
            )
        self.matrix = matrix

    def matmat(self, V: Tensor) -> Tensor:
        return self.matrix @ V
