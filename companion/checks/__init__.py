'''Checks of exercises: "not yet" for an untouched stub, what differs for a wrong answer, "correct".

A check prints its verdict, returns it as a `Verdict`, and never raises. Each chapter has a module
here. Most of its checks are references, turned into checks by `against`::

    from companion.checks import against

    @against([(0.1, 2.0), (0.5, 1.0)], hint="solve for the variance that a step preserves")
    def check_noise_floor(lr, sigma):
        """Exercise 2: the loss at which SGD with step size lr settles."""
        return lr * sigma**2 / (2 - lr) / 2

The others are functions of what the student wrote, decorated by `check`; they say what is wrong by
`agree`, `expect`, `expect_rule` (for an optimizer) and `fail`. The inputs stand in the check, so
they must be small enough to work out on paper.
'''

from companion.checks.rules import check_rule, expect_rule
from companion.checks.values import (
    against,
    agree,
    check_value,
    double,
    expect,
    numbers,
    product,
    several,
    symmetric,
)
from companion.checks.verdict import Unfinished, Verdict, Wrong, check, fail, guarded, written

__all__ = [
    "Unfinished",
    "Verdict",
    "Wrong",
    "against",
    "agree",
    "check",
    "check_rule",
    "check_value",
    "double",
    "expect",
    "expect_rule",
    "fail",
    "guarded",
    "numbers",
    "product",
    "several",
    "symmetric",
    "written",
]
