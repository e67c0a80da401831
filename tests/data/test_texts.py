import gzip
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import torch

from companion import data

REAL = Path(__file__).parents[3] / "shared" / "data"  # the real files, on machines that have them
PLAY = "To be, or not to be, that is the question. ß\n" * 40


def test_pydoc_text_round_trips():
    python = data.text()
    assert len(python.ids) > 200_000
    assert python.ids.dtype == torch.int64
    assert python.vocab == sorted(set(python.vocab))
    whole = python.decode(python.ids)
    assert whole.startswith(topics[min(topics)])  # sorted, so that the text has one order
    assert "The *with* statement" in whole.replace('"with"', "*with*")
    assert torch.equal(python.encode(whole), python.ids)
    assert torch.equal(python.ids, data.text("pydoc").ids)
    assert torch.equal(torch.cat([python.train, python.val]), python.ids)
    assert len(python.val) == pytest.approx(len(python.ids) / 10, abs=1)


@pytest.mark.parametrize("packing", [bytes, gzip.compress])
def test_text_of_a_file(packing, tmp_path):
    path = tmp_path / "play"
    path.write_bytes(packing(PLAY.encode()))
    for name in (path, str(path)):
        play = data.text(name)
        assert play.decode(play.ids) == PLAY
        assert play.vocab == sorted(set(PLAY))


def test_shakespeare_is_in_the_package():
    play = data.text("shakespeare")
    assert len(play.ids) == 119_984
    assert play.decode(play.ids[:14]) == "First Citizen:"


def test_tiny_shakespeare_is_checked(place):
    path = place("tinyshakespeare/input.txt", PLAY.encode(), PLAY.encode())
    assert data.text("tiny_shakespeare").vocab == sorted(set(PLAY))
    path.write_bytes(PLAY.encode() + b"!")
    with pytest.raises(ValueError, match=r"input\.txt: content has md5"):
        data.text("tiny_shakespeare")


def test_text_batches_are_windows_and_their_successors(tmp_path):
    (tmp_path / "numbers").write_text("".join(chr(0x4E00 + i) for i in range(1000)))
    numbers = data.text(tmp_path / "numbers")  # ids are 0, 1, …, 999
    for split, low, high in (("train", 0, 900), ("val", 900, 1000)):
        x, y = numbers.batch(4000, 7, torch.Generator().manual_seed(0), split)
        assert x.shape == y.shape == (4000, 7)
        assert torch.equal(y, x + 1)
        assert torch.equal(x, x[:, :1] + torch.arange(7))
        # The first and last starts are possible: 4,000 draws miss one with probability < 0.012
        # ((1 − 1/893)^4000), a statement about this seed.
        assert (x.min(), y.max()) == (low, high - 1)
        again, _ = numbers.batch(4000, 7, torch.Generator().manual_seed(0), split)
        assert torch.equal(x, again)
    x, y = numbers.windows(7)
    assert torch.equal(x.flatten(), torch.arange(900, 998))
    assert torch.equal(y, x + 1)
    assert numbers.windows(9).x.shape == (11, 9)
    assert numbers.windows(99).y[0, -1] == 999


def test_text_errors_name_argument_and_value(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "latin").write_bytes("naïve".encode("latin-1"))
    (tmp_path / "play").write_text(PLAY, encoding="utf-8")
    play = data.text(tmp_path / "play")
    cases = [
        (lambda: data.text("play"), "name: 'play' is not 'pydoc', 'shakespeare', 'tiny_shakes"),
        (lambda: data.text(tmp_path), "'shakespeare', 'tiny_shakespeare' or a file"),
        (lambda: data.text(tmp_path / "empty"), "empty: empty, expected text"),
        (lambda: data.text(tmp_path / "latin"), "latin: expected UTF-8 text; .* 0xef"),
        (lambda: play.encode("T€"), r"string: holds \['€'\]"),
        (lambda: play.batch(2, 8, split="test"), "split: 'test'; expected one of 'train', 'val'"),
        (lambda: play.batch(2, 0), "context: 0; train allows 1 to 1619"),
        (lambda: play.batch(0, 8), "batch_size: expected at least 1, got 0"),
        (lambda: data.text("x" * 10_000), "name: 'xxx"),
        (lambda: play.windows(180), "context: 180; val allows 1 to 179"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert len(str(error.value)) < 400
    for context in (2.0, True):
        with pytest.raises(TypeError, match=f"context: expected a whole number, got {context}"):
            play.windows(context)


@pytest.mark.skipif(not REAL.exists(), reason="no shared/data")
def test_real_tiny_shakespeare(cache):
    cache.mkdir()
    (cache / "tinyshakespeare").symlink_to(REAL / "tinyshakespeare")
    play = data.text("tiny_shakespeare")
    assert (len(play.ids), len(play.vocab)) == (1_115_394, 65)
    assert play.decode(play.train[:14]) == "First Citizen:"
