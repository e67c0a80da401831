"""What students call: a check of one small case, in the notebook."""

import torch

from companion.checks import verdict
from companion.grade.inside import calls, wire
from companion.grade.judge import expect


def check(function, *args, gives, gradients=None, state=(), hint: str = "", **keywords):
    """Try a function, or a rule on given gradients, on one small case; print a verdict.

    Parameters
    ----------
    function : callable
        What the student wrote.
    *args
        Its arguments; for a rule, the start.
    gives : object
        The right answer: numbers, lists or tensors.
    gradients : list, optional
        Gradients to feed: the function is a rule ``f(x, g, *state, **keywords)`` that returns x and
        the new state, or a class whose objects have ``step(g)``; ``gives`` holds its iterates.
    state : list
        The state before the first step, for a rule.
    hint : str
        What to try when it differs.
    **keywords
        Further arguments.

    Returns
    -------
    companion.checks.Verdict
        It never raises for what the function does.

    Examples
    --------
    >>> verdict = check(lambda x: 2 * x, 3.0, gives=6.0)
    check: correct
    >>> verdict = check(lambda x: ..., 3.0, gives=6.0)
    check: not yet: the answer is still to be written. Fill in the stub and run again.
    """

    def checked():
        if gradients is None:
            got = function(*args, **keywords)
            expect(got, gives, hint)
            return
        tensor = [torch.tensor(part, dtype=torch.float64) for part in (*args, gradients)]
        states = [torch.tensor(part, dtype=torch.float64) for part in state]
        try:
            got = calls.drive(function, *tensor, states, keywords)
        except wire.NotPlain as reason:
            verdict.fail(f"the rule returns {reason}")
        expect(verdict.written(... if got is None else got), gives, hint, "the points x₁, x₂, …")

    name = getattr(function, "__name__", "")
    checked.__name__ = f"check of {name}" if name.isidentifier() else "check"
    return verdict.check(checked)()
