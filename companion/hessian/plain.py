"""Torch's functions as plain operations, whose second derivatives exist and are right."""

from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


class Plain(TorchFunctionMode):
    """Replace functions whose backward pass torch cannot differentiate, or differentiates wrongly.

    Attributes
    ----------
    losses : list of (Tensor, Tensor or float or None)
        The losses of ``torch.nn.functional`` that ran, each with its normaliser: what its sum was
        divided by, None for a loss that is a sum.
    """

    def __init__(self):
        super().__init__()
        self.losses = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = PLAIN.get(function, function)(*args, **kwargs)
        if (measure := NORMALISERS.get(function)) and isinstance(result, Tensor):
            reduction = kwargs.get("reduction", "mean")
            if reduction in ("mean", "sum") and not result.ndim:
                value = None if reduction == "sum" else measure(*args, **kwargs)
                self.losses.append((result, value))
        return result


@contextmanager
def twice_differentiable():
    """Run with gradients, in full precision, on plain operations; give the `Plain` mode.

    Fused attention has one derivative only, so that attention runs as matrix products. The random
    numbers that are drawn inside are not missed outside.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with (
        torch.random.fork_rng(devices),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
        sdpa_kernel(SDPBackend.MATH),
        Plain() as plain,
    ):
        try:
            yield plain
        except (NotImplementedError, RuntimeError) as error:
            said = str(error)
            if "not implemented" in said or "double backward" in said.lower():
                raise RuntimeError(f"no second derivative: {said}") from error
            if "modified by an inplace" in said:
                raise RuntimeError(
                    "the loss uses a tensor that has been changed in place since the operator was "
                    "made, or that it changes itself; give it a copy"
                ) from error
            raise


def _embedding(
    input,
    weight,
    padding_idx=None,
    max_norm=None,
    norm_type=2.0,
    scale_grad_by_freq=False,
    sparse=False,
):
    # Sparse and scaled gradients are no other loss: they only serve the optimizer.
    _refuse_renorm(max_norm)
    return F.embedding(input, weight, padding_idx)


def _embedding_bag(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    _refuse_renorm(max_norm)
    if input.ndim == 2:
        rows = torch.arange(len(input), device=input.device)
        bags, bag = len(input), rows.repeat_interleave(input.shape[1])
    else:
        bags = len(offsets) - include_last_offset
        places = torch.arange(len(input), device=input.device)
        bag = torch.searchsorted(offsets[:bags].contiguous(), places, right=True) - 1
    index = input.flatten()
    each = F.embedding(index, weight)  # (indices, width)
    if per_sample_weights is not None:
        each = each * per_sample_weights.flatten().unsqueeze(1)
    if padding_idx is not None:
        keep = index != padding_idx % len(weight)
        each, bag = each[keep], bag[keep]
    total = each.new_zeros(bags, weight.shape[1])
    if mode == "max":
        place = bag.unsqueeze(1).expand_as(each)
        return total.scatter_reduce(0, place, each, "amax", include_self=False)
    total = total.index_add(0, bag, each)
    count = torch.bincount(bag, minlength=bags).clamp(min=1).unsqueeze(1)
    return total / count if mode == "mean" else total


def _refuse_renorm(max_norm):
    if max_norm is not None:
        raise ValueError(
            f"max_norm: an embedding with max_norm={max_norm} changes its weights whenever it is "
            "evaluated, so that the loss has no one Hessian; set it to None"
        )


def _weight_norm(v, g, dim=0):
    # The second derivative of torch's own is wrong: no symmetric matrix (2.13).
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _classes(input, target, weight=None, size_average=None, ignore_index=-100, *args, **kwargs):
    if target.is_floating_point():  # probabilities of classes
        return target.numel() / target.shape[min(1, target.ndim - 1)]
    target = target[target != ignore_index]
    return target.numel() if weight is None else weight[target].sum().item()


def _elements(input, target, *args, **kwargs):
    return torch.broadcast_shapes(input.shape, target.shape).numel()


PLAIN = {
    F.embedding: _embedding,
    F.embedding_bag: _embedding_bag,
    torch._weight_norm: _weight_norm,
}
NORMALISERS = {F.cross_entropy: _classes, F.nll_loss: _classes} | dict.fromkeys(
    (
        F.mse_loss,
        F.l1_loss,
        F.smooth_l1_loss,
        F.huber_loss,
        F.binary_cross_entropy,
        F.binary_cross_entropy_with_logits,
    ),
    _elements,
)
