import io
import math
import re
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

from companion import checks, optim
from companion.checks import against, check, check_rule, check_value, expect, fail


def adam(x, g, s, t, h):
    m = h.beta1 * s.m + (1 - h.beta1) * g
    v = h.beta2 * s.v + (1 - h.beta2) * g**2
    step = m / (1 - h.beta1**t) / ((v / (1 - h.beta2**t)).sqrt() + h.eps)
    return x - h.lr * step, (m, v)


def adam_by_name(x, g, m, v, t, lr, beta1, beta2, eps):
    m.mul_(beta1).add_((1 - beta1) * g)
    v.mul_(beta2).add_((1 - beta2) * g**2)
    return x - lr * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def adam_with_its_own_state(x, g, state, t, h):
    m, v = state
    x, (m, v) = adam(x, g, optim.Adam.State(m, v), t, h)
    return x, (m, v)


def sign(x, g, lr):
    return x.sub_(lr * g.sign())


@pytest.mark.parametrize(
    ("rule", "reference", "options"),
    [
        (adam, optim.Adam, {}),
        (adam, optim.Adam, {"lr": 0.1, "betas": (0.5, 0.6), "eps": 0.1}),
        (adam_by_name, optim.Adam, {"lr": 0.1}),
        (adam_with_its_own_state, optim.Adam, {"init": (torch.zeros(3), torch.zeros(3))}),
        (sign, optim.SignSGD, {"lr": 0.1}),
        (lambda x, g, h: x - h.lr * g, optim.SGD, {"lr": 0.1}),
        (lambda x, g, lr, scale=1.0, *_, **rest: x - scale * lr * g, optim.SGD, {"lr": 0.1}),
        (lambda x, g, lr: (x - lr * g).numpy(), optim.SGD, {"lr": 0.1}),
        (optim.ADOPT.rule, optim.ADOPT, {}),
    ],
)
def test_right_rules_pass(capsys, rule, reference, options):
    assert check_rule(rule, reference, **options).passed
    assert capsys.readouterr().out == "check_rule: correct\n"


def stub(x, g, s, t, h): ...


def unwritten(x, g, s, t, h):
    raise NotImplementedError


@pytest.mark.parametrize("rule", [stub, unwritten, lambda x, g: ..., lambda x, g, s: (None, s)])
def test_stubs_are_told_not_yet(capsys, rule):
    verdict = check_rule(rule, optim.Adam)
    assert not verdict.passed
    assert verdict.message.startswith("check_rule: not yet: ")
    assert capsys.readouterr().out == verdict.message + "\n"


def without_correction(x, g, s, t, h):
    m = h.beta1 * s.m + (1 - h.beta1) * g
    v = h.beta2 * s.v + (1 - h.beta2) * g**2
    return x - h.lr * m / (v.sqrt() + h.eps), optim.Adam.State(m, v)


def late_mistake(x, g, s, t, h):
    x, s = adam(x, g, s, t, h)
    return (x + 1e-6 if t == 4 else x), s


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            without_correction,
            r"after step 1 with g = \[.*expected \[.*\], got \[.*Hint: look at t\.",
        ),
        (late_mistake, r"after step 4 with g"),
        (lambda x, g, s: x, r"the rule must return x, s, got Tensor"),
        (lambda x, g, m, v: (x, m), r"the rule must return x, m, v, got tuple"),
        (lambda x, g, s: (x[0], s), r"after step 1 .* expected shape \(3,\), got \(\)"),
        (lambda x, gradient: x, r"'gradient', but there are only x, g, s, t, h, m, v, lr, .*eps"),
        (lambda x, g, s, h: (x - h.alpha * g, s), "AttributeError was raised"),
        (lambda x, g, s: (x * math.nan, s), r"got \[nan, nan, nan\]"),
        (lambda x, g, s: ("x", s), "expected a number or tensor, got 'x'"),
    ],
)
def test_wrong_rules_are_told_what_differs(rule, message):
    verdict = check_rule(rule, optim.Adam, hint="look at t")
    assert not verdict.passed
    assert verdict.message.startswith("check_rule: not right yet: ")
    assert re.search(message, verdict.message), verdict.message


@pytest.mark.parametrize(
    ("got", "expected", "passed"),
    [
        (0.5, 0.5, True),
        (1, 1.0, True),
        (0.5 + 1e-8, 0.5, True),
        (0.5001, 0.5, False),
        (torch.ones(2), [1, 1], True),
        ([1.0, 1.0], torch.ones(2, dtype=torch.float64), True),
        (torch.ones(2), torch.ones(3), False),
        (0.5 + 1e-6, 0.5, False),
        (1 + 1e-9, 1, False),  # an int is a count
        (np.float32(0.2), 0.2, True),
        (Fraction(1, 4), 0.25, True),
        ([[0.25]], 0.25, True),
        (range(3), [0, 1, 2], True),
        (torch.ones(3, 1), torch.ones(3), False),
        (torch.ones(1, 3), torch.ones(3), False),
        ([True, False], [True, False], True),
        ([1.0, True], [1.0, 1.0], False),
        (np.bool_(True), True, True),
        (np.bool_(True), 1.0, False),
        (complex(0.5, 1e-3), 0.5, False),
        (10**400, 1.0, False),
        (math.inf, math.inf, True),
        (-math.inf, math.inf, False),
        (1.0, math.inf, False),
        (math.nan, math.nan, False),
        ("0.5", 0.5, False),
        (3e-10, 1e-10, False),  # an error is relative, however small the number
        ([1.0, 3e-8], [1.0, 1e-8], False),
        ([1.0, 1e-10], [1.0, 0.0], True),
        (1e-10, 0.0, True),
        (1e-6, 0.0, False),
        (math.nan, 0.0, False),
        ("Adam", "Adam", True),
        ("SGD", "Adam", False),
        (True, True, True),
        (1, True, False),
        (object(), 1.0, False),
    ],
)
def test_values_are_compared(got, expected, passed):
    verdict = check_value(got, expected)
    assert verdict.passed == passed
    assert ("correct" in verdict.message) == passed


@pytest.mark.parametrize(
    ("got", "expected", "message"),
    [
        (0.99982, 0.99978, "expected 0.99978, got 0.99982"),
        (1 + 1e-9, 1, "expected 1, got 1.000000001"),
        (torch.arange(20.0), torch.arange(20.0) * 2, "entry [1]: expected 2.0, got 1.0"),
        ("x" * 10**6, 1.0, "xxx...xxx"),
        (range(10**6), 1.0, "expected shape (), got (1000000,)"),
    ],
)
def test_a_message_is_short_and_tells_the_two_apart(got, expected, message):
    told = check_value(got, expected).message
    assert message in told
    assert len(told) < 150


def test_a_verdict_never_escapes_but_for_ctrl_c(monkeypatch):
    @check
    def check_two(answer):
        expect(answer(2), 4)

    def leave():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_two(lambda x: leave())
    assert "SystemExit was raised: 3." in check_two(lambda x: sys.exit(3)).message
    told = check_two(lambda x: torch.zeros(2, device="meta").tolist()).message
    assert "not right yet: NotImplementedError was raised: " in told
    assert "Failed was raised" in check_two(lambda x: pytest.fail("no")).message
    assert len(check_two(lambda x: float("x" * 10**6)).message) < 400
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert "β" in check_two(lambda x: {}["β"]).message
    sys.stdout.close()
    assert check_two(lambda x: 4).passed


def test_a_student_sees_copies_of_tensors_lists_and_hyper_parameters():
    def reference(x, numbers):
        return x.sum() * len(numbers)

    def spoiling(x, numbers):
        answer = reference(x, numbers)
        x.zero_()
        numbers.clear()
        return answer

    cases, rule = [(torch.ones(2), [1, 2, 3])], optim.Adam.rule
    assert against(cases, "")(reference)(spoiling).passed
    assert cases[0][0].tolist() == [1, 1]
    assert len(cases[0][1]) == 3

    def spoiling_rule(x, g, s, t, h):
        answer = rule(x.clone(), g.clone(), type(s)(*(z.clone() for z in s)), t, h)
        for z in (x, g, *s):
            z.zero_()
        h.lr = 0.0
        return answer

    assert check_rule(spoiling_rule, optim.Adam).passed
    assert check_rule(
        spoiling_rule, optim.Adam, init=optim.Adam.State(*torch.zeros(2, 3).double())
    ).passed


@pytest.mark.parametrize("got", [None, ...])
def test_values_not_filled_in_are_not_yet(got):
    assert "not yet: the answer is still" in check_value(got, 1.0).message


def test_a_chapter_s_own_check():
    @check
    def check_two(answer):
        """Exercise 1."""
        expect(answer(2), 4, what="at 2")
        if answer(3) > 9:
            fail("too large at 3", "square it")

    assert check_two.__doc__ == "Exercise 1."
    assert check_two(lambda x: x * x).message == "check_two: correct"
    assert "at 2: expected 4, got 6.5" in check_two(lambda x: 6.5).message
    assert "too large at 3. Hint: square it." in check_two(lambda x: 4 if x == 2 else 10).message
    assert "ZeroDivisionError was raised: division by zero." in check_two(lambda x: 1 / 0).message


def test_notebooks_do_not_show_a_verdict_twice():
    assert checks.Verdict(True, "correct")._ipython_display_() is None
