import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from companion.evidence import Interval, interval, median, paired, paired_ratio, verdict

A = [1.2, 3.4, 2.2, 5.1, 0.7, 2.9]
B = [1.0, 3.6, 1.9, 4.0, 0.4, 2.2]


@pytest.mark.parametrize("box", [list, tuple, np.array, torch.DoubleTensor, pd.Series])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_paired_interval_is_that_of_the_paired_t_test(box, level):
    found = paired(box(A), box(B), level)
    expected = stats.ttest_rel(A, B).confidence_interval(level)
    assert found == pytest.approx((np.mean(A) - np.mean(B), *expected), rel=1e-12)
    assert found.sign == (stats.ttest_rel(A, B).pvalue < 1 - level)


def test_ratio_is_the_exponential_of_paired_logarithms():
    assert paired_ratio(A, B) == pytest.approx(np.exp(paired(np.log(A), np.log(B))), rel=1e-12)


def test_two_seeds_need_twelve_standard_errors():
    mean, low, high = interval([0.0, 2.0])
    assert (high - mean, mean - low) == pytest.approx([12.706] * 2, rel=1e-4)


@pytest.mark.parametrize(
    ("low", "high", "null", "said"),
    [
        (0.1, 0.3, 0.0, "higher"),
        (0.1, 0.3, 1.0, "lower"),
        (0.1, 0.3, 0.2, "not told apart"),
        (0.0, 0.3, 0.0, "not told apart"),
        (-0.3, 0.0, 0.0, "not told apart"),
    ],
)
def test_verdict_names_the_side_of_the_null_value(low, high, null, said):
    assert verdict(Interval((low + high) / 2, low, high), null) == said


@pytest.mark.parametrize("shape", [(1,), (4,), (5,), (3, 4), (2, 6, 3)])
def test_median_is_numpys(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert median(x).item() == pytest.approx(np.median(x.numpy()), rel=1e-15)
    for dim in range(x.ndim):
        expected = torch.from_numpy(np.asarray(np.median(x.numpy(), axis=dim)))
        torch.testing.assert_close(median(x, dim), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, float("nan"), 2.0], float("nan")),
        ([float("inf")] * 4, float("inf")),
        ([-float("inf"), -float("inf"), 1.0, 2.0], -float("inf")),
        ([3e38, 3e38 / 1.5], 2.5e38),
    ],
)
def test_median_of_what_is_not_finite(values, expected):
    torch.testing.assert_close(median(torch.tensor(values)), torch.tensor(expected), equal_nan=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interval([1.0]), r"values: expected two values or more, one a seed, got \(1,\)"),
        (lambda: interval([1.0, float("nan")]), "values: expected finite values, got nan"),
        (lambda: interval([[1.0, 2.0]]), r"got \(1, 2\)"),
        (lambda: interval([1.0, 2.0], 95), r"level: expected a number inside \(0, 1\), got 95"),
        (lambda: paired([1.0, 2.0], [1.0, 2.0, 3.0]), "one value a seed in both, got 2 and 3"),
        (
            lambda: paired(pd.Series(A), pd.Series(B, index=[5, 4, 3, 2, 1, 0])),
            "the same seeds in the same order",
        ),
        (lambda: paired_ratio([1.0, 0.0], [1.0, 1.0]), "positive values for a ratio"),
        (lambda: median(torch.tensor([1, 2])), "real floating point"),
        (lambda: median(torch.tensor([])), "at least one number"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
