"""Photographs in folders: classes, crops that tickets draw, what is said when there are none."""

import pytest
import torch
from PIL import Image

from companion.data import Augmented, Batches, ImageFolder
from companion.data.folder import MEAN, STD

RED = ((torch.tensor([1.0, 0.0, 0.0]) - torch.tensor(MEAN)) / torch.tensor(STD)).view(3, 1, 1)


@pytest.fixture
def folder(tmp_path):
    """Two classes: a plain red image, and two where the colour is the place."""
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (40, 30), (255, 0, 0)).save(tmp_path / "a" / "red.png")
    ramp = torch.stack(torch.meshgrid(torch.arange(60), torch.arange(80), indexing="ij"), -1)
    ramp = torch.cat([ramp, torch.zeros_like(ramp[..., :1])], -1).to(torch.uint8)
    for name in ("one.PNG", "two.png"):
        Image.frombytes("RGB", (80, 60), bytes(ramp.flatten().tolist())).save(tmp_path / "b" / name)
    (tmp_path / "b" / "notes.txt").write_text("no image")
    return ImageFolder(tmp_path, size=16, workers=2)


def test_a_folder_is_a_class(folder):
    assert [p.name for p in folder.paths] == ["red.png", "one.PNG", "two.png"]
    assert folder.y.tolist() == [0, 1, 1]
    torch.testing.assert_close(folder(folder.x[:1])[0], RED.expand(3, 16, 16))


def places(images):
    """Return rows and columns of an image's pixels, for the images whose colour is their place."""
    return [images[c] * STD[c] * 255 + MEAN[c] * 255 for c in (0, 1)]


def test_measured_images_are_the_middle(folder):
    rows, columns = places(folder(folder.x[1:2])[0])
    step = 52.5 / 16  # the square has 7/8 of the shorter side, 60 pixels
    middle = (torch.arange(16) - 7.5) * step
    torch.testing.assert_close(rows[:, 8], 29.5 + middle, rtol=0, atol=1.5)
    torch.testing.assert_close(columns[8], 39.5 + middle, rtol=0, atol=1.5)


def test_random_crops_are_parts_drawn_by_the_ticket(folder):
    tickets = torch.tensor([[1, seed] for seed in range(40)])
    images = folder(tickets)
    assert torch.equal(images, folder(tickets))
    widths, mirrored = [], 0
    for image in images:
        rows, columns = places(image)
        slope = (columns[:, -1] - columns[:, 0]).mean().item()
        mirrored += slope < 0
        widths.append((abs(slope), (rows[-1] - rows[0]).mean().item()))
        assert rows.min() > -2
        assert columns.max() < 82
    assert mirrored == 20  # odd seeds
    areas = [w * h / (80 * 60) for w, h in widths]
    assert min(areas) < 0.2
    assert max(areas) > 0.6


def test_batches_carry_tickets(folder):
    batches = Augmented(Batches((folder.x, folder.y), 3), ImageFolder.reseed)
    tickets, y = next(batches)
    assert y.equal(folder.y[tickets[:, 0]])
    assert (tickets[:, 1] >= 0).all()
    assert folder(tickets).shape == (3, 3, 16, 16)


def test_without_images_it_says_where_they_belong(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train/CLASS/NAME\.jpeg\. ImageNet is not"):
        ImageFolder(tmp_path / "train")
