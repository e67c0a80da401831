r"""Step a whole parameter group by one kernel, compiled from the rule: ``fused=True``.

On a CPU the kernel is C++, built by the compiler that ``CXX`` names (default ``c++``) in about half
a second and kept in the user's cache folder. On a GPU it is Triton, one launch a group. On
other devices the same trace goes through ``torch.compile``, a tensor at a time. Where none works, a
``RuntimeWarning`` says why and the group steps eagerly.
"""

import ctypes
import warnings

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from companion.kernels.build import Untranslatable
from companion.kernels.cpp import TYPES, CppKernel
from companion.kernels.inductor import TorchKernel
from companion.kernels.printed import Tensors
from companion.kernels.trace import Program, Trace, is_zero
from companion.kernels.triton import TritonKernel, available


def step(optimizer, params, h) -> bool:
    """Step all parameters of a group; return False, after a warning, where no kernel can be had."""
    plans = optimizer.__dict__.setdefault("_plans", {})
    plan = plans.get(params[0])
    if plan and plan.fits(optimizer, params, h):
        plan.run(h)
        increment_version(params)
        return True
    try:
        launches = _launches(optimizer, params, h)
    except Untranslatable as reason:
        warnings.warn(
            f"{type(optimizer).__name__}(fused=True) steps eagerly: {reason}",
            RuntimeWarning,
            stacklevel=4,
        )
        return False
    for (kernel, t), entries in launches.items():
        results = kernel([slots for *_, slots in entries], kernel.trace.known(h, t))
        for (p, s, slots), blocks in zip(entries, results, strict=True):
            optimizer.store(p, slots[0], s._replace(**blocks))
        if len(launches) == 1 and Plan.holds(optimizer, kernel, entries):
            plans[params[0]] = Plan(optimizer, kernel, entries, h)
    increment_version(params)  # autograd has to know that they changed
    return True


def _launches(optimizer, params, h) -> dict:
    """Sort the parameters of a group by (kernel, t): one call each.

    Returns a dictionary to lists of (parameter, its state, its tensors in the kernel's order).
    Parameters whose first gradient came late count their own steps, so they go apart.
    """
    launches = {}
    for p, (x, g, s, t, over) in zip(params, optimizer.problems(params, h), strict=True):
        tensors = [z for z in (x, g, *s) if z is not None]
        if not all(is_memory(z) for z in tensors):
            raise Untranslatable(f"a parameter or its gradient or state is a {type(p).__name__}")
        if x.dtype not in TYPES:
            raise Untranslatable(f"there are no kernels for {x.dtype}")
        if any(z.device != x.device for z in tensors):
            raise Untranslatable("a gradient or a state is not where its parameter is")
        fields = {name: _kind(z, x) for name, z in s._asdict().items()}
        kernel = _kernel(optimizer, x.device, x.dtype, h, fields)
        x, g, *state = (z if z is None else z.to(x.dtype).contiguous() for z in (x, g, *s))
        slots = [x, g]
        for z, kind in zip(state, fields.values(), strict=True):
            slots += z.unbind() if isinstance(kind, int) else () if z is None else (z,)
        if kernel.trace.reductions:
            h.over = over
            slots += _reduced(kernel.trace, slots, h, t)
        launches.setdefault((kernel, t), []).append((p, type(s)(*state), slots))
    return launches


def _kind(z, x):
    """Return what a field of the state holds, in the words of `companion.kernels.trace.Trace`."""
    if z is None or z.shape == x.shape:
        return None if z is None else "element"
    return len(z) if z.shape[1:] == x.shape else "block"


def _reduced(trace, slots, h, t) -> list:
    """Return what the words of ``h`` make of these tensors."""
    known = trace.known(h, t) | dict(zip(trace.inputs, slots, strict=True))
    for word, argument, result in trace.reductions:
        if hasattr(h.over, "value"):  # of a group: the gradient's, and known
            value = h.over.value
        else:
            value = getattr(h, word)(Program(trace, [argument]).run(known)[argument])
        known[result] = value.to(slots[0]).contiguous()
    return [known[result] for *_, result in trace.reductions]


def is_memory(z: Tensor) -> bool:
    """Say whether a tensor is memory here, and no wrapper around other tensors."""
    return z.layout == torch.strided and type(z).__torch_dispatch__ is Tensor.__torch_dispatch__


_kernels: dict = {}


def _structure(optimizer, h) -> tuple:
    """Return what of h makes a kernel of its own: the options that are not numbers."""
    names = (n for n in optimizer.defaults if n not in optimizer.numbers and n != "betas")
    return (*((name, getattr(h, name)) for name in names), is_zero(h.weight_decay))


def _kernel(optimizer, device, dtype, h, fields):
    """Return the kernel of a rule in one configuration, or why there is none."""
    key = (type(optimizer), device, dtype, _structure(optimizer, h), tuple(fields.items()))
    try:
        hash(key)
    except TypeError as error:
        raise Untranslatable(f"an option cannot tell kernels apart: {error}") from None
    if key not in _kernels:
        try:
            trace = Trace(type(optimizer), h, fields)
            _kernels[key] = _compiled(trace, dtype, device)
        except Untranslatable as reason:
            _kernels[key] = reason
    if isinstance(_kernels[key], Untranslatable):
        raise _kernels[key]
    return _kernels[key]


def _compiled(trace, dtype, device):
    if device.type == "cpu":
        return CppKernel(trace, dtype)
    if available(device):
        return TritonKernel(trace, dtype, device)
    return TorchKernel(trace, dtype)


class Plan:
    """A launch to repeat: parameters and state stay where they are, only the gradients move.

    To sort a group anew at every step costs more than to step a small model. A plan does that
    work once, and checks by identity and address that nothing has changed since.
    """

    def __init__(self, optimizer, kernel, entries, h):
        self.kernel, self.structure, self.entries = kernel, _structure(optimizer, h), []
        for p, *_ in entries:
            state = optimizer.state[p]
            fields = [(name, state[name]) for name in ("step", *state) if name != "blocks"]
            step = ctypes.c_float.from_address(state["step"].data_ptr())  # held by fields
            held = state, len(state), fields, step
            self.entries.append((p, p.data_ptr(), p.shape, p.dtype, *held))
        slots = [slots for *_, slots in entries]
        addresses = [z.data_ptr() for tensors in slots for z in tensors]
        sizes = [tensors[0].numel() for tensors in slots]
        self.tensors = Tensors(sizes, [1] * len(slots), addresses)
        self.t = None

    @staticmethod
    def holds(optimizer, kernel, entries) -> bool:
        """Say whether a launch can be repeated: all that it writes to stays where it is."""
        steps = [optimizer.state[p]["step"] for p, *_ in entries]
        return (
            kernel.repeats
            and all(step.dtype == torch.float32 and step.is_cpu for step in steps)
            and all(is_memory(p) and p.data_ptr() == slots[0].data_ptr() for p, _, slots in entries)
        )

    def fits(self, optimizer, params, h) -> bool:
        """Say whether the launch is still the right one; take up gradients and count on the way."""
        if len(params) != len(self.entries) or self.structure != _structure(optimizer, h):
            return False
        addresses, self.t = [], self.entries[0][-1].value
        for p, entry in zip(params, self.entries, strict=True):
            (q, address, shape, dtype, state, length, fields, step), g = entry, p.grad
            same = p is q and p.data_ptr() == address and optimizer.state[p] is state
            same = same and len(state) == length  # momentum may have been switched on
            shaped = p.is_contiguous() and p.shape == shape and p.dtype == dtype
            if not (same and shaped and step.value == self.t):  # a late parameter counts for itself
                return False
            plain = type(g) is Tensor or is_memory(g)
            if not (plain and g.dtype == dtype and g.is_contiguous()):
                return False
            for name, tensor in fields:
                if state.get(name) is not tensor:
                    return False
            addresses.append(g.data_ptr())
        self.tensors.pointers[:, 1] = addresses
        return True

    def run(self, h) -> None:
        """Step, at the count that `fits` found all parameters at."""
        self.kernel.launch(self.tensors, self.kernel.trace.known(h, self.t))
