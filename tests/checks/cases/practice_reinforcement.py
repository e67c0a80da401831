"""Answers to the exercises on reinforcement learning, as `tests.checks.test_exercises` reads."""

RIGHT = ": correct"
PRACTICE_REINFORCEMENT = {
    "reinforcement": {
        "check_soft_target": {
            "min(first, second) → max(first, second)": "the smaller of the twins",
            "- alpha * density → + alpha * density": "less α times",
            "gamma * (reward + min(first, second) - alpha * density)": "the reward is not",
            "reward + gamma * min(first, second)": "the log-density",
            "float(soft_target(reward, gamma, first, second, density, alpha))": RIGHT,
        },
        "check_holds": {
            "(1 - seeds) → (-seeds)": "there are two sides",
            ">= level → > 1": "there are two sides",
            "bool(holds(seeds, level))": RIGHT,
        },
    },
}
