"""Checks of the exercises of the chapter on momentum."""

import math

from companion.checks import check, expect, expect_rule, fail
from companion.optim import SGD


@check
def check_critical_momentum(critical_momentum):
    """Exercise 1: the momentum that damps an eigenvalue critically."""
    hint = "set the discriminant (1 + mu - a)^2 - 4 mu to zero and take the root below 1"
    for a, mu in ((0.25, 0.25), (0.01, 0.81), (1.0, 0.0), (2.25, 0.25)):
        expect(critical_momentum(a), mu, hint=hint, what=f"a = {a}")


@check
def check_to_sgd(to_sgd):
    """Exercise 2: options of SGD that walk the path of the averaged form."""
    for lr, beta in ((1.0, 0.9), (0.02, 0.5)):
        options = to_sgd(lr, beta)
        if options is None or options is ...:
            expect(options, 0.0)
        if not isinstance(options, dict) or set(options) != {"lr", "momentum"}:
            fail(f"expected a dictionary with lr and momentum, got {options!r}")
        what = f"lr = {lr}, beta = {beta}"
        expect(options["momentum"], beta, hint="the decay rate is the same", what=what)
        hint = "a constant gradient g ends as m = g in one form and g / (1 - mu) in the other"
        expect(options["lr"], lr * (1 - beta), hint=hint, what=what)


@check
def check_nesterov(rule):
    """Exercise 3: one step of Nesterov's method, against the package's own."""
    hint = "update m first, then step along g + momentum * m"
    expect_rule(rule, SGD, lr=0.1, momentum=0.9, nesterov=True, hint=hint)


@check
def check_polyak_steps(polyak_steps):
    """Exercise 4: steps of the heavy ball with Polyak's tuning, by its rate."""
    for kappa, tolerance, steps in ((9.0, 0.3, 2), (9.0, 0.1, 4), (100.0, 1e-6, 69)):
        what = f"kappa = {kappa:g}, tolerance = {tolerance:g}"
        got = polyak_steps(kappa, tolerance)
        expect(got, steps, rtol=1e-9, hint="solve rho^t <= tolerance for t; round up", what=what)


@check
def check_window(window):
    """Exercise 5: how many of the latest gradients hold a share of the weight."""
    for beta, share, count in ((0.5, 0.7, 2), (0.9, 0.5, 7), (0.99, 1 - 1 / math.e, 100)):
        what = f"beta = {beta}, share = {share:.3g}"
        hint = "the latest n weights add up to 1 - beta^n; round n up"
        expect(window(beta, share), count, rtol=1e-9, hint=hint, what=what)
