"""Checks of the exercises of the chapter on momentum."""

import math

from companion.checks import against, agree, check, fail, written


@against(
    [0.25, 0.01, 1.0, 2.25],
    hint="set the discriminant (1 + mu - a)^2 - 4 mu to zero and take the root below 1",
)
def check_critical_momentum(a):
    """Exercise 1: the momentum that damps an eigenvalue critically."""
    return (1 - math.sqrt(a)) ** 2


@check
def check_to_sgd(to_sgd):
    """Exercise 2: options of SGD that walk the path of the averaged form."""

    def values(lr, beta):
        options = written(to_sgd(lr, beta))
        if not isinstance(options, dict) or set(options) != {"lr", "momentum"}:
            fail(f"expected a dictionary with lr and momentum, got {options!r}")
        return options["momentum"], options["lr"]

    hint = {
        "momentum": "the decay rate is the same",
        "lr": "a constant gradient g ends as m = g in one form and g / (1 - mu) in the other",
    }
    agree(values, lambda lr, beta: (beta, lr * (1 - beta)), [(1.0, 0.9), (0.02, 0.5)], hint)


# The second case of both is whole without rounding up.
@against(
    [(9.0, 0.3), (9.0, 0.25), (9.0, 0.1), (100.0, 1e-6)],
    hint="solve rho^t <= tolerance for t; round up",
)
def check_polyak_steps(kappa, tolerance):
    """Exercise 3: steps of the heavy ball with Polyak's tuning, by its rate."""
    rate = (math.sqrt(kappa) - 1) / (math.sqrt(kappa) + 1)
    return math.ceil(math.log(tolerance) / math.log(rate))


@against(
    [(0.5, 0.7), (0.5, 0.75), (0.9, 0.5), (0.99, 1 - 1 / math.e)],
    hint="the latest n weights add up to 1 - beta^n; round n up",
)
def check_window(beta, share):
    """Exercise 4: how many of the latest gradients hold a share of the weight."""
    return math.ceil(math.log(1 - share) / math.log(beta))
