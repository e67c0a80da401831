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
        Number of rows and columns.
    dtype : torch.dtype
        A real floating dtype.
    device : torch.device
    """

    def __init__(self, d: int, dtype: torch.dtype, device):
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
    """The operator of a symmetric matrix that is at hand, of shape (d, d)."""

    def __init__(self, matrix: Tensor):
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"expected a square matrix, got the shape {tuple(matrix.shape)}")
        super().__init__(matrix.shape[0], matrix.dtype, matrix.device)
        self.matrix = matrix

    def matmat(self, V: Tensor) -> Tensor:
        return self.matrix @ V
