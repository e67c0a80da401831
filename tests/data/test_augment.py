"""Random crops and mirror images: exact against loops over images, drawn by a seed, resumed."""

import pytest
import torch
from torch.nn import functional as F

from companion.data import Augmented, Batches, crop, flip

IMAGES = torch.randn(64, 3, 5, 4, generator=torch.Generator().manual_seed(0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_each_image_is_cropped_alone_from_all_places_alike():
    pad, x = 2, IMAGES.repeat(40, 1, 1, 1)
    result, padded = crop(x, pad, generator()), F.pad(x, (pad,) * 4)
    seen = torch.zeros(5, 5)
    for image, cut in zip(padded, result, strict=True):
        found = [
            (i, j) for i in range(5) for j in range(5) if image[:, i : i + 5, j : j + 4].equal(cut)
        ]
        assert len(found) == 1
        seen[found[0]] += 1
    assert seen.sum() == 2560
    # Each place has mean 102.4 and standard deviation 9.9: five of them, over 25 places, 1e-5.
    assert (seen - 102.4).abs().max() < 50


def test_half_of_the_images_are_mirrored():
    result, x = flip(IMAGES.repeat(16, 1, 1, 1), generator()), IMAGES.repeat(16, 1, 1, 1)
    mirrored = (result == x.flip(3)).flatten(1).all(1)
    assert ((result == x).flatten(1).all(1) ^ mirrored).all()
    assert abs(mirrored.sum().item() - 512) < 80  # five standard deviations


@pytest.mark.parametrize("change", [flip, lambda x, g: crop(x, 1, g)])
def test_a_seed_fixes_the_changes(change):
    assert change(IMAGES, generator()).equal(change(IMAGES, generator()))
    assert not change(IMAGES, generator()).equal(change(IMAGES, generator(1)))


def test_augmented_batches_go_on_where_they_were_saved():
    def made():
        return Augmented(Batches((IMAGES, torch.arange(64)), 24, seed=3), flip, seed=4)

    one, other = made(), made()
    x, y = next(one)
    assert (x == IMAGES[y]).flatten(1).all(1).any()
    other.load_state_dict(one.state_dict())
    for _ in range(4):
        for a, b in zip(next(one), next(other), strict=True):
            assert a.equal(b)


@pytest.mark.parametrize("change", [flip, lambda x, g: crop(x, 1, g)])
def test_flat_images_are_refused(change):
    with pytest.raises(ValueError, match=r"x: expected images \(n, c, h, w\), got shape \(2, 9\)"):
        change(torch.zeros(2, 9), generator())
