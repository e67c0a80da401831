"""What hidden tests are written in; they run in the grader's process, on values only.

A test is a function of the student's functions and of a source of random numbers::

    @test(4, "AdaGrad's first step")
    def first(student, draw):
        got = student("adagrad", [0.0], [2.0], [0.0], lr=0.5, eps=0.0)
        expect(got, [[-0.5], [4.0]], hint="v is the sum with the new square in it")

What is no plain data is made on the other side: an argument ``given("quartic", scale=2.0)`` stands
for what the set's own function ``quartic`` makes there.
"""

import hashlib
import hmac
from dataclasses import dataclass

import numpy as np
import torch

from companion.checks.values import expect as _expect
from companion.checks.values import show
from companion.checks.verdict import Unfinished, Wrong, fail, stopped
from companion.grade.arguments import Given

RTOL = 1e-5  # relative error that is forgiven: what float32 makes of some twenty steps


@dataclass(frozen=True)
class Outcome:
    """What a test found: its points, those it gives, and what to tell the student."""

    name: str
    points: int
    got: int
    message: str = ""


def expect(got, expected, hint: str = "", what: str = "", rtol: float = RTOL) -> None:
    """Lose the test unless two values agree; see `companion.checks.expect`."""
    _expect(got, expected, rtol, hint, what)


class Student:
    """The student's functions, as a test sees them: values come back, or the test is lost."""

    def __init__(self, session):
        self._session = session

    def __call__(self, name: str, *args, **keywords):
        """Return what a function gives for these arguments, as numbers and lists."""
        return self._value(name, self._session.ask(name, *args, **keywords))

    def path(self, name: str, x, gradients, state=(), **keywords) -> list:
        """Return the iterates of a rule, or of an object with ``step``, on given gradients.

        Parameters
        ----------
        name : str
            A function ``f(x, g, *state, **keywords)`` that returns x and the new state, or a class
            ``C(x, **keywords)`` with ``step(g)``.
        x : array of shape (d,)
            The start.
        gradients : array of shape (steps, d)
            What it is fed.
        state : list of arrays
            The state before the first step, for a function.
        """
        options = {"gradients": gradients, "state": list(state), **keywords}
        got = self._value(name, self._session.ask(name, x, **options))
        if len(got) != len(gradients):
            fail(f"{name} gives {len(got)} points for {len(gradients)} gradients")
        return got

    def _value(self, name, answer):
        if answer.problem == "missing":
            raise Unfinished(f"there is no `{name}`; was the cell deleted, or is it wrong?")
        if answer.problem == "unfinished":
            raise Unfinished(f"`{name}` still returns nothing")
        if answer.problem == "raised":
            fail(f"`{name}` raises an error: {answer.text}")
        if answer.problem == "kind":
            fail(f"`{name}` returns {answer.text}")
        if answer.problem:
            fail(f"`{name}` cannot be judged: {answer.text}")
        return answer.value


def path(rule, x, gradients, **options) -> list:
    """Return the iterates of an optimizer of `companion.optim` on given gradients.

    Examples
    --------
    >>> from companion.optim import SGD
    >>> path(SGD, [1.0], [[2.0], [2.0]], lr=0.25)
    [[0.5], [0.0]]
    """
    x = torch.as_tensor(x, dtype=torch.float64)
    h = rule.hyper(**options)
    state, found = rule.init(x, h), []
    for t, g in enumerate(torch.as_tensor(np.asarray(gradients), dtype=torch.float64), start=1):
        x, state = rule.update(x, g, state, float(t), h)
        found.append(x.tolist())
    return found


def follow(student, name, rule, case, hint, state=(), names=(), **options) -> None:
    """Lose the test at the first step at which a student's rule leaves the reference.

    Parameters
    ----------
    case : (array of shape (d,), array of shape (steps, d))
        The start and the gradients.
    names : dict
        What the student's arguments are called, by option of the reference, where that differs.
    **options
        Of the reference, ``betas`` as ``beta1`` and ``beta2``.
    """
    x, gradients = (np.asarray(part, dtype=float) for part in case)
    given = {dict(names).get(key, key): value for key, value in options.items()}
    got = student.path(name, x, gradients, state, **given)
    shown = ", ".join(f"{key} = {show(value)}" for key, value in given.items())
    for t, (have, want) in enumerate(zip(got, path(rule, x, gradients, **options), strict=True), 1):
        fed = (
            f"gradients {show(gradients[:t].tolist())}" if gradients[:t].size <= 4 else "gradients"
        )
        expect(have, want, hint, f"x after step {t} from {show(x.tolist())}, {fed}, {shown}")


def given(name: str, *args, **keywords) -> Given:
    """Return what stands for ``name(*args, **keywords)``, made in the student's process."""
    return Given(name, args, keywords)


def problem_tests(problem) -> list:
    """Return the tests of a problem, each with its name and points, in the order of the master."""
    found = []

    def test(points: int, name: str):
        def keep(function):
            found.append((name, points, function))
            return function

        return keep

    names = {"test": test, "expect": expect, "fail": fail, "follow": follow, "path": path}
    names |= {"np": np, "torch": torch, "show": show, "given": given}
    exec(problem.given, names)
    exec(compile(problem.tests, f"hidden tests of {problem.label}", "exec"), names)
    return found


def judge(problem, session, secret: str) -> list:
    """Return the outcome of each hidden test of a problem, for one student.

    Parameters
    ----------
    problem : companion.grade.master.Problem
        What is judged.
    session : companion.grade.session.Session
        Who answers.
    secret : str
        What the random numbers are drawn from: the same for all students, known to the instructor.
    """
    return [
        _outcome(name, points, function, Student(session), draws(secret, problem.label, name))
        for name, points, function in problem_tests(problem)
    ]


def draws(secret: str, *names: str) -> np.random.Generator:
    """Return a generator of random numbers that only those who know the secret can foresee."""
    digest = hmac.new(secret.encode(), "\n".join(names).encode(), hashlib.sha256).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def _outcome(name, points, function, student, draw) -> Outcome:
    try:
        function(student, draw)
    except Unfinished as reason:
        return Outcome(name, points, 0, f"not written yet: {reason}.")
    except Wrong as reason:
        return Outcome(name, points, 0, stopped(reason))
    except Exception as error:  # of the test, on an answer that nobody foresaw: never a mark
        return Outcome(name, points, 0, f"the answer has a form that cannot be judged ({error!r}).")
    return Outcome(name, points, points)
