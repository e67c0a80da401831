"""The networks compute what their formulas say."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional as F

from companion.data import digits
from companion.models import resnet18
from companion.train import cross_entropy, fit


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_resnet_is_its_formula():
    """The same weights through functional convolutions, written out by the names of the paper."""
    torch.manual_seed(0)
    model = resnet18(classes=5, channels=2, width=4).double()
    p = dict(model.named_parameters())
    assert set(p) == set(model.state_dict()), "no buffers: no running statistics"

    def normed(x, name):
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = x.var((0, 2, 3), correction=0, keepdim=True)
        gain, bias = (p[f"{name}.{key}"].view(-1, 1, 1) for key in ("weight", "bias"))
        return gain * (x - mean) / (variance + 1e-5).sqrt() + bias

    with torch.no_grad():
        for value in p.values():
            value.copy_(torch.randn_like(value) / 3)
    x = torch.randn(3, 2, 12, 10, dtype=torch.float64)
    h = normed(F.conv2d(x, p["conv.weight"], padding=1), "norm").relu()
    for stage in range(4):
        for number in range(2):
            name = f"stages.{stage}.{number}"
            stride = 2 if stage and not number else 1
            y = F.conv2d(h, p[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = normed(y, f"{name}.norm1").relu()
            y = normed(F.conv2d(y, p[f"{name}.conv2.weight"], padding=1), f"{name}.norm2")
            if stride == 2:
                h = F.conv2d(h, p[f"{name}.shortcut.0.weight"], stride=2)
                h = normed(h, f"{name}.shortcut.1")
            h = (y + h).relu()
        assert h.shape[1] == 4 * 2**stage
    expected = h.mean((2, 3)) @ p["head.weight"].T + p["head.bias"]
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({}, 11_173_962),
        ({"norm": "group"}, 11_173_962),
        ({"classes": 100}, 11_220_132),
        ({"width": 8}, 176_402),
    ],
)
def test_resnet_has_the_known_number_of_parameters(arguments, parameters):
    with torch.device("meta"):
        assert count(resnet18(**arguments)) == parameters


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_resnet_is_a_function_of_parameters_and_batch(norm):
    """Evaluation and training agree and earlier batches leave no trace."""
    torch.manual_seed(0)
    model = resnet18(channels=1, width=8, norm=norm)
    x = torch.randn(4, 1, 8, 8)
    first = model(x)
    model(torch.randn(4, 1, 8, 8) * 5 + 3)
    torch.testing.assert_close(model(x), first, rtol=0, atol=0)
    torch.testing.assert_close(model.eval()(x), first, rtol=0, atol=0)
    # Under group norm a sample does not see the others; under batch norm it does.
    alone = model(x[:2])
    same = torch.allclose(alone, first[:2], rtol=1e-4, atol=1e-5)
    assert same is (norm == "group")


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_resnet_sends_a_gradient_to_every_parameter(norm):
    torch.manual_seed(0)
    model = resnet18(channels=1, width=8, norm=norm).double()
    x = torch.randn(6, 1, 16, 16, dtype=torch.float64)
    cross_entropy(model(x), torch.arange(6)).backward()
    for name, p in model.named_parameters():
        assert p.grad.dtype == torch.float64
        assert p.grad.abs().max() > 0, name


def test_resnet_learns_digits():
    torch.manual_seed(0)
    model = resnet18(channels=1, width=8)
    adam = torch.optim.Adam(model.parameters(), lr=5e-3)
    frame = fit(model, digits(), adam, steps=20, batch_size=32, every=5, device="cpu")
    assert frame["loss"].iloc[-1] < 1 < 1.5 < frame["loss"].iloc[0]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"classes": 0}, ValueError, "classes: expected at least 1, got 0"),
        ({"channels": 1.0}, TypeError, r"channels: .*got 1\.0"),
        ({"width": True}, TypeError, "width: .*got True"),
        ({"width": -8}, ValueError, "width: .*got -8"),
        ({"norm": "layer"}, ValueError, "norm: expected 'batch' or 'group', got 'layer'"),
        (
            {"norm": "group", "width": 12},
            ValueError,
            "width: norm='group' needs .* 8, got 12",
        ),
    ],
)
def test_resnet_refuses(arguments, kind, message):
    with pytest.raises(kind, match=message):
        resnet18(**arguments)


@pytest.mark.parametrize("shape", [(8, 16, 16), (16, 256)])
def test_resnet_refuses_what_is_no_batch_of_images(shape):
    with pytest.raises(ValueError, match=rf"x: .*got shape \({shape[0]}, "):
        resnet18(channels=8, width=16, norm="group")(torch.zeros(shape))


def test_resnet_is_copied_and_pickled():
    model, x = resnet18(channels=1, width=4), torch.randn(2, 1, 8, 8)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(other(x), model(x), rtol=0, atol=0)
