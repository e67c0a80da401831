"""Torch's functions as plain operations, whose second derivatives exist and are right."""

import inspect
from contextlib import contextmanager
from types import SimpleNamespace

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


def _bound(function, args, kwargs) -> SimpleNamespace:
    """Return the arguments of a call by name, those left out too."""
    call = inspect.signature(function).bind(*args, **kwargs)
    call.apply_defaults()
    a = SimpleNamespace(**call.arguments)
    if a.max_norm is not None:
        raise ValueError(
            f"max_norm: an embedding with max_norm={a.max_norm} changes its weights whenever it is "
            "evaluated, so that the loss has no one Hessian; set it to None"
        )
    return a


# Sparse gradients, and gradients scaled by frequency, are no other loss: they serve an optimizer.
def _embedding(*args, **kwargs):
    a = _bound(F.embedding, args, kwargs)
    return F.embedding(a.input, a.weight, a.padding_idx)


def _embedding_bag(*args, **kwargs):
    a = _bound(F.embedding_bag, args, kwargs)
    index, offsets = a.input.flatten(), a.offsets
    if a.input.ndim == 2:
        offsets = torch.arange(0, a.input.numel(), a.input.shape[1], device=index.device)
    bags = len(offsets) - (a.include_last_offset and a.input.ndim == 1)
    places = torch.arange(len(index), device=index.device)
    bag = torch.searchsorted(offsets[:bags].long().contiguous(), places, right=True) - 1
    each = F.embedding(index, a.weight)  # (indices, width)
    if a.per_sample_weights is not None:
        each = each * a.per_sample_weights.flatten().unsqueeze(1)
    if a.padding_idx is not None:
        keep = index != a.padding_idx % len(a.weight)
        each, bag = each[keep], bag[keep]
    total = each.new_zeros(bags, a.weight.shape[1])
    if a.mode == "max":
        bag = bag.unsqueeze(1).expand_as(each)
        return total.scatter_reduce(0, bag, each, "amax", include_self=False)
    total = total.index_add(0, bag, each)
    if a.mode == "sum":
        return total
    return total / torch.bincount(bag, minlength=bags).clamp(min=1).unsqueeze(1)


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
NORMALISERS = {F.cross_entropy: _classes, F.nll_loss: _classes}
for _name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy"):
    NORMALISERS[getattr(F, _name)] = _elements
NORMALISERS[F.binary_cross_entropy_with_logits] = _elements
