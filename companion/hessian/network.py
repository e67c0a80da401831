"""The loss of a network over data, as it is now: nothing that happens later moves it."""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from companion.hessian.batches import batch_weights, read_batches
from companion.hessian.curvature import Curvature


class OfNetwork(Curvature):
    """A curvature of the mean loss of a model over data; arguments as for :class:`Hessian`."""

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Tensor],
        data,
        weights: Sequence[float] | None = None,
        max_bytes: int = 2**31,
    ):
        check_modules(model)
        self.model, self.criterion = snapshot(model, loss)
        parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        device = next(iter(parameters.values())).device if parameters else None
        batches = read_batches(data, device)
        coupled = any(
            isinstance(m, _BatchNorm) and (m.training or m.running_mean is None)
            for m in self.model.modules()
        )
        batches, weights = batch_weights(batches, weights, self.objective, check=not coupled)
        super().__init__(parameters, batches, weights, max_bytes)

    def outputs(self, batch):
        """Return what the model gives for a batch."""
        return apply(self.model, batch if isinstance(batch, Mapping) else batch[:-1])

    def objective(self, batch) -> Tensor:
        return self.criterion(self.outputs(batch), target(batch))


def target(batch):
    """Return what the loss takes beside the model's output: y, or the whole of a dictionary."""
    return batch if isinstance(batch, Mapping) else batch[-1]


def apply(model: nn.Module, inputs):
    """Return model(*inputs), or model(**inputs) for a dictionary.

    One input that is itself a sequence or a dictionary is spread out where ``forward`` takes its
    parts, and given as it is where not. Of a dictionary that is a whole batch, ``forward`` gets
    those entries that it names.
    """
    signature = inspect.signature(model.forward)

    def fits(*args, **kwargs):
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            return False
        return True

    if isinstance(inputs, Mapping):
        kinds = {p.kind for p in signature.parameters.values()}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            named = {k: v for k, v in inputs.items() if k in signature.parameters}
        else:
            named = dict(inputs)
        return model(**named) if named and fits(**named) else model(inputs)
    if len(inputs) == 1:
        (x,) = inputs
        if isinstance(x, Mapping) and fits(**x):
            return model(**x)
        if isinstance(x, Sequence) and fits(*x):
            return model(*x)
    return model(*inputs)


def snapshot(model: nn.Module, loss: Callable) -> tuple[nn.Module, Callable]:
    """Return a copy of the model, and of a loss that is a module or a partial function.

    Other functions stay as they are: what they close over is theirs.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile's wrapper has no second derivative
    held = loss if isinstance(loss, nn.Module | functools.partial) else None
    try:
        with torch.inference_mode(False), _Copying():
            model, held = copy.deepcopy((model, held))
    except Exception as error:
        raise ValueError(f"model: cannot be copied ({type(error).__name__}: {error})") from error
    own = {id(p) for p in model.parameters()}
    for module in model.modules():
        # Such hooks see gradients, or change them; the loss they leave as it is.
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
    for part in (held, *getattr(held, "args", ()), *getattr(held, "keywords", {}).values()):
        if isinstance(part, nn.Module):
            for p in part.parameters():
                if id(p) not in own:
                    p.requires_grad_(False)
    return model, loss if held is None else held


class _Copying(TorchFunctionMode):
    """Copies tensors that a graph made, such as activations that a module keeps, as constants."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is Tensor.__deepcopy__ and not args[0].is_leaf:
            t, memo = args
            return memo.setdefault(id(t), t.detach().clone())
        return function(*args, **(kwargs or {}))


def check_modules(model: nn.Module) -> None:
    """Refuse what is no module, or changes from one evaluation to the next."""
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model: expected a torch.nn.Module, got {type(model).__name__}; "
            "for a function of a tensor, use Hessian.of"
        )
    for name, p in model.named_parameters():
        if nn.parameter.is_lazy(p):
            raise ValueError(f"{name}: has no shape yet; call the model once first")
    for name, module in model.named_modules():
        if not module.training:
            continue
        name = name or type(module).__name__
        if isinstance(module, _NormBase) and module.running_mean is not None:
            raise ValueError(
                f"model: {name} updates running statistics at every evaluation; build it with "
                "track_running_stats=False (batch statistics), or call model.eval() (fixed ones)"
            )
        if isinstance(module, _DropoutNd) and module.p > 0:
            raise ValueError(
                f"model: {name} drops activations at random, so the loss has no one Hessian; call "
                "model.eval(), or set its p to 0"
            )
