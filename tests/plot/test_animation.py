import base64
import io
import re

import matplotlib.pyplot as plt
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image

from companion import plot, problems

PATHS = {
    "SGD": torch.linspace(-1.5, 1, 20)[:, None].repeat(1, 2),
    "Adam": torch.linspace(-1.5, 0.5, 12)[:, None].repeat(1, 2),
}
WINDOW = {"xlim": (-2, 2), "ylim": (-1, 3)}


def animate(**options):
    return plot.animate_paths(
        problems.rosenbrock, PATHS, **WINDOW, **{"alt": 'Adam & "SGD"', "frames": 8, **options}
    )


def test_animation_is_small_accessible_and_needs_nothing_from_elsewhere():
    animation = animate(minimiser=(1, 1))
    page = BeautifulSoup(animation._repr_html_(), "html.parser")
    assert page.img["alt"] == 'Adam & "SGD"'
    assert page.button.text == "Play"
    assert page.input["aria-valuetext"] == "step 19"
    assert repr(animation) == f"Animation({len(animation.data):,} characters of HTML)"
    assert page.input["aria-label"]
    assert page.input["max"] == page.input["value"] == "7"
    assert not re.search(r"https?:", animation.data)
    pictures = re.findall(r'"(iVBOR[^"]+)"', animation.data)
    assert len(set(pictures)) == 8
    assert page.img["src"].endswith(pictures[-1])
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert image.size == (495, 360)
    assert "[0, 3, 5, 8, 11, 14, 16, 19]" in animation.data
    assert not plt.get_fignums()
    assert animate().data == animate().data


def test_fifty_frames_stay_within_the_budget():
    assert len(animate(frames=50).data) < 1_500_000


def test_animation_refuses_to_be_too_large_or_silent():
    with pytest.raises(ValueError, match=r"more than budget=10: take fewer frames"):
        animate(budget=10)
    with pytest.raises(ValueError, match="alt must say what the animation shows"):
        animate(alt=" ")


def test_figures_are_animated_one_by_one_and_closed():
    figures = (plt.figure(figsize=(2, 1), dpi=50) for _ in range(3))
    page = BeautifulSoup(plot.animate(figures, [0, 5, 10], "Three.").data, "html.parser")
    assert (page.input["max"], page.input["aria-valuetext"]) == ("2", "step 10")
    with Image.open(io.BytesIO(base64.b64decode(page.img["src"].split(",")[1]))) as image:
        assert image.size == (100, 50)
    assert not plt.get_fignums()
    with pytest.raises(ValueError, match="pictures: expected one for each of 2 steps, got 0"):
        plot.animate([], [0, 1], "Nothing.")
