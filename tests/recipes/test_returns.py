"""Interquartile means and bootstrap intervals, against closed cases."""

import itertools

import numpy as np
import pytest
from scipy.stats import trim_mean

from companion.recipes.returns import bootstrap, interquartile_mean


def test_where_4_divides_n_it_is_the_trimmed_mean():
    values = np.random.default_rng(0).normal(size=(5, 12))
    np.testing.assert_allclose(interquartile_mean(values), trim_mean(values, 0.25, axis=1))
    np.testing.assert_allclose(interquartile_mean(values.T, 0), trim_mean(values, 0.25, axis=1))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 7])
def test_values_count_by_their_share_of_the_middle_half(n):
    values = np.random.default_rng(n).normal(size=n)
    np.testing.assert_allclose(interquartile_mean(values), trim_mean(np.repeat(values, 4), 0.25))


def test_an_interval_is_that_of_all_resamples():
    values = np.array([0.0, 1.0, 5.0, 20.0])
    every = [interquartile_mean(values[list(i)]) for i in itertools.product(range(4), repeat=4)]
    for level in (0.5, 0.8):
        found = bootstrap(values, level=level, draws=200_000)
        low, high = np.quantile(every, ((1 - level) / 2, (1 + level) / 2))
        assert found == pytest.approx((3.0, low, high), abs=0.05)


def test_a_constant_difference_has_no_spread():
    a = np.random.default_rng(0).normal(size=7)
    assert bootstrap(a + 2, a) == pytest.approx((2, 2, 2))


def test_tasks_are_drawn_by_themselves():
    scores = np.array([[0.0, 10.0], [1.0, 11.0]])  # the middle half: one of each task, or both
    found = bootstrap(scores, draws=20_000, level=0.999)
    assert found == pytest.approx((5.5, 5, 6))
    rows = bootstrap(scores.reshape(4), draws=20_000, level=0.999)
    assert rows.low < 1
    assert rows.high > 10


def test_shapes_are_the_same():
    with pytest.raises(ValueError, match=r"expected one shape, got \[\(3, 1\), \(2, 1\)\]"):
        bootstrap([1, 2, 3], [1, 2])
