r"""BlockwiseAdam: one second moment a block, between AdaSGD and Adam."""

from companion.optim import blocks
from companion.optim.adasgd import AdaSGD


class BlockwiseAdam(AdaSGD):
    r"""Adam with one second moment for each block b of a partition.

    .. math::

        v_{t,b} = \beta_2 v_{t-1,b} + (1 - \beta_2) \, \|g_{t,(b)}\|_2^2 / d_b, \qquad
        x_{t,(b)} = x_{t-1,(b)} - \alpha \, \hat m_{t,(b)} / (\sqrt{\hat v_{t,b}} + \epsilon)

    Parameters
    ----------
    params : iterable
        Parameters or groups. `companion.optim.blocks.AdamMini` wants them named: pass
        ``model.named_parameters()``.
    lr, betas, eps, weight_decay, **options
        As for `companion.optim.Adam`.
    partition : str or callable
        How each parameter splits: ``"tensor"`` (one block; this is Adalayer), ``"rows"``,
        ``"elements"`` (this is Adam), or a function ``(p, name) -> blocks``, where ``blocks`` is
        the number of equal contiguous blocks of ``p.flatten()`` or an int64 tensor of labels
        0, 1, … in the shape of p. Ready-made: `companion.optim.blocks`. The blocks of a
        parameter are chosen at its first step and saved with its state.

    Notes
    -----
    Memory: one tensor a parameter and one number a block (a second tensor, and the labels, for a
    partition by labels). Sources: Xie, Mohamadi and Li (2024), Algorithm 3; Adam-mini, Zhang et
    al. (2024); Adalayer, Zhao et al. (2024).

    Examples
    --------
    >>> x = torch.nn.Parameter(torch.zeros(2, 2))
    >>> optimizer = BlockwiseAdam([x], lr=1.0, partition="rows")
    >>> x.grad = torch.tensor([[1.0, 7.0], [3.0, 3.0]])  # row means of g²: 25 and 9
    >>> optimizer.step()
    >>> [[round(value, 4) for value in row] for row in x.tolist()]
    [[-0.2, -1.4], [-1.0, -1.0]]
    """

    block = "partition"

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        partition="tensor",
        **options,
    ):
        self.partition = blocks.resolve(partition)
        super().__init__(params, lr, betas, eps, weight_decay, **options)

    def blocks(self, p, name):
        return blocks.divide(self.partition, p, name)

    def __getstate__(self):
        return {**super().__getstate__(), "partition": self.partition}
