"""A trace compiled by ``torch.compile``, for devices without a printer: a tensor at a time."""

import torch
from torch import fx

from companion.kernels.trace import Program, Trace


class TorchKernel:
    """A trace compiled by ``torch.compile``: steps tensor by tensor, in place.

    Parameters and calls are those of `companion.kernels.printed.Printed`.
    """

    repeats = False

    def __init__(self, trace: Trace, dtype):
        self.trace, self.dtype = trace, dtype
        graph, copies = fx.Graph(), {}
        for node in (*trace.slots, *trace.scalars):
            copies[node] = graph.placeholder(node.name)
        for node in trace.needed:
            if node not in copies and trace.kinds[node] in ("element", "block"):
                copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(tuple(copies[node] for node in trace.outputs))
        self.program = Program(trace, trace.scalars)
        self.function = torch.compile(fx.GraphModule({}, graph), dynamic=True)

    def __call__(self, batch, known):
        """Step tensors as `companion.kernels.printed.Printed` does."""
        known = self.program.run(known)
        values = [known[node] for node in self.trace.scalars]
        device = batch[0][0].device
        numbers = [
            torch.tensor(v, device=device, dtype=torch.bool if isinstance(v, bool) else self.dtype)
            for v in values
        ]
        slots, results = self.trace.slots, []
        own = [i for i, node in enumerate(self.trace.inputs) if node.name != "g"]
        for tensors in batch:
            # One shape of two dimensions for all: torch.compile builds anew for each rank.
            kinds = zip(slots, tensors, strict=True)
            rows = next((z.numel() for n, z in kinds if self.trace.kinds[n] == "block"), 1)
            flat = [z.detach().reshape(rows, -1) for z in tensors]
            after = dict(zip(own, self.function(*flat, *numbers), strict=True))
            # What is passed on as it stands may be another one's target.
            given = {z.data_ptr() for z in flat}
            after = {i: z.clone() if z.data_ptr() in given else z for i, z in after.items()}
            blocks = {self.trace.owner[slots[i]]: i for i in own if slots[i] in self.trace.owner}
            for i in set(own) - set(blocks.values()):
                tensors[i].copy_(after[i].view(tensors[i].shape))
            results.append({f: after[i].view(tensors[i].shape) for f, i in blocks.items()})
        return results
