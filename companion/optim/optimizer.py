"""The base of every optimizer here: a rule behind the protocol of ``torch.optim``."""

import difflib
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch._compile import _disable_dynamo

from companion.kernels import group as kernels
from companion.optim.options import Flag, Number, checked, flat
from companion.optim.rule import Hyper, is_zero
from companion.optim.shards import refuse_zero
from companion.optim.state import fitting
from companion.optim.steps import Steps

FLAGS = {"decoupled": False, "maximize": False, "differentiable": False, "fused": False}
# Options of ``torch.optim`` that ask for nothing at these values.
IDLE = {"foreach": (None, False), "capturable": (None, False), "amsgrad": (None, False)}
# What schedulers write into a group: never a misspelt option.
SCHEDULERS = ("initial_lr", "max_lr", "min_lr", "base_lr", "max_momentum", "base_momentum")
_BARE = object()  # in place of parameters: see `Optimizer.bare`


class Optimizer(Steps):
    """Base of every optimizer here: a subclass declares its options and writes one rule.

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
        Step a whole group by one kernel, compiled from the rule: `companion.kernels.group`.

    Notes
    -----
    A gradient that holds NaN or infinity goes through the arithmetic as in ``torch.optim``: the
    entries it reaches become NaN and stay so. Use ``torch.amp.GradScaler`` to skip such steps.
    """

    #: What each option may be, by name (``beta1`` and ``beta2`` for ``betas``). A subclass adds
    #: its own: ``options = {"rho": Number(0, 1)}``; see `companion.optim.options`.
    options: ClassVar[dict] = {
        "lr": Number(),
        "weight_decay": Number(),
        **dict.fromkeys(FLAGS, Flag),
    }
    #: Whether the rule treats coordinates apart, so that a large tensor may be stepped in pieces.
    elementwise = False
    #: Over what ``h.mean_square`` averages: ``None`` (unused), ``"group"`` or ``"partition"``.
    block = None
    State: type[NamedTuple]
    #: Names of the options that are numbers, which kernels leave open.
    numbers: ClassVar[frozenset] = frozenset({"lr", "weight_decay"})

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        declared = (vars(base).get("options", {}) for base in reversed(cls.__mro__))
        cls.options = {name: option for options in declared for name, option in options.items()}
        cls.numbers = frozenset(k for k, o in cls.options.items() if isinstance(o, Number))

    def __init__(self, params, defaults, weight_decay=0.0, **options):
        owner = type(self).__name__
        for name, value in options.items():
            if name in IDLE and value in IDLE[name]:
                continue
            if name not in FLAGS:
                raise TypeError(
                    f"{owner} got an unknown option {name}={value!r}; "
                    f"it takes {', '.join([*defaults, 'weight_decay', *FLAGS])}"
                )
        options = {name: value for name, value in options.items() if name in FLAGS}
        if options.get("fused", False) is None:  # torch's word for "as you like"
            del options["fused"]
        defaults = {**defaults, "weight_decay": weight_decay, **FLAGS, **options}
        for name in defaults:
            if name != "betas" and name not in self.options:
                raise TypeError(
                    f"{owner}: the class does not say what {name} may be; declare it, such as "
                    f"options = {{{name!r}: Number(0, 1)}}, see companion.optim.options"
                )
        defaults = checked(defaults, self.options, owner)
        if defaults["fused"] and defaults["differentiable"]:
            raise ValueError("fused=True and differentiable=True exclude each other")
        if params is _BARE:
            self.defaults = defaults
            self.check_options(defaults)
            return
        if self.block == "group":
            refuse_zero(owner)
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

    def blocks(self, p: Tensor, name: str | None):
        """Return how a parameter is divided, for rules whose ``block`` is ``"partition"``."""
        raise NotImplementedError

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
        if cls.block == "group":  # the one tensor whose mean square a group knows
            h.over.gradient = g
        return cls.rule(x, g, s, t, h)

    # -- options -----------------------------------------------------------------------------------

    @classmethod
    def bare(cls, **options) -> "Optimizer":
        """Return an optimizer of no parameters, whose options are complete and checked.

        Parameters
        ----------
        **options
            Any option of the constructor, or ``beta1`` and ``beta2`` apart. Numbers may be tensors
            that broadcast. Missing ones take the constructor's default.
        """
        apart = {name: options.pop(name) for name in ("beta1", "beta2") if name in options}
        bare = cls(_BARE, **options)
        if not apart:
            return bare
        if "betas" in bare.defaults:
            beta1, beta2 = bare.defaults["betas"]
            apart = {"betas": (apart.get("beta1", beta1), apart.get("beta2", beta2))}
        return cls(_BARE, **{**options, **apart})

    @classmethod
    def hyper(cls, **options) -> Hyper:
        """Return ``h`` for engines without parameter groups; the options are those of `bare`."""
        return cls.hyper_of(cls.bare(**options).defaults)

    @classmethod
    def hyper_of(cls, group: dict) -> Hyper:
        """Return ``h`` of a parameter group: ``betas`` become ``beta1`` and ``beta2``."""
        return Hyper(
            **{
                name: float(value) if isinstance(value, int) and name in cls.numbers else value
                for name, value in flat(group).items()
                if name in cls.options
            }
        )

    # -- the torch.optim protocol ------------------------------------------------------------------

    def add_param_group(self, param_group):
        """Add a group, after the checks that its options and parameters have to pass."""
        owner = type(self).__name__
        if not isinstance(param_group, dict):
            raise TypeError(
                f"{owner}: param_group must be a dict, got {type(param_group).__name__}"
            )
        group = checked(param_group, self.options, owner)
        params = group["params"]
        if isinstance(params, set):
            raise TypeError(f"{owner}: params must be ordered; a set is not. Pass a list.")
        group["params"] = params = [params] if isinstance(params, Tensor) else list(params)
        lr = group.get("lr", self.defaults["lr"])
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError(f"lr as a tensor must hold one element, got shape {lr.shape}")
        for name, value in group.items():
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
        """Load a state that fits, in its own precision (float32 for half-precision parameters).

        Options that the state does not know keep their defaults; whatever else a wrapper has put
        into the state of a parameter is kept.
        """

        def take(_, given):  # the last of the hooks, so that it sees what the others made
            self._loading, rest = fitting(self, given)
            return {**given, "state": rest}

        last = self.register_load_state_dict_pre_hook(take)
        try:
            super().load_state_dict(state_dict)
        finally:
            last.remove()
            self.__dict__.pop("_loading", None)

    def __setstate__(self, state):
        super().__setstate__(state)
        self.state.update(self.__dict__.get("_loading", {}))
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

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
                h = self.hyper_of(group)
                self._prepare(params, group, h)
                if not (group["fused"] and kernels.step(self, params, h)):
                    self._eager(params, h)
        return loss
