"""Answers to the exercises of the chapter on language models; see `tests.checks.test_exercises`."""

RIGHT = ": correct"
PRACTICE_LANGUAGE = {
    "language": {
        "check_weights": {
            "[1 / len(counts)] * len(counts)": "as often as it has tokens",
            "counts": "all factors together",
            "[sum(counts) / count for count in counts]": "as often as it has tokens",
            "[n / sum(counts) for n in counts]": RIGHT,
        },
        "check_factor": {
            "(t + 1) / warmup → t / warmup": "has factor 1 / warmup",
            "/ (steps - warmup) → / steps": "a step after the last",
            "floor + (1 - floor) * → ": "has floor",
            "min(1.0, (t + 1) / warmup)": "a step after the last",
        },
    },
}
