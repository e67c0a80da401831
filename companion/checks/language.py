"""Checks of the exercises of the chapter on language models."""

import math

from companion.checks import against, check, expect, several


@check
def check_weights(weights):
    """Exercise 1: factors on the mean losses of micro-batches of unequal length."""
    hint = "a batch's mean loss counts as often as it has tokens; all factors together are 1"
    for counts in ((8, 8, 8, 8), (64, 16), (3, 5, 2)):
        names = [f"factor {i}" for i in range(1, len(counts) + 1)]
        factors = several(weights(list(counts)), *names)
        for name, count, factor in zip(names, counts, factors, strict=True):
            expect(factor, count / sum(counts), hint=hint, what=f"counts = {[*counts]}: {name}")


@against(
    [(t, 100, 10, 0.1) for t in (0, 9, 10, 55)] + [(99, 100, 10, 0.0)],
    hint="step 0 has factor 1 / warmup, step `warmup` has 1, and a step after the last has floor",
)
def check_factor(t, steps, warmup, floor):
    """Exercise 2: factor on the step size after t steps, warm-up and cosine."""
    if t < warmup:
        return (t + 1) / warmup
    done = (t - warmup) / (steps - warmup)
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
