"""What is refused before a first product: points, losses and gradients that mislead."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from companion.hessian.graphs import flat, graph_leaves, vjp


def check_parameters(parameters: dict[str, Tensor]) -> None:
    """Refuse a point that is empty, complex, sparse, or of several dtypes or devices."""
    if not sum(p.numel() for p in parameters.values()):
        raise ValueError("model: it has no parameters that require a gradient")
    for name, p in parameters.items():
        if not p.is_floating_point() or p.layout != torch.strided:
            raise ValueError(f"{name}: expected a dense real tensor, got {p.dtype}, {p.layout}")
        if type(p) not in (Tensor, torch.nn.Parameter):
            raise ValueError(f"{name}: expected a plain tensor, got {type(p).__name__}")
    kinds = {(p.dtype, p.device) for p in parameters.values()}
    if len(kinds) > 1:
        got = sorted(f"{dtype} on {device}" for dtype, device in kinds)
        raise ValueError(f"model: expected parameters of one dtype and device, got {got}")


def check_leaves(loss: Tensor, leaves: Sequence[Tensor]) -> None:
    """Refuse a loss that does not depend on the leaves, or also on others."""
    reached = graph_leaves(loss)
    own = {id(p) for p in leaves}
    if not any(id(p) in own for p in reached):
        raise ValueError("loss: it does not depend on the parameters; is it detached?")
    if other := [tuple(p.shape) for p in reached if id(p) not in own]:
        raise ValueError(
            f"loss: it uses tensors that require a gradient, of shapes {other}, beside the "
            "parameters of the copied model; reach the model's through its output or "
            "through a loss that is a module, and detach() all others"
        )


def check_slope(loss: Tensor, objective: Callable, batch, leaves: Sequence[Tensor]) -> None:
    """Refuse gradients that are not the slope of the loss, along the gradient of a batch."""
    g = vjp([loss], leaves, [torch.ones_like(loss)])
    loss, norm = loss.item(), torch.linalg.vector_norm(flat(g)).item()
    eps = torch.finfo(leaves[0].dtype).eps
    noise, close = eps * abs(loss), 5 * eps**0.25  # a tenth in float32
    points = [p.detach().clone() for p in leaves]

    def rise(step):
        with torch.no_grad():
            for p, point, t in zip(leaves, points, g, strict=True):
                p.copy_(point + step / norm * t)
            with torch.enable_grad():
                moved = objective(batch).item()
            for p, point in zip(leaves, points, strict=True):
                p.copy_(point)
        return moved - loss

    # A step that moves the loss by 3 permille, then shorter ones, while rounding is far below.
    step, wrong, slope = 3e-3 * abs(loss) / norm if 0 < norm < math.inf else 0.0, False, norm
    while step * norm > 300 * noise:
        up, down = rise(step), -rise(-step)
        slope = (up + down) / (2 * step)
        wrong = abs(slope - norm) > close * norm + 100 * noise / step
        if not wrong:
            break
        wrong = abs(up - down) < 0.05 * abs(up + down)  # or it is only bent, or has kinks
        step /= 30
    if wrong:
        raise ValueError(
            f"loss: along the gradient it rises by {slope:.3g}, the gradient says {norm:.3g}: "
            "something changes gradients on their way back (detach(), a hook on a tensor, a "
            "custom autograd.Function), so that their derivative is no Hessian"
        )
