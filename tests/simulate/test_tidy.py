import pytest
import torch

from companion.simulate import tidy

LR = torch.tensor([0.003, 0.03, 0.3], dtype=torch.float64)


def test_tidy_has_a_row_for_each_number():
    values = torch.arange(6.0, dtype=torch.float64).view(3, 2)
    frame = tidy(values, "x", lr=LR, seed=[5, 6])
    assert list(frame) == ["lr", "seed", "x"]
    by_label = frame.set_index(["lr", "seed"]).x
    for i, lr in enumerate(LR.tolist()):
        for j, seed in enumerate((5, 6)):
            assert by_label[lr, seed] == values[i, j].item()
    with pytest.raises(ValueError, match=r"values has shape \(3, 2\).*lr have lengths \(3,\)"):
        tidy(values, lr=LR)
