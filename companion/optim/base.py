"""The engine that steps a rule: arguments, weight decay, precision and state live here, once.

A *rule* is a pure function of tensors, written the way the paper prints it::

    rule(x, g, s, t, h) -> (x, s)

``x`` is the parameter, ``g`` its gradient, ``s`` the state (a ``NamedTuple``), ``t = 1, 2, …`` the
number of this step, and ``h`` the hyper-parameters by name (``h.lr``, ``h.beta1``, …). Numbers may
be floats or tensors that broadcast. A rule never branches on data, so the same text steps a
parameter, compiles to one kernel, batches over a grid and differentiates.
"""

import difflib
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.utils._pytree import tree_leaves, tree_map_only

from companion.optim import fused as kernels
from companion.optim.options import RANGES, SCHEDULERS, check, is_zero

PIECE = 1 << 19  # elements that an eager step takes at a time: their temporaries stay in cache


def lerp(a, b, weight):
    """Return ``a + weight (b - a)``, for a weight that is a number or a tensor of any dtype."""
    if isinstance(weight, Tensor):
        weight = weight.to(a.dtype)
    return torch.lerp(a, b, weight)


def clamp(x, low=None, high=None):
    """Return x within bounds that are numbers or tensors of any dtype."""
    low, high = (z.to(x.dtype) if isinstance(z, Tensor) else z for z in (low, high))
    return x.clamp(low, high)


def descend(x, step, direction, scale=None):
    """Return ``x - step * direction / scale``, as one operation where ``step`` is a number."""
    if not isinstance(step, float):
        return x - step * (direction if scale is None else direction / scale)
    if scale is None:
        return torch.sub(x, direction, alpha=step)
    return torch.addcdiv(x, direction, scale, value=-step)


def where(condition, a, b):
    """Return ``a`` where the condition holds, else ``b``; a plain ``bool`` chooses at once."""
    if isinstance(condition, bool):
        return a if condition else b
    return torch.where(condition, a, b)


def real(x: Tensor) -> Tensor:
    """Return a complex tensor's view as pairs of reals, and a real tensor as it is."""
    return torch.view_as_real(x) if x.is_complex() else x


def precise(x: Tensor) -> Tensor:
    """Return half-precision tensors in float32: rules and their state never run in less."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def named(options: dict) -> SimpleNamespace:
    """Turn a dictionary of options into ``h``: ``betas`` become ``beta1`` and ``beta2``.

    ``h.mean`` and ``h.max`` reduce over one parameter tensor; an engine with batch dimensions in
    front replaces them.
    """
    h = SimpleNamespace(mean=torch.mean, max=_max, mean_square=lambda g: g.square().mean())
    for name, value in options.items():
        if name == "betas":
            h.beta1, h.beta2 = (_number(beta) for beta in value)
        elif name not in ("params", "param_names"):
            setattr(h, name, _number(value) if name in RANGES else value)
    return h


def _number(value):
    return value if isinstance(value, Tensor) else float(value)


def _max(z: Tensor) -> Tensor:
    return z.amax() if z.numel() else z.sum()


def block_mean_square(g: Tensor, labels: Tensor | None = None) -> Tensor:
    """Average g² over each block: over the rows of g, or over the elements of equal label."""
    if labels is None:
        return g.square().mean(-1, keepdim=True)
    total = g.new_zeros(int(labels.max()) + 1)
    flat = labels.flatten()
    sums = total.index_add(0, flat, g.square().flatten())
    counts = total.index_add(0, flat, torch.ones_like(g).flatten())
    return (sums / counts)[labels]


def group_mean_square(gradients):
    """Return the ``h.mean_square`` of a rule whose block is all these gradients together."""
    total = count = 0
    for g in gradients:
        total = total + g.square().sum()
        count += g.numel()
    return lambda g: (total / max(count, 1)).to(g)


def shaped(x: Tensor, blocks) -> Tensor:
    """View a parameter as one row a block where its partition is a number of blocks."""
    return x.reshape(blocks, -1) if isinstance(blocks, int) else x


def use_blocks(h, blocks) -> None:
    """Let ``h.mean_square`` average over the blocks of one parameter, if it is divided at all."""
    if blocks is not None:
        labels = blocks if isinstance(blocks, Tensor) else None
        h.mean_square = partial(block_mean_square, labels=labels)


class Optimizer(torch.optim.Optimizer):
    """Base of every optimizer here: subclasses state their defaults and one rule.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict
        Parameters or parameter groups, as for any ``torch.optim.Optimizer``. Real or complex
        floating point; float16 and bfloat16 parameters keep their state in float32.
    defaults : dict
        The hyper-parameters of the rule.
    weight_decay : float
        Coefficient λ. Coupled (L2): g ← g + λx. Decoupled: x ← (1 - lr λ) x before the rule.
    decoupled : bool
        Which of the two.
    maximize : bool
        Ascend instead of descend: the gradient's sign is turned before all else.
    differentiable : bool
        Let autograd follow the step, for hyper-gradients. Parameters are then non-leaf tensors.
    fused : bool
        Step a whole group by one kernel, compiled from the rule: `companion.optim.fused`.

    Notes
    -----
    A gradient that holds NaN or infinity goes through the arithmetic as in ``torch.optim``: the
    entries it reaches become NaN and stay so. Use ``torch.amp.GradScaler`` to skip such steps.
    """

    #: Whether the rule treats coordinates apart, so that a large tensor may be stepped in pieces.
    elementwise = False
    #: Over what ``h.mean_square`` averages: ``None`` (unused), ``"group"`` or ``"partition"``.
    block = None
    State: type[NamedTuple]

    def __init__(self, params, defaults, weight_decay=0.0, **options):
        base = {"decoupled": False, "maximize": False, "differentiable": False, "fused": False}
        for name, value in options.items():
            if name not in base:
                raise TypeError(
                    f"{type(self).__name__} got an unknown option {name}={value!r}; "
                    f"it takes {', '.join([*defaults, 'weight_decay', *base])}"
                )
        defaults = {**defaults, "weight_decay": weight_decay, **base, **options}
        for name, value in defaults.items():
            check(name, value, type(self).__name__)
        if isinstance(defaults["lr"], Tensor) and defaults["lr"].numel() != 1:
            raise ValueError(
                f"lr as a tensor must hold one element, got shape {defaults['lr'].shape}"
            )
        if defaults["fused"] and defaults["differentiable"]:
            raise ValueError("fused=True and differentiable=True exclude each other")
        super().__init__(params, defaults)

    # -- what a subclass writes -----------------------------------------------------------------

    @staticmethod
    def rule(x, g, s, t, h):
        """Return the next parameter and state. Every subclass writes its own."""
        raise NotImplementedError

    @classmethod
    def init(cls, x: Tensor, h) -> NamedTuple:
        """Return the state before the first step: zeros like the parameter, unless overridden."""
        unused = cls.unused(h)
        return cls.State(*(None if f in unused else torch.zeros_like(x) for f in cls.State._fields))

    @staticmethod
    def unused(h) -> tuple:
        """Return the fields of the state that these hyper-parameters do without; they are None."""
        return ()

    def check_options(self, o: dict) -> None:
        """Raise ``ValueError`` for options of a group that do not fit the rule, if it has any."""

    # -- pure functions around the rule, shared by every engine -----------------------------------

    @staticmethod
    def gradient(x, g, h):
        """Return the gradient that the rule sees."""
        if h.maximize:
            g = -g
        if h.decoupled or is_zero(h.weight_decay):
            return g
        return g + h.weight_decay * x  # L2

    @staticmethod
    def decay(x, t, h):
        """Return the parameter after decoupled weight decay."""
        return x * (1 - h.lr * h.weight_decay)

    @classmethod
    def update(cls, x, g, s, t, h):
        """Apply weight decay and then the rule; the one step that all engines run."""
        g = cls.gradient(x, g, h)
        if h.decoupled and not is_zero(h.weight_decay):
            x = cls.decay(x, t, h)
        return cls.rule(x, g, s, t, h)

    @classmethod
    def hyper(cls, **options) -> SimpleNamespace:
        """Return ``h`` for engines without parameter groups; values may be tensors that broadcast.

        Parameters
        ----------
        **options
            Any option of the constructor, or ``beta1`` and ``beta2`` apart. Missing ones take the
            constructor's default.
        """
        apart = ("beta1", "beta2") if "betas" in cls([torch.zeros(1)]).defaults else ()
        # The constructor checks options that go together; of a grid it sees the largest value.
        plain = {
            name: float(value.max()) if isinstance(value, Tensor) else value
            for name, value in options.items()
            if name not in apart
        }
        h = named(cls([torch.zeros(1)], **plain).param_groups[0])
        for name, value in options.items():
            if name in apart or isinstance(value, Tensor):
                check(name, value, cls.__name__)
                setattr(h, name, value)
        if hasattr(h, "base_lr"):
            h.base_lr = h.lr
        return h

    # -- the torch.optim protocol ------------------------------------------------------------------

    def add_param_group(self, param_group):
        """Add a group, after the checks that its options and parameters have to pass."""
        owner = type(self).__name__
        if not isinstance(param_group, dict):
            raise TypeError(
                f"{owner}: param_group must be a dict, got {type(param_group).__name__}"
            )
        group = dict(param_group)
        params = group["params"]
        if isinstance(params, set):
            raise TypeError(f"{owner}: params must be ordered; a set is not. Pass a list.")
        group["params"] = params = [params] if isinstance(params, Tensor) else list(params)
        for name, value in group.items():
            check(name, value, owner)
            known = name in self.defaults or name in SCHEDULERS
            near = [] if known else difflib.get_close_matches(name, self.defaults, 1, 0.75)
            if near:
                raise TypeError(
                    f"{owner}: unknown option {name}={value!r}; did you mean {near[0]}?"
                )
        self.check_options({**self.defaults, **group})
        seen = set()
        for index, entry in enumerate(params):
            p = entry[1] if isinstance(entry, tuple) else entry
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{owner}: params[{index}] must be a Tensor, got {type(p).__name__}"
                )
            if not (p.is_floating_point() or p.is_complex()):
                raise TypeError(f"{owner}: params[{index}] must be floating point, got {p.dtype}")
            if id(p) in seen:
                raise ValueError(
                    f"{owner}: params[{index}] of shape {tuple(p.shape)} is a duplicate"
                )
            seen.add(id(p))
        super().add_param_group(group)

    def load_state_dict(self, state_dict):
        """Load a state that fits, in its own precision (float32 for half-precision parameters)."""
        saved = [i for group in state_dict["param_groups"] for i in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        groups = [group for group in state_dict["param_groups"] for _ in group["params"]]
        states = {
            p: (state_dict["state"].get(i), named(g))
            for i, p, g in zip(saved, params, groups, strict=False)
        }
        for p, (state, h) in states.items():
            if state:
                self._check_state(p, state, h)
        super().load_state_dict(state_dict)
        for p, (state, _) in states.items():
            for name in self.State._fields if state else ():
                # torch casts a state to the type of its parameter: too coarse for bfloat16.
                self.state[p][name] = tree_map_only(
                    Tensor, lambda z, p=p: z.to(p.device, copy=True), state[name]
                )

    def _check_state(self, p, state, h) -> None:
        """Raise ``ValueError`` unless a loaded state is one that this parameter could have made."""
        owner = type(self).__name__
        wanted = {"step", *self.State._fields} | (
            {"blocks"} if self.block == "partition" else set()
        )
        if set(state) != wanted:
            raise ValueError(
                f"{owner}: the state to load must hold {sorted(wanted)}, got {sorted(state)}"
            )
        use_blocks(h, state.get("blocks"))
        x = shaped(torch.zeros_like(real(p), device="meta"), state.get("blocks"))
        expected, got = (
            [None if z is None else tuple(z.shape) for z in tree_leaves(values)]
            for values in (self.init(x, h), [state[name] for name in self.State._fields])
        )
        if expected != got:
            raise ValueError(
                f"{owner}: the state to load for a parameter of shape {tuple(p.shape)} must have "
                f"shapes {expected}, got {got}"
            )

    @_disable_dynamo  # a compiled training step calls it as it is; fused=True compiles the rule
    def step(self, closure=None):
        """Take one step.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the model anew and returns the loss, which is passed on.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                if not params:
                    continue
                h = named(group)
                self._prepare(params, group, h)
                if self.block == "group":
                    inputs = (self._inputs(p, h) for p in params)
                    h.mean_square = group_mean_square(self.gradient(x, g, h) for x, g, *_ in inputs)
                if not (group["fused"] and kernels.step(self, params, h)):
                    self._eager(params, h)
        return loss

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
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                if self.block == "partition":
                    names = group.get("param_names")
                    index = next(i for i, q in enumerate(group["params"]) if q is p)
                    state["blocks"] = self.blocks(p, names[index] if names else None)
                use_blocks(h, state.get("blocks"))
                x = shaped(precise(real(p.detach())), state.get("blocks"))
                state.update(self.init(x, h)._asdict())
            elif any(z is None for z in state.values()):  # momentum may have been switched on since
                for name in set(self.State._fields) - set(self.unused(h)):
                    if state[name] is None:
                        state[name] = torch.zeros_like(precise(real(p.detach())))
            steps.append(state["step"])
        torch._foreach_add_(steps, 1)

    def _inputs(self, p, h):
        """Return x, g, s, t of a parameter, as the rule takes them."""
        state = self.state[p]
        # Autograd needs the x of before; the step is about to overwrite it.
        x, g = p.clone() if torch.is_grad_enabled() else p, p.grad
        if x.dtype not in (torch.float32, torch.float64):
            x, g = precise(real(x)), precise(real(g))
        if self.block == "partition":
            blocks = state["blocks"]
            use_blocks(h, blocks)
            x, g = shaped(x, blocks), shaped(g, blocks)
        s = self.State(*[state[name] for name in self.State._fields])
        return x, g, s, state["step"].item()

    def _eager(self, params, h) -> None:
        for p in params:
            x, g, s, t = self._inputs(p, h)
            if self._splits(p, x, g, s):
                self._step_in_pieces(x, g, s, t, h)
            else:
                x, s = self.update(x, g, s, t, h)
                target = real(p)
                target.copy_(x if x.shape == target.shape else x.reshape(target.shape))
                self.state[p].update(s._asdict())

    def _splits(self, p, x, g, s) -> bool:
        """Say whether a step can go piece by piece, in the memory of p and its state."""
        return (
            self.elementwise
            and x.numel() > PIECE
            and x.device.type == "cpu"
            and x.data_ptr() == p.data_ptr()
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

    def _store(self, p, x, s) -> None:
        """Keep what a kernel made; x is the parameter itself unless it had to be copied."""
        target = real(p)
        if x.data_ptr() != target.data_ptr():
            target.copy_(x.reshape(target.shape))
        self.state[p].update(s._asdict())
