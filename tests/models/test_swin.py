"""The Swin transformer: against transformers' own; its windows against attention by brute force."""

import math

import pytest
import torch

from companion.models import Swin, SwinConfig
from companion.models.swin import Attention

SMALL = SwinConfig(32, 3, 5, patch=2, dim=12, depths=(2, 2, 1), heads=(2, 4, 4), window=4)


def closed_form(c):
    """Count parameters: patches, blocks, merges of four tokens into one, head."""
    side, dim = c.image // c.patch, c.dim
    total = c.patch**2 * c.channels * dim + dim + 2 * dim
    for stage, (depth, heads) in enumerate(zip(c.depths, c.heads, strict=True)):
        if stage:
            total += 8 * dim + 8 * dim**2
            dim, side = 2 * dim, side // 2
        layers = (4 + 2 * c.ratio) * dim**2 + (4 + c.ratio + 1) * dim
        total += depth * (layers + 4 * dim + (2 * min(c.window, side) - 1) ** 2 * heads)
    return total + 2 * dim + dim * c.classes + c.classes


@pytest.mark.parametrize("config", [SwinConfig(), SMALL], ids=["Swin-T", "small"])
def test_the_number_of_parameters_is_that_of_the_closed_form(config):
    with torch.device("meta"):
        count = sum(p.numel() for p in Swin(config).parameters())
    assert count == closed_form(config)
    assert config != SwinConfig() or count == 28_288_354


def test_the_closed_form_is_that_of_transformers_for_swin_t():
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        theirs = transformers.SwinForImageClassification(transformers.SwinConfig(num_labels=1000))
    assert sum(p.numel() for p in theirs.parameters()) == closed_form(SwinConfig())


def test_the_outputs_are_those_of_transformers_for_the_same_weights():
    transformers = pytest.importorskip("transformers")
    c = SMALL
    theirs = transformers.SwinForImageClassification(
        transformers.SwinConfig(
            image_size=c.image, patch_size=c.patch, embed_dim=c.dim, depths=list(c.depths),
            num_heads=list(c.heads), window_size=c.window, num_labels=c.classes, drop_path_rate=0.0,
        )
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = theirs.double().eval()
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.3)  # biases too, so that each one counts
    ours = Swin(c).double()
    ours.load_state_dict(renamed(theirs.state_dict(), c))
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x).logits, rtol=1e-6, atol=1e-6)


def renamed(theirs, c):
    """Return our state of their weights."""
    parts = {"norm1": "layernorm_before", "norm2": "layernorm_after", "attention.out": "attention."
             "o_proj", "up": "mlp.fc1", "down": "mlp.fc2"}  # fmt: skip
    names = {"embed": "embeddings.patch_embeddings.projection", "embed_norm": "embeddings.norm",
             "norm": "layernorm"}  # fmt: skip
    found, place = {}, 0
    for stage, depth in enumerate(c.depths):
        layer = f"swin.encoder.layers.{stage}"
        if stage:
            for mine, part in {"norm": "norm", "reduce": "reduction"}.items():
                names[f"stages.{place}.{mine}"] = f"encoder.layers.{stage - 1}.downsample.{part}"
            place += 1
        for block in range(depth):
            for mine, part in parts.items():
                names[f"stages.{place}.{mine}"] = f"encoder.layers.{stage}.blocks.{block}.{part}"
            attention = f"{layer}.blocks.{block}.attention"
            for kind in ("weight", "bias"):
                qkv = [theirs[f"{attention}.{z}_proj.{kind}"] for z in "qkv"]
                found[f"stages.{place}.attention.qkv.{kind}"] = torch.cat(qkv)
            table = f"{attention}.relative_position_bias.relative_position_bias_table"
            found[f"stages.{place}.attention.bias"] = theirs[table]
            place += 1
    for mine, part in names.items():
        for kind in ("weight", "bias"):
            if f"swin.{part}.{kind}" in theirs:
                found[f"{mine}.{kind}"] = theirs[f"swin.{part}.{kind}"]
    return found | {f"head.{kind}": theirs[f"classifier.{kind}"] for kind in ("weight", "bias")}


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_a_token_sees_its_neighbours_in_the_shifted_grid_and_no_others(shift):
    side, window, dim, heads = 8, 4, 6, 2
    torch.manual_seed(0)
    layer = Attention(dim, heads, side, window, shift).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(1, side, side, dim, dtype=torch.float64)
    tokens = [(r, c) for r in range(side) for c in range(side)]
    q, k, v = layer.qkv(x[0].flatten(0, 1)).chunk(3, -1)
    expected = torch.zeros(side**2, dim, dtype=torch.float64)
    for i, (r, c) in enumerate(tokens):
        # Not rolled: lines of the grid at shift, shift + window, …; the parts outside are smaller.
        near = [
            j
            for j, (a, b) in enumerate(tokens)
            if (a - shift) // window == (r - shift) // window
            and (b - shift) // window == (c - shift) // window
        ]
        for head in range(heads):
            part = slice(head * dim // heads, (head + 1) * dim // heads)
            place = [
                (r - tokens[j][0] + window - 1) * (2 * window - 1) + c - tokens[j][1] + window - 1
                for j in near
            ]
            scores = k[near, part] @ q[i, part] / math.sqrt(dim // heads) + layer.bias[place, head]
            expected[i, part] = scores.softmax(0) @ v[near, part]
    torch.testing.assert_close(layer(x), layer.out(expected).view(1, side, side, dim))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": 33}, "image: 33 pixels are no whole number of patches of 2"),
        ({"window": 5}, "stage 0: 16 tokens a side and length 12 need a window that divides"),
        ({"heads": (2, 5, 4)}, "stage 1: 8 tokens a side and length 24 need .* heads that divide"),
        ({"image": 6, "patch": 2}, "stage 0: 3 tokens a side cannot be merged by twos"),
    ],
)
def test_sizes_that_do_not_divide_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Swin(SwinConfig(**{**vars(SMALL), **options}))


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"x: expected images .* got shape \(1, 3, 8, 8\)"):
        Swin(SMALL)(torch.zeros(1, 3, 8, 8))
