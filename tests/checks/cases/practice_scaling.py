"""Answers to the exercises of the chapter on scaling out."""

PRACTICE_SCALING = {
    "scaling": {
        "check_weights": {
            "[size / sum(sizes) for size in sizes]": "divides by their number",
            "[1.0 for size in sizes]": "sizes = [4, 3, 3]",
            "...": "not yet",
        },
        "check_memory": {
            "* 4 → * 2": "take four bytes",
            "(2 + tensors) → (1 + tensors)": "parameter, gradient",
            " / processes → ": "all are divided",
            "2**30 → 1e9": "expected 14.9",
        },
        "check_lost": {
            "- 8 → - 7": "2^(e-7) apart",
            ".floor() → ": "x = 1.5",
            "x * 2.0**-9": "2^(e-7) apart",
        },
    },
}
