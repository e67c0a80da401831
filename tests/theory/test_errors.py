"""What the theory refuses, and what it says."""

import pytest

from companion import theory

WRONG = [
    (lambda: theory.cyclic_drift(1.5, 0.5, 10), "beta1 must lie"),
    (lambda: theory.cyclic_drift(0.5, 0.5, 1), "n >= 2"),
    (lambda: theory.cyclic_threshold(0.5, 3, 1.0), "mean gradient must be positive"),
    (lambda: theory.drift_bound(1.0, 0.5, 10), "beta1 must be below 1"),
    (lambda: theory.drift(0.0, 0.5, [1.0, -1.0], "random"), "order must be one of"),
    (lambda: theory.drift(0.0, 0.5, [1.0]), "gradients must have shape"),
    (lambda: theory.drift(0.0, 0.5, [1.0, -1.0], steps=10, burn=10), "burn must be"),
    (lambda: theory.threshold(0.0, [1.0, -1.0]), "mean of the gradients must be positive"),
    (lambda: theory.kappa(0.0, optimizer="SGD"), "optimizer Adam or ADOPT"),
    (lambda: theory.kappa(0.5), "n must be at least 2"),
    (lambda: theory.kappa(1.0, 5), "beta1 must be at least 0 and below 1"),
    (lambda: theory.step_deviation([1.0], 0.0, 0.9), "gradients must have shape"),
    (lambda: theory.draws(9, 9), "take fewer"),
    (lambda: theory.draws(0, 1), "n >= 1"),
    (lambda: theory.draws(2, 2, "cyclic"), "order must be"),
    (lambda: theory.momentum_sum_variance([1.0, 2.0], 0.5, 1, "cyclic"), "order must be"),
    (lambda: theory.lemma_a1([[1.0]], 0.5, 1), "c must have shape"),
    (lambda: theory.lemma_a2([1.0, 2.0, 3.0], 0.5, 1), "c must have shape"),
    (lambda: theory.lemma_a2([1.0, 2.0], 0.5, 3, lambda s: s.sum(-1)), "before the last"),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
