"""The networks compute what their formulas say."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from companion.data import Dataset, text
from companion.models import GPT, GPTConfig
from companion.train import cross_entropy, fit

TINY = GPTConfig(vocab=11, block=8, layers=2, heads=3, width=12)


def count(model):
    return sum(p.numel() for p in model.parameters())


def random_gpt(config=TINY):
    """A GPT whose every parameter is away from its special start, in float64."""
    torch.manual_seed(0)
    model = GPT(config).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) / 4)
    return model


def test_gpt_is_its_formula():
    """The same weights through torch's own multi-head attention, linear layers and GELU."""
    model = random_gpt()
    tokens = torch.randint(11, (4, 7))
    h = model.token.weight[tokens] + model.position.weight[torch.arange(7)]
    future = torch.ones(7, 7, dtype=torch.bool).triu(1)
    for block in model.blocks:
        attention = nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64)
        attention.load_state_dict(
            {
                "in_proj_weight": block.attention.qkv.weight,
                "in_proj_bias": block.attention.qkv.bias,
                "out_proj.weight": block.attention.projection.weight,
                "out_proj.bias": block.attention.projection.bias,
            }
        )
        n = F.layer_norm(h, (12,), block.norm1.weight, block.norm1.bias)
        h = h + attention(n, n, n, attn_mask=future, need_weights=False)[0]
        n = F.layer_norm(h, (12,), block.norm2.weight, block.norm2.bias)
        n = n @ block.mlp.expand.weight.T + block.mlp.expand.bias
        n = n * torch.special.ndtr(n)  # GELU
        h = h + n @ block.mlp.projection.weight.T + block.mlp.projection.bias
    h = F.layer_norm(h, (12,), model.norm.weight, model.norm.bias)
    torch.testing.assert_close(model(tokens), h @ model.token.weight.T, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("place", [1, 4, 7])
def test_gpt_does_not_see_the_future(place):
    model = random_gpt()
    tokens = torch.randint(11, (2, 8))
    changed = tokens.clone()
    changed[:, place] = (changed[:, place] + 1) % 11
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-12)
    assert (after[:, place:] - before[:, place:]).abs().amax(-1).min() > 1e-3


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (GPTConfig(50257, 1024, 12, 12, 768), 124_439_808),  # GPT-2 small
        (GPTConfig(50257, 1024, 24, 16, 1024), 354_823_168),  # GPT-2 medium
        (GPTConfig(65, 32, 2, 4, 64), 106_304),
    ],
)
def test_gpt_has_the_known_number_of_parameters(config, parameters):
    with torch.device("meta"):
        assert count(GPT(config)) == parameters


def test_gpt_starts_at_the_loss_of_a_uniform_guess():
    """Targets that know nothing of the tokens cost ln V; on text, repeats make it a bit less."""
    python, V, T = text(), 103, 32
    torch.manual_seed(0)
    model = GPT(GPTConfig(V, block=T, layers=4, heads=4, width=64))
    tokens, targets = torch.randint(V, (2, 32, T))
    assert abs(cross_entropy(model(tokens), targets).item() - math.log(V)) < 0.1
    V = len(python.vocab)
    model = GPT(GPTConfig(V, block=T, layers=4, heads=4, width=64))
    x, y = python.batch(32, T, torch.Generator().manual_seed(0))
    assert abs(cross_entropy(model(x), y).item() - math.log(V)) < 0.25


def test_gpt_starts_with_the_stated_deviations():
    torch.manual_seed(0)
    model = GPT(GPTConfig(100, block=64, layers=8, heads=4, width=64))
    for name, p in model.named_parameters():
        if p.dim() == 2:
            std = 0.02 / 4 if "projection" in name else 0.02  # √(2 · 8) = 4
            # n ≥ 4,096 normals: the sample deviation is off by 1/√(2n) ≤ 1.1 %; five of those
            assert abs(p.std().item() / std - 1) < 0.055, name
        else:
            assert (p == (0 if name.endswith("bias") else 1)).all(), name


def test_gpt_sends_a_gradient_to_every_parameter():
    model = random_gpt()
    tokens = torch.randint(11, (4, 8))
    cross_entropy(model(tokens), tokens.roll(-1, 1)).backward()
    for name, p in model.named_parameters():
        assert p.grad.dtype == torch.float64
        assert p.grad.abs().max() > 0, name


def test_gpt_drops_entries_only_while_it_trains():
    model = random_gpt(GPTConfig(11, 8, 2, 3, 12, dropout=0.5))
    tokens = torch.randint(11, (2, 8))
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    plain = random_gpt()
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(tokens), plain(tokens), rtol=0, atol=0)


def test_gpt_learns_a_rhythm():
    """Tokens that repeat 0, 1, …, 4: soon predicted almost surely."""
    windows = (torch.arange(200) % 5).unfold(0, 9, 1)
    data = Dataset(windows[:, :-1], windows[:, 1:])
    torch.manual_seed(0)
    model = GPT(GPTConfig(5, 8, 1, 2, 16))
    frame = fit(model, data, lambda p: torch.optim.Adam(p, lr=1e-2), steps=60, device="cpu")
    assert frame["loss"].iloc[-1] < 0.1
    assert "tokens_per_second" in frame


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"vocab": 0}, ValueError, "vocab: expected at least 1, got 0"),
        ({"block": True}, TypeError, "block: .*got True"),
        ({"layers": 1.5}, TypeError, r"layers: .*got 1\.5"),
        ({"heads": 5}, ValueError, "width: expected a multiple of heads=5, got 12"),
        ({"dropout": math.nan}, ValueError, "dropout: .*got nan"),
        ({"dropout": 1.0}, ValueError, r"dropout: expected 0 <= dropout < 1, got 1\.0"),
    ],
)
def test_gpt_refuses_sizes(change, kind, message):
    with pytest.raises(kind, match=message):
        GPTConfig(**{**vars(TINY), **change})


@pytest.mark.parametrize("shape", [(2, 9), (2, 0), (3,)])
def test_gpt_refuses_tokens(shape):
    with pytest.raises(ValueError, match=rf"tokens: .*1 <= T <= 8, got \({shape[0]},"):
        GPT(TINY)(torch.zeros(shape, dtype=torch.int64))


def test_sizes_may_be_numpys():
    assert GPTConfig(*np.array([11, 8, 2, 3, 12])) == TINY


def test_gpt_is_copied_and_pickled():
    model, x = GPT(TINY), torch.randint(11, (2, 8))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(other(x), model(x), rtol=0, atol=0)
