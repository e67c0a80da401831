"""Summaries taken on the way equal those of all iterates stored."""

import pytest
import torch

from companion import optim
from companion.problems import LeastSquares, Samples
from companion.simulate import quantiles, run
from tests.simulate.cases import ADAM, F64, X0, slope, stored, tensor

LEVELS = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=F64)


def test_quantiles_drift_and_growth_equal_those_of_all_iterates():
    times = [0, 1, 7, 50, 203]
    result = run(optim.Adam, Samples(slope, 5), X0, 203, times=iter(times), minimiser=-2.0, **ADAM)
    path = stored(Samples(slope, 5), X0, 203, (4, 7, 1), **ADAM)[..., 0]
    expected = torch.quantile(path[times], LEVELS, dim=-1).movedim(0, -1)
    torch.testing.assert_close(result.quantiles, expected, rtol=1e-11, atol=1e-11)
    assert result.times == times
    median = (path[203] - path[50]).median(-1).values
    torch.testing.assert_close(result.drift, median / 153, rtol=1e-9, atol=1e-12)
    away = (path + 2).abs()
    growth = (away[203] - away[50]).median(-1).values
    assert torch.equal(result.growth, growth > 0)
    assert 0 < result.growth.sum() < 4  # both happen
    torch.testing.assert_close(result.x[..., 0], path[-1], rtol=1e-11, atol=1e-11)


def test_what_is_observed_may_be_chosen():
    f = LeastSquares.random(n=12, d=3, kappa=20, noise=1.0, seed=0)
    x0 = torch.ones(5, 3, dtype=F64)
    chosen = {"default": None, "loss": f.loss}
    for name, observe in chosen.items():
        result = run(
            optim.Adam, f.samples(4), x0, 20, times=[20], observe=observe, minimiser=f.minimiser,
            **ADAM,
        )  # fmt: skip
        end = stored(f.samples(4), x0, 20, (4, 5, 3), **ADAM)[-1]
        y = (end - f.minimiser).norm(dim=-1) if name == "default" else f.loss(end)
        expected = torch.quantile(y, LEVELS, dim=-1).T
        torch.testing.assert_close(result.quantiles[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("level", [1.3, -1.5, -2.0])
def test_first_passage_equals_a_search_through_all_iterates(level):
    result = run(optim.Adam, Samples(slope, 5), X0, 150, level=level, **ADAM)
    path = stored(Samples(slope, 5), X0, 150, (4, 7, 1), **ADAM)[..., 0]
    for cell in range(4):
        for seed in range(7):
            x = path[:, cell, seed].tolist()
            below = x[0] <= level
            hits = [t for t in range(1, 151) if (x[t] >= level if below else x[t] <= level)]
            assert result.first_passage[cell, seed] == (hits[0] if hits else -1)


def test_first_passage_is_the_first_even_if_x_comes_back():
    def there_and_back(x):
        there_and_back.t += 1
        return torch.full_like(x, -1.0 if there_and_back.t <= 5 else 1.0)

    there_and_back.t = 0
    result = run(optim.SGD, there_and_back, tensor([0.0], 1, 1), 20, level=2.5, lr=1.0)
    assert result.x.item() == -10
    assert result.first_passage.item() == 3


def test_default_times_are_log_spaced_and_end_with_the_last_step():
    result = run(optim.SGD, lambda x: x, X0, 1000, lr=0.1)
    assert result.times[0] == 1
    assert result.times[-1] == 1000
    assert len(result.times) <= 64
    assert result.times == sorted(set(result.times))


def test_the_frame_has_one_row_a_quantile():
    result = run(optim.Adam, Samples(slope, 5), X0, 10, times=[5, 10], **ADAM)
    frame = result.frame(beta2=[0.5, 0.9, 0.999, 0.1])
    assert list(frame) == ["t", "beta2", "quantile", "value"]
    row = frame[(frame.t == 10) & (frame.beta2 == 0.999) & (frame["quantile"] == 0.5)]
    assert row.value.item() == result.quantiles[1, 2, 2].item()
    assert list(result.frame()) == ["t", "cell0", "quantile", "value"]


def test_diverged_seeds_do_not_blot_out_the_quantiles():
    values = tensor([[0.0, 1.0, 2.0, float("inf"), float("nan")]], 1, 5)
    low, median, high = quantiles(values, (0.25, 0.5, 0.75))[0].tolist()
    assert (low, median, high) == (1.0, 2.0, float("inf"))
    signed = tensor([-float("inf"), 0.0, 1.0], 3)
    assert quantiles(signed, (0.25, 0.5)).tolist() == [-float("inf"), 0.0]


def test_growth_counts_what_left_the_numbers():
    result = run(
        optim.SGD, lambda x: x**3, tensor([5.0], 1, 1), 40, seeds=3, minimiser=0.0,
        lr=tensor([1e-3, 1.0], 2, 1, 1),
    )  # fmt: skip
    assert result.growth.tolist() == [False, True]
