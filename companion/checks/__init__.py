'''Checks of exercises: "not yet" for an untouched stub, what differs for a wrong answer, "correct".

A check prints its verdict, returns it as a `Verdict`, and never raises. Each chapter has a module
here; a new check is a function of what the student wrote, decorated by `check`, which says what is
wrong by `expect` or `fail`::

    from companion.checks import check, expect

    @check
    def check_noise_floor(noise_floor):
        """Exercise 2: the loss at which SGD with step size lr settles."""
        expect(noise_floor(0.1, 2.0), 0.2105, hint="solve for the variance that a step preserves")

The example to compare on stands in the check, so it must be small enough to work out on paper.
'''

import functools
import inspect
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes
    ----------
    passed : bool
        Whether the answer is right.
    message : str
        What the check printed.
    """

    passed: bool
    message: str

    def _ipython_display_(self):
        """Show nothing: the message has been printed."""


class Unfinished(Exception):
    """The stub has not been filled in."""


class Wrong(Exception):
    """The answer differs; the message says how."""


def check(function):
    """Turn a function that calls `expect` and `fail` into a check that prints and never raises.

    Examples
    --------
    >>> @check
    ... def check_double(double):
    ...     expect(double(3.0), 6.0, hint="add x to itself")
    >>> verdict = check_double(lambda x: ...)
    check_double: not yet: the answer is still to be written. Fill in the stub and run again.
    >>> verdict = check_double(lambda x: x * x)
    check_double: not right yet: expected 6.0, got 9.0. Hint: add x to itself.
    >>> check_double(lambda x: x + x).passed
    check_double: correct
    True
    """

    @functools.wraps(function)
    def checked(*args, **kwargs) -> Verdict:
        passed = False
        try:
            function(*args, **kwargs)
            passed, message = True, "correct"
        except Unfinished as reason:
            message = f"not yet: {reason}. Fill in the stub and run again."
        except NotImplementedError:
            message = "not yet: NotImplementedError is raised. Fill in the stub and run again."
        except Wrong as reason:
            message = f"not right yet: {reason}."
        except Exception as error:
            message = f"not right yet: {type(error).__name__} was raised: {error}."
        verdict = Verdict(passed, f"{function.__name__}: {message}")
        print(verdict.message)
        return verdict

    return checked


def expect(got, expected, rtol: float = 1e-6, hint: str = "", what: str = "") -> None:
    """Stop the check unless ``got`` equals ``expected``.

    Parameters
    ----------
    got : object
        The student's answer; ``None`` and ``...`` mean that it is not written yet.
    expected : float, bool, str, sequence or Tensor
        The right answer.
    rtol : float
        Largest relative error of numbers; a thousandth of it is the largest absolute one.
    hint : str
        What to try, without the final stop.
    what : str
        What is compared, such as ``"step 3"``.
    """
    if got is None or got is ...:
        raise Unfinished(f"the answer is still {'None' if got is None else 'to be written'}")
    prefix = f"{what}: " if what else ""
    if isinstance(expected, (str, bool)):
        same = type(got) is type(expected) and got == expected
    else:
        want = torch.as_tensor(expected).detach()
        try:
            have = torch.as_tensor(got).detach()
        except (TypeError, ValueError, RuntimeError):
            fail(f"{prefix}expected a number or tensor, got {got!r}", hint)
        if have.shape != want.shape:
            fail(f"{prefix}expected shape {tuple(want.shape)}, got {tuple(have.shape)}", hint)
        same = torch.allclose(have.double(), want.double(), rtol=rtol, atol=rtol * 1e-3)
    if not same:
        fail(f"{prefix}expected {_short(expected)}, got {_short(got)}", hint)


def fail(reason: str, hint: str = "") -> None:
    """Stop the check: the answer is wrong for this reason (no final stop)."""
    raise Wrong(f"{reason}. Hint: {hint}" if hint else reason)


@check
def check_value(got, expected, rtol: float = 1e-6, hint: str = ""):
    """Check one value; parameters as for `expect`.

    Examples
    --------
    >>> verdict = check_value(0.3, 0.25, hint="halve it twice")
    check_value: not right yet: expected 0.25, got 0.3. Hint: halve it twice.
    """
    expect(got, expected, rtol, hint)


def expect_rule(rule, reference, *, init=None, steps: int = 20, seed: int = 0, hint="", **hyper):
    """Stop the check unless an update rule does what the reference does; see `check_rule`."""
    generator = torch.Generator().manual_seed(seed)
    h = reference.hyper(**hyper)
    x = want = torch.zeros(3, dtype=torch.float64)
    want_s = reference.init(x, h)
    s = reference.init(x, h) if init is None else init  # never shared: a rule may work in place
    for t in range(1, steps + 1):
        g = torch.randn(3, generator=generator, dtype=torch.float64)
        want, want_s = reference.update(want.clone(), g.clone(), want_s, float(t), h)
        x, s = _student_step(rule, x.clone(), g.clone(), s, float(t), h)
        expect(x, want, 1e-9, hint, f"after step {t} with g = {_short(g)}")


@check
def check_rule(rule, reference, *, init=None, steps: int = 20, seed: int = 0, hint="", **hyper):
    """Check an update rule against an optimizer of `companion.optim` on random gradients.

    Parameters
    ----------
    rule : callable
        Takes what its arguments are named after: the parameter ``x``, the gradient ``g``, the step
        count ``t``, the hyper-parameters ``h`` or any of them by name (``lr``, ``beta1``, …), and
        the state, as ``s`` or field by field (``m``, ``v``). It returns the new x, and then the
        state in the same form: ``x, s`` or ``x, m, v``; x alone if it takes no state.
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


def _student_step(rule, x, g, s, t, h):
    """Call a student's rule with the arguments it names; return its x and state."""
    fields = s._asdict() if hasattr(s, "_asdict") else {}
    known = {**vars(h), **fields, "x": x, "g": g, "s": s, "state": s, "t": t, "h": h}
    names = list(inspect.signature(rule).parameters)
    for name in names:
        if name not in known:
            fail(f"the rule asks for an argument {name!r}, but there are only {_names(h, fields)}")
    answer = rule(**{name: known[name] for name in names})
    if answer is None or answer is ...:
        raise Unfinished(f"the rule still returns {answer if answer is None else '...'}")
    own = [name for name in names if name in fields]
    whole = "s" in names or "state" in names
    if not own and not whole:
        return answer, s
    count = 2 if whole else 1 + len(own)
    if not isinstance(answer, tuple) or len(answer) != count:
        form = "x, s" if whole else ", ".join(["x", *own])
        fail(f"the rule must return {form}, got {type(answer).__name__}")
    if not whole:
        return answer[0], s._replace(**dict(zip(own, answer[1:], strict=True)))
    state = answer[1]
    if fields and type(state) is tuple and len(state) == len(fields):
        state = type(s)(*state)
    return answer[0], state


def _names(h, fields):
    hyper = [
        n for n, v in vars(h).items() if isinstance(v, (int, float)) and not isinstance(v, bool)
    ]
    return ", ".join(["x", "g", "s", "t", "h", *fields, *hyper])


def _short(value):
    """Return a value as a short text, numbers with four digits."""
    if isinstance(value, torch.Tensor):
        value = value.detach().tolist()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_short(v) for v in value) + "]"
    if isinstance(value, float):
        text = f"{value:.4g}"
        return text if any(c in text for c in ".en") else text + ".0"
    return repr(value)
