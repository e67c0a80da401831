"""The exercises of the chapter on momentum: "not yet", a typical slip, the solution."""

import math

import pytest

from companion.checks import momentum as check


def slipped_nesterov(x, g, m, lr, momentum):
    return x - lr * (g + momentum * m), momentum * m + g  # the old m in the step


def solved_nesterov(x, g, m, lr, momentum):
    m = momentum * m + g
    return x - lr * (g + momentum * m), m


def empty_nesterov(x, g, m, lr, momentum): ...


STUBS = dict.fromkeys(("critical_momentum", "to_sgd", "polyak_steps", "window"), lambda *_: None)
STUBS["nesterov"] = empty_nesterov


def rate(kappa):
    return (math.sqrt(kappa) - 1) / (math.sqrt(kappa) + 1)


CASES = {
    "critical_momentum": (lambda a: (1 - a) ** 2, lambda a: (1 - math.sqrt(a)) ** 2),
    "to_sgd": (
        lambda lr, beta: {"lr": lr / (1 - beta), "momentum": beta},
        lambda lr, beta: {"lr": lr * (1 - beta), "momentum": beta},
    ),
    "nesterov": (slipped_nesterov, solved_nesterov),
    "polyak_steps": (
        lambda kappa, tolerance: math.ceil(math.log(tolerance) / math.log(rate(kappa**2))),
        lambda kappa, tolerance: math.ceil(math.log(tolerance) / math.log(rate(kappa))),
    ),
    "window": (
        lambda beta, share: math.floor(math.log(1 - share) / math.log(beta)),
        lambda beta, share: math.ceil(math.log(1 - share) / math.log(beta)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_check_tells_stub_slip_and_solution_apart(name):
    checked = getattr(check, f"check_{name}")
    slip, solution = CASES[name]
    stub, wrong, right = checked(STUBS[name]), checked(slip), checked(solution)
    assert [stub.passed, wrong.passed, right.passed] == [False, False, True]
    assert "not yet" in stub.message
    assert "not right yet" in wrong.message


@pytest.mark.parametrize("answer", [0.1, {"lr": 0.1}])
def test_to_sgd_wants_both_options(answer):
    assert "dictionary" in check.check_to_sgd(lambda lr, beta: answer).message
