"""Checks of the exercises of the chapter on reinforcement learning."""

from companion.checks import against


@against(
    [(1.0, 0.5, 4.0, 2.0, -1.0, 0.1), (-2.0, 0.99, -3.0, -1.0, 2.0, 0.5), (0.0, 0.9, 1, 1, 3.0, 0)],
    hint="the smaller of the twins, less α times the log-density, discounted; the reward is not",
)
def check_soft_target(reward, gamma, first, second, density, alpha):
    """Exercise 1: what the critics of soft actor-critic are trained towards."""
    return reward + gamma * (min(first, second) - alpha * density)


@against(
    [(6, 0.95), (5, 0.95), (3, 0.9), (3, 0.5), (10, 0.99)],
    hint="the median lies outside if all values fall on one side of it, and there are two sides",
)
def check_holds(seeds, level):
    """Exercise 2: whether the range of so many values holds the median with this probability."""
    return 1 - 2.0 ** (1 - seeds) >= level
