"""Hessian and generalised Gauss–Newton matrix of a network, by their products."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from companion.hessian.checks import check_parameters
from companion.hessian.curvature import Curvature
from companion.hessian.graphs import vjp
from companion.hessian.network import OfNetwork, target


class Hessian(OfNetwork):
    r"""The Hessian :math:`\nabla^2 L(\theta)` of the mean loss over data.

    .. math::
        L(\theta) = \sum_b w_b\, \ell(f_\theta(x_b), y_b), \qquad
        \nabla^2 L(\theta)\, v = \nabla_\theta \big\langle \nabla L(\theta), v \big\rangle

    The gradient is differentiated once more, backwards (reverse over reverse). Its own graph does
    not know v: it is built once and kept, see Notes.

    Parameters
    ----------
    model : torch.nn.Module
        Its parameters that require a gradient are the point θ, flattened in the order of
        ``named_parameters``; dtype and device are theirs. The whole model is copied, with its
        frozen weights, buffers and mode: what happens to it later does not move the operator, and
        the operator changes nothing in it.
    loss : callable
        Maps (model(x), y) to a scalar, the **mean** over the batch. A module, or a partial
        function, is copied too; what a function closes over must stay as it is.
    data : batch or iterable of batches
        A batch is (x, y); or (x₁, x₂, …, y) for model(x₁, x₂, …); or a dictionary, of which the
        model takes the entries that its ``forward`` names and the loss the whole as y. An x may be
        a tuple or a dictionary of arguments. Batches are copied.
    weights : sequence of float, optional
        The w_b, one a batch. Unless told, such that any split of the data gives the same matrix:
        n_b/n, where n_b is what the loss divides by (the samples; the weights of those that are
        not ignored, in cross-entropy), and 1 for a loss that torch sums.
    max_bytes : int, default 2 GiB
        Memory for the graphs that are kept between products. A batch whose graph does not fit is
        run again for every ``op @ V``.

    Raises
    ------
    ValueError
        No parameters, or complex ones, or of several dtypes or devices; no data; a loss that is no
        finite real scalar, that changes between two evaluations, that needs other tensors'
        gradients, or that is no mean over its batch while there are several and no weights; active
        dropout; batch normalisation that updates running statistics; ``max_norm``.
    RuntimeError
        An operation has no second derivative; a product is not symmetric.

    Notes
    -----
    **Cost.** The first product builds the graph and a second product, to compare uᵀHv with vᵀHu:
    some six gradients. From then on a product takes about two, and every one is compared with that
    second. Columns go together where that is faster and right. The graph keeps about three times
    what training at this batch size keeps.

    **Kinks.** ReLU has second derivative zero where autograd looks, and none at 0: the matrix is
    that of the linear piece on which θ lies, which misses the jumps of the gradient between pieces.

    **Attention** runs as plain matrix products: fused kernels have no second derivative.

    **Embeddings.** The row of ``padding_idx`` counts as fixed, as in training: its rows and columns
    of the matrix are zero.

    **Batch normalisation** needs batch statistics that depend on nothing else: build it with
    ``track_running_stats=False``, or call ``model.eval()`` for fixed ones. The mean over batches is
    then a property of the batches too.

    References
    ----------
    Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994.

    Examples
    --------
    >>> model = torch.nn.Linear(3, 1).double()
    >>> x, y = torch.randn(8, 3).double(), torch.randn(8, 1).double()
    >>> op = Hessian(model, torch.nn.functional.mse_loss, (x, y))
    >>> op.shape
    (4, 4)
    >>> torch.allclose(op.dense()[:3, :3], 2 * x.T @ x / 8)
    True
    >>> f = lambda x: (x**4).sum()
    >>> Hessian.of(f, torch.tensor([1.0, 2.0])) @ torch.ones(2)
    tensor([12., 48.])
    """

    @classmethod
    def of(cls, f: Callable[[Tensor], Tensor], x: Tensor, max_bytes: int = 2**31) -> Self:
        """Return the Hessian at x, a tensor of any shape, of a function f to a scalar."""
        self = cls.__new__(cls)
        check_parameters({"x": x})
        with torch.inference_mode(False):
            x = x.detach().clone().requires_grad_()
        self.objective = lambda batch: f(x)
        Curvature.__init__(self, {"x": x}, [()], [1.0], max_bytes)
        return self

    def linear(self, batch):
        loss = self.objective(batch)
        g = vjp([loss], self.leaves, [torch.ones_like(loss)], create_graph=True)
        return loss.detach(), lambda v, batched: vjp(g, self.leaves, v, batched)


class GaussNewton(OfNetwork):
    r"""The generalised Gauss–Newton matrix of the mean loss over data.

    .. math::
        G(\theta) = \sum_b w_b\, J_b^\top\, \nabla_z^2 \ell(z_b, y_b)\, J_b, \qquad
        z_b = f_\theta(x_b), \quad J_b = \partial z_b / \partial \theta

    It is the Hessian of the loss of the linearised network: positive semi-definite where ℓ is
    convex in the network's output, and the Fisher matrix of cross-entropy. One pass through the
    network (J v, the derivative of Jᵀu by u), one through the loss, one back (Jᵀ).

    Parameters, errors and notes are those of :class:`Hessian`.

    References
    ----------
    Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", Neural
    Computation 14, 2002.

    Examples
    --------
    >>> model = torch.nn.Linear(3, 2).double()
    >>> x, y = torch.randn(8, 3).double(), torch.randint(2, (8,))
    >>> data, loss = (x, y), torch.nn.functional.cross_entropy
    >>> G, H = GaussNewton(model, loss, data), Hessian(model, loss, data)
    >>> torch.allclose(G.dense(), H.dense())  # of a linear model
    True
    """

    def linear(self, batch):
        parts, structure = tree_flatten(self.outputs(batch))
        places = [i for i, t in enumerate(parts) if isinstance(t, Tensor) and t.requires_grad]
        z = [parts[i] for i in places]
        if not z:
            raise ValueError("model: its output holds no tensor that depends on the parameters")
        u = [torch.zeros_like(t, requires_grad=True) for t in z]
        Jtu = vjp(z, self.leaves, u, create_graph=True)
        cut = [t.detach().requires_grad_() for t in z]
        for i, t in zip(places, cut, strict=True):
            parts[i] = t
        loss = self.criterion(tree_unflatten(parts, structure), target(batch))
        g = vjp([loss], cut, [torch.ones_like(loss)], create_graph=True)

        def product(v, batched):
            Jv = vjp(Jtu, u, v, batched)
            return vjp(z, self.leaves, vjp(g, cut, Jv, batched), batched)

        return loss.detach(), product
