r"""AdamW: Adam whose weight decay acts on the parameter, not through the gradient."""

from companion.optim.adam import Adam


class AdamW(Adam):
    r"""Adam with decoupled weight decay.

    .. math:: x_{t-1} \leftarrow (1 - \alpha \lambda) \, x_{t-1}, \qquad \text{then Adam's step.}

    Parameters
    ----------
    params : iterable
        Parameters or groups.
    lr, betas, eps
        As for `Adam`.
    weight_decay : float
        λ; a step shrinks every parameter by the factor 1 - αλ.
    **options
        ``maximize``, ``differentiable``, ``fused``.

    Notes
    -----
    Memory: two tensors a parameter. Source: Loshchilov and Hutter (2019), Algorithm 2; defaults of
    ``torch.optim.AdamW``.

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.tensor([4.0]))
    >>> optimizer = AdamW([x], lr=0.5, weight_decay=0.5)
    >>> x.grad = torch.tensor([0.0])
    >>> optimizer.step()
    >>> x.item()  # no gradient: decay alone, 4 · (1 - 0.25)
    3.0
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, **options):
        super().__init__(params, lr, betas, eps, weight_decay, **{"decoupled": True, **options})
