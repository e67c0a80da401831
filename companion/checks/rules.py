"""Checks of update rules: a student's and an optimizer's, step by step on the same gradients."""

import inspect

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from companion.checks.values import expect, numbers, show
from companion.checks.verdict import check, fail, written


def expect_rule(rule, reference, *, init=None, steps: int = 20, seed: int = 0, hint="", **hyper):
    """Stop the check unless an update rule does what the reference does; see `check_rule`."""
    generator = torch.Generator().manual_seed(seed)
    h = reference.hyper(**hyper)
    x = torch.zeros(3, dtype=torch.float64)
    state = reference.init(x, h)
    s = reference.init(x, h) if init is None else init
    for t in range(1, steps + 1):
        g = torch.randn(3, generator=generator, dtype=torch.float64)
        want, state = reference.update(x.clone(), g.clone(), state, float(t), h)
        got, s = _student_step(rule, {"x": x, "g": g, "s": s, "state": s, "t": t, "h": h})
        expect(got, want, 1e-9, hint, f"after step {t} with g = {show(g)}")
        x = want  # so that rounding in another precision does not add up


@check
def check_rule(rule, reference, *, init=None, steps: int = 20, seed: int = 0, hint="", **hyper):
    """Check an update rule against an optimizer of `companion.optim` on random gradients.

    Parameters
    ----------
    rule : callable
        Takes what its arguments are named after: the parameter ``x``, the gradient ``g``, the step
        count ``t``, the hyper-parameters ``h`` or any of them by name (``lr``, ``beta1``, …), and
        the state, as ``s`` or field by field (``m``, ``v``). It returns the new x, and then the
        state in the same form: ``x, s`` or ``x, m, v``; x alone if it takes no state. Tensors may
        come back as tensors, arrays or lists.
    reference : type
        The optimizer class, or a stand-in with ``hyper``, ``init`` and ``update``.
    init : object, optional
        State before the first step, for a rule that takes ``s`` of its own kind; the reference's
        if left out.
    steps, seed : int
        How many random float64 gradients, and from which seed.
    hint : str
        What to try when it differs.
    **hyper
        Hyper-parameters of the reference.

    Examples
    --------
    >>> from companion.optim import SignSGD
    >>> def student(x, g, lr):
    ...     return x - lr * g
    >>> verdict = check_rule(student, SignSGD, lr=0.5, hint="use g.sign()")
    check_rule: not right yet: after step 1 with g = [1.541, -0.2934, -2.179]: ... use g.sign().
    """
    expect_rule(rule, reference, init=init, steps=steps, seed=seed, hint=hint, **hyper)


def _student_step(rule, known: dict):
    """Call a student's rule with the arguments it names; return its x and state."""
    s, h = known["s"], known["h"]
    fields = s._asdict() if hasattr(s, "_asdict") else {}
    known = {**vars(h), **fields, **known}
    names = [
        name
        for name, parameter in inspect.signature(rule).parameters.items()
        if name in known or (parameter.default is parameter.empty and "*" not in str(parameter))
    ]
    for name in names:
        if name not in known:
            fail(f"the rule asks for an argument {name!r}, but there are only {_names(h, fields)}")
    answer = written(rule(**{name: known[name] for name in names}))
    own = [name for name in names if name in fields]
    whole = "s" in names or "state" in names
    if not own and not whole:
        return answer, s
    count = 2 if whole else 1 + len(own)
    if not isinstance(answer, (tuple, list)) or len(answer) != count:
        form = "x, s" if whole else ", ".join(["x", *own])
        fail(f"the rule must return {form}, got {type(answer).__name__}")
    x, *state = tree_map_only(Tensor, Tensor.detach, list(answer))
    if not whole:
        return x, s._replace(**_like(fields, dict(zip(own, state, strict=True))))
    if fields and type(state[0]) in (tuple, list) and len(state[0]) == len(fields):
        return x, type(s)(**_like(fields, dict(zip(fields, state[0], strict=True))))
    return x, state[0]


def _like(fields: dict, new: dict) -> dict:
    """Return a state's new fields, as tensors where tensors were handed out."""
    return {
        name: numbers(value) if isinstance(fields[name], Tensor) else written(value)
        for name, value in new.items()
    }


def _names(h, fields):
    hyper = [name for name, value in vars(h).items() if type(value) in (int, float)]
    return ", ".join(["x", "g", "s", "t", "h", *fields, *hyper])
