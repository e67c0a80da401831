"""Products with Jacobians by graphs that stay, and the memory that these keep."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Storages(TorchDispatchMode):
    """Notes the memory of all results: what of it is alive later has been kept by a graph."""

    def __init__(self):
        super().__init__()
        self.found: dict[int, tuple[StorageWeakRef, int]] = {}

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # or torch imports its compiler, which takes seconds

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for t in tree_leaves(result):
            if isinstance(t, Tensor) and t.layout == torch.strided:
                storage = t.untyped_storage()
                reference = StorageWeakRef(storage)
                self.found[reference.cdata] = reference, storage.nbytes()
        return result

    def alive(self) -> int:
        """Return the bytes of the results that are still there."""
        return sum(size for reference, size in self.found.values() if not reference.expired())


def vjp(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    vectors: Sequence[Tensor],
    batched: bool = False,
    create_graph: bool = False,
) -> list[Tensor]:
    """Return Jᵀv for the Jacobian J of outputs by inputs, or of k vectors; keep the graph."""
    pairs = [pair for pair in zip(outputs, vectors, strict=True) if pair[0].requires_grad]
    found = [None] * len(inputs)
    if pairs:
        outputs, vectors = zip(*pairs, strict=True)
        found = torch.autograd.grad(
            outputs,
            inputs,
            vectors,
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
            is_grads_batched=batched,
        )
    lead = vectors[0].shape[:1] if batched else ()
    zeros = (p.new_zeros((*lead, *p.shape)) for p in inputs)
    return [zero if g is None else g for g, zero in zip(found, zeros, strict=True)]


def flat(tensors: Iterable[Tensor], lead: int = 0) -> Tensor:
    """Return tensors as one, flat after ``lead`` leading dimensions."""
    return torch.cat([t.reshape((*t.shape[:lead], -1)) for t in tensors], lead)


def graph_leaves(loss: Tensor) -> list[Tensor]:
    """Return the leaves that require a gradient and that a tensor depends on."""
    nodes, found = [loss.grad_fn] if loss.grad_fn else [], {}
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        new = {parent for parent, _ in node.next_functions if parent} - seen
        seen |= new
        nodes += new
    return list(found.values())
