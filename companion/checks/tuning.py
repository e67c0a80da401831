"""Checks of the exercises of the chapter on tuning Adam."""

import math

from companion.checks import check, expect, fail


@check
def check_beta2_floor(beta2_floor):
    """Exercise 1: the threshold of β2 on the worst case, for reshuffled batches."""
    for samples, batch in ((1000, 100), (1077, 8), (60_000, 64)):
        expect(
            beta2_floor(samples, batch),
            1 - 4 / (samples / batch) ** 2,
            hint="n is the number of batches in an epoch, not of examples",
            what=f"{samples} samples, batch {batch}",
        )
    expect(beta2_floor(100, 80), 0.0, hint="no rate is negative", what="100 samples, batch 80")


@check
def check_transfer(transfer):
    """Exercise 2: step size and β2 for another batch size."""
    for lr, beta2, old, new in ((0.04, 0.95, 128, 8), (0.01, 0.999, 32, 64), (0.1, 0.5, 4, 4)):
        ratio = new / old
        what = f"lr {lr}, beta2 {beta2}, from {old} to {new}"
        answer = transfer(lr, beta2, old, new)
        got = _several(answer, 2)
        expect(got[0], lr * math.sqrt(ratio), hint="the root of new / old", what=f"{what}: lr")
        hint = "after old / new times as many steps, the same weight must be left"
        expect(got[1], beta2**ratio, hint=hint, what=f"{what}: beta2")


@check
def check_paired_ratio(paired_ratio):
    """Exercise 3: paired ratio of two settings with its interval."""
    shared = [0.1, 1.0, 10.0, 100.0]  # what a seed does to both settings
    factors = [1.1, 1.2, 1.1, 1.2]
    for a, b, t in (
        (shared, [s * f for s, f in zip(shared, factors, strict=True)], 3.182),
        ([1.0, 2.0, 4.0], [2.0, 1.0, 2.0], 4.303),
    ):
        d = [math.log(y / x) for x, y in zip(a, b, strict=True)]
        mean = sum(d) / len(d)
        half = t * math.sqrt(sum((x - mean) ** 2 for x in d) / (len(d) - 1) / len(d))
        got = _several(paired_ratio(list(a), list(b), t), 3)
        where = f"a = {a}, t = {t}"
        hint = "exp of the mean of log(b/a), which is no mean of ratios and no ratio of means"
        expect(got[0], math.exp(mean), hint=hint, what=f"{where}: ratio")
        hint = "take the standard deviation, over k - 1, of the differences of seeds"
        expect(got[1:], [math.exp(mean - half), math.exp(mean + half)], hint=hint, what=where)


@check
def check_same_run(same_run):
    """Exercise 4: step size and ε of Adam when a loss becomes a mean instead of a sum."""
    for lr, eps, batch in ((0.01, 1e-8, 64), (0.3, 1e-3, 10)):
        got = _several(same_run(lr, eps, batch), 2)
        what = f"lr {lr}, eps {eps}, batch {batch}"
        expect(got[0], lr, hint="does Adam's step grow with the loss?", what=f"{what}: lr")
        # In units of eps, as expect's absolute tolerance is above such small numbers.
        hint = "the gradients shrink; what must eps do to stay as large beside them?"
        expect(got[1] / eps, 1 / batch, hint=hint, what=f"{what}: eps over the old one")


def _several(answer, count):
    """Return an answer of several numbers as a list; None and ... mean that it is not written."""
    if answer is None or answer is ...:
        expect(answer, 0.0)
    if not isinstance(answer, (tuple, list)) or len(answer) != count:
        fail(f"expected {count} numbers, got {answer!r}")
    for value in answer:
        expect(value, value)
    return [float(value) for value in answer]
