"""Random numbers are those of the published generator, and the same in Python and JavaScript."""

import numpy as np
import pytest

from companion.play.draws import Draws, threefry
from tests.play.engine import Engine

FULL = 0xFFFFFFFF
# Threefry-2x32 with 20 rounds among the known answers of Random123: counter, key, output.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((FULL, FULL), (FULL, FULL), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]
PLACES = [0, 1, 12_345, 2**32 - 4, 2**40]  # the counter's second word takes over at 2³²


@pytest.fixture(scope="module")
def engine():
    return Engine()


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN)
def test_the_generator_gives_the_known_answers(engine, counter, key, output):
    assert tuple(word.item() for word in threefry(counter, key)) == output
    assert tuple(engine.call(f"Play.threefry({list(counter)}, {list(key)})")) == output


@pytest.mark.parametrize("index", PLACES)
@pytest.mark.parametrize(("seed", "stream"), [(0, 0), (7, 3), (FULL, FULL)])
def test_both_worlds_draw_the_same(engine, seed, stream, index):
    draws = Draws(seed, stream)
    draws.index = index
    got = engine.call(
        f"""(() => {{
          const draws = Play.draws({seed}, {stream}), times = (f) => Play.times(40, f);
          draws.index = {index};
          return [times(draws.uniform), times(() => draws.integer(10)), draws.permutation(9),
                  times(draws.normal), draws.index];
        }})()"""
    )
    assert got[0] == draws.uniform(40).tolist()
    assert got[1] == draws.integers(10, (8, 5)).ravel().tolist()
    assert got[2] == draws.permutation(9).tolist()
    np.testing.assert_allclose(got[3], draws.normal((4, 10)).ravel(), rtol=2e-15, atol=1e-16)
    assert got[4] == draws.index == index + 40 + 40 + 8 + 80


def test_an_array_is_as_many_single_draws():
    one, many = Draws(5), Draws(5)
    assert [one.uniform() for _ in range(6)] == many.uniform((2, 3)).ravel().tolist()
    assert [one.normal() for _ in range(6)] == many.normal((3, 2)).ravel().tolist()
    assert [one.integers(4) for _ in range(6)] == many.integers(4, 6).tolist()
    assert one.index == many.index == 6 + 12 + 6
    assert many.uniform((0, 3)).shape == (0, 3)
    assert np.ndim(many.normal()) == 0


def test_numbers_depend_on_seed_stream_and_index_alone():
    numbers = Draws(1).uniform(10)
    later = Draws(1)
    later.index = 4
    np.testing.assert_array_equal(later.uniform(6), numbers[4:])
    for other in (Draws(2), Draws(1, stream=1), Draws(0, stream=1)):
        assert not np.isin(other.uniform(10), numbers).any()


def test_numbers_have_the_distributions_that_they_should():
    draws, n = Draws(0), 100_000
    u, z = draws.uniform(n), draws.normal(n)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 1 / 2) < 4 / np.sqrt(12 * n)
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 4 / np.sqrt(n)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < 4 * np.sqrt(variance / n)
    counts = np.bincount(draws.integers(6, n), minlength=6)
    assert ((counts - n / 6) ** 2 / (n / 6)).sum() < 20.5  # χ² of 5, at 0.1 %
    orders = np.array([draws.permutation(3) @ [9, 3, 1] for _ in range(3000)])
    counts = np.unique(orders, return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < 20.5


@pytest.mark.parametrize("value", [-1, 2**32, 0.5, True])
def test_seed_and_stream_are_words_of_32_bits(value):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        Draws(value)
    with pytest.raises(ValueError, match="stream must be a whole number"):
        Draws(0, stream=value)
