"""Steps of an optimizer on its own tensors: state, and the rule tensor by tensor."""

import torch

from companion.kernels import group as kernels
from companion.optim.shards import (
    gradient_of,
    local,
    refuse_flat,
    sharded,
    sharded_blocks,
    shards_over,
)
from companion.optim.stack import blocks_over, grouped, split, updates
from companion.optim.state import precise, real

PIECE = 1 << 19  # elements that an eager step takes at a time: their temporaries stay in cache


class Steps(torch.optim.Optimizer):
    """What `companion.optim.optimizer.Optimizer` does with the tensors of a group."""

    def _prepare(self, params, group, h) -> None:
        """Check the gradients, make state for parameters that are new, count the step."""
        steps = []
        for p in params:
            if p.grad.layout != torch.strided:
                raise RuntimeError(
                    f"{type(self).__name__} takes dense gradients only, got layout {p.grad.layout} "
                    f"for a parameter of shape {tuple(p.shape)}; use sparse=False in the embedding"
                )
            state = self.state[p]
            if "step" not in state:
                if not self.elementwise:
                    refuse_flat(p, type(self).__name__)
                state["step"] = torch.zeros((), dtype=torch.float32, device="cpu")
                if self.block == "partition":
                    names = group.get("param_names")
                    index = next(i for i, q in enumerate(group["params"]) if q is p)
                    blocks = self.blocks(p, names[index] if names else None)
                    state["blocks"] = sharded_blocks(blocks, p)
            missing = [field for field in self.State._fields if field not in state]
            if missing and not set(missing) <= set(self.unused(h)):  # some may be wanted since
                new = self._new_state(p, h, state.get("blocks"))
                state.update({field: new[field] for field in missing if field in new})
            steps.append(state["step"])
        torch._foreach_add_(steps, 1)

    def _seen(self, p, blocks):
        """Return a parameter as the rule sees it, and the reductions over its blocks."""
        here = local(p)
        if here is p:
            return split(precise(real(p)), blocks), blocks_over(blocks, stacked=False)
        return precise(real(here)), shards_over(p, blocks)

    def _new_state(self, p, h, blocks) -> dict:
        """Return the state of a parameter before its first step, by field."""
        x, h.over = self._seen(p.detach(), blocks)
        fields = self.init(x, h)._asdict().items()
        return {field: sharded(z, x, p) for field, z in fields if z is not None}

    def problems(self, params, h):
        """Return x, g, s, t of each parameter as the rule takes them, and over what it averages.

        One at a time, so that no old state is held while the next parameter steps.
        """
        return grouped(self, map(self._problem, params), h)

    def _problem(self, p) -> tuple:
        state = self.state[p]
        blocks = state.get("blocks")
        # Autograd needs the x of before; the step is about to overwrite it.
        x, over = self._seen(p.clone() if torch.is_grad_enabled() else p, blocks)
        g = precise(real(gradient_of(p)))
        g = g if g.shape == x.shape else g.reshape(x.shape)
        s = self.State(*[local(state.get(name)) for name in self.State._fields])
        return x, g, s, state["step"].item(), over

    def _eager(self, params, h) -> None:
        for p, problem in zip(params, self.problems(params, h), strict=True):
            x, g, s, t, _ = problem
            if self._splits(p, x, g, s):
                self._step_in_pieces(x, g, s, t, h)
                continue
            ((x, s),) = updates(type(self), [problem], h)
            self.store(p, x, s)
            del problem, s  # the old state

    def _splits(self, p, x, g, s) -> bool:
        """Say whether a step can go piece by piece, in the memory of p and its state."""
        return (
            self.elementwise
            and x.numel() > PIECE
            and x.device.type == "cpu"
            and kernels.is_memory(x)
            and x.data_ptr() == local(p).data_ptr()
            and all(z is None or z.is_contiguous() for z in (x, g, *s))
        )

    def _step_in_pieces(self, x, g, s, t, h) -> None:
        fields = [name for name in s._fields if getattr(s, name) is not None]
        tensors = (x, g, *(getattr(s, name) for name in fields))
        for x, g, *state in zip(*(z.view(-1).split(PIECE) for z in tensors), strict=True):
            s = s._replace(**dict(zip(fields, state, strict=True)))
            after, new = self.update(x, g, s, t, h)
            x.copy_(after)
            for name in fields:
                getattr(s, name).copy_(getattr(new, name))

    def store(self, p, x, s) -> None:
        """Keep what a step made; x is the parameter itself unless it had to be copied."""
        target = real(local(p))
        if not kernels.is_memory(x) or x.data_ptr() != target.data_ptr():
            target.copy_(x if x.shape == target.shape else x.reshape(target.shape))
        state = self.state[p]
        for name, z in zip(s._fields, s, strict=True):
            if z is None:
                continue
            held = local(state[name])
            if held is state[name]:
                state[name] = z
            elif held.data_ptr() != z.data_ptr():
                held.copy_(z)
