"""Our LLaMA is transformers' LlamaForCausalLM, and rotary positions know distances only."""

import json
import math

import pytest
import torch
from torch import nn

from companion.models import Llama, LlamaConfig
from companion.models.llama import angles, rotate
from companion.models.pretrained import llama_config, load_llama, renamed
from companion.train import cross_entropy

TINY = LlamaConfig(vocab=11, layers=2, heads=4, kv_heads=2, width=24, hidden=20)


def reference(config: LlamaConfig):
    """Return transformers' network of these sizes, every parameter away from its start."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config.vocab,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            hidden_size=config.width,
            intermediate_size=config.hidden,
            rope_theta=config.base,
            rms_norm_eps=config.eps,
            tie_word_embeddings=config.tied,
        )
    )
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(torch.randn_like(p) / 4)
    return theirs.eval()


class Exact(nn.Module):
    """transformers' rotary positions, which it computes in float32, in float64."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, x, position_ids, *args):
        d = self.config.width // self.config.heads
        turn = [self.config.base ** (-2 * i / d) for i in range(d // 2)] * 2
        angle = position_ids[..., None] * torch.tensor(turn, dtype=torch.float64)
        return angle.cos(), angle.sin()


def in_double(theirs, config):
    """Return their network in float64: its norms and positions would round to float32."""
    theirs = theirs.double()
    theirs.model.rotary_emb = Exact(config)
    for module in list(theirs.modules()):
        for name, child in module.named_children():
            if type(child).__name__ == "LlamaRMSNorm":
                norm = nn.RMSNorm(config.width, eps=config.eps, dtype=torch.float64)
                norm.weight = child.weight
                setattr(module, name, norm)
    return theirs


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_logits_are_those_of_transformers(kv_heads, tied, dtype, error):
    config = LlamaConfig(11, 2, 4, kv_heads, 24, 20, base=50.0, eps=1e-3, tied=tied)
    theirs, ours = reference(config), Llama(config).to(dtype)
    ours.load_state_dict(renamed(theirs.state_dict()))
    theirs = in_double(theirs, config) if dtype == torch.float64 else theirs
    tokens = torch.randint(11, (3, 9))
    expected = theirs(tokens).logits
    assert expected.abs().max() > 1  # so that the bound means something
    torch.testing.assert_close(ours(tokens), expected, rtol=error, atol=error)


def test_scores_of_rotated_queries_and_keys_depend_on_their_distance_only():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 6, dtype=torch.float64)

    def score(t, s):
        places = torch.tensor([t, s], dtype=torch.float64)
        a, b = angles(places, 6)
        return (rotate(q, a[None]) @ rotate(k, b[None]).T).item()

    assert score(3, 1) == pytest.approx(score(1003, 1001), abs=1e-12)
    assert abs(score(3, 1) - score(3, 2)) > 1e-2


def test_a_rotation_is_that_of_complex_numbers():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    angle = angles(torch.arange(5, dtype=torch.float64), 6, base=100.0)
    turned = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones_like(angle), angle)
    expected = torch.cat([turned.real, turned.imag], -1)
    torch.testing.assert_close(rotate(x, angle), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("place", [1, 4, 7])
def test_llama_does_not_see_the_future(place):
    torch.manual_seed(0)
    model = Llama(TINY).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) / 4)
    tokens = torch.randint(11, (2, 8))
    changed = tokens.clone()
    changed[:, place] = (changed[:, place] + 1) % 11
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-12)
    assert (after[:, place:] - before[:, place:]).abs().amax(-1).min() > 1e-3


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LlamaConfig(32_000, 32, 32, 32, 4096, 11_008), 6_738_415_616),  # LLaMA-7B
        (LlamaConfig(49_152, 30, 9, 3, 576, 1536, tied=True), 134_515_008),  # SmolLM2-135M
    ],
)
def test_llama_has_the_known_number_of_parameters(config, parameters):
    with torch.device("meta"):
        model = Llama(config)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_every_parameter_has_a_gradient_and_the_first_loss_is_that_of_a_guess():
    torch.manual_seed(0)
    model = Llama(TINY)
    tokens = torch.randint(11, (8, 9))
    loss = cross_entropy(model(tokens), torch.randint(11, (8, 9)))
    assert loss.item() == pytest.approx(math.log(11), abs=0.05)
    loss.backward()
    for name, p in model.named_parameters():
        assert p.grad.abs().max() > 0, name


def test_half_precision_loses_no_squares():
    """Entries of 300 have squares beyond float16; the norm is one of all the same."""
    model = Llama(TINY).half()
    x = torch.full((1, 24), 300.0, dtype=torch.float16)
    torch.testing.assert_close(model.norm(x), torch.ones_like(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab": 0}, "vocab: expected at least 1, got 0"),
        ({"heads": 5}, "width: expected a multiple of 2 heads = 10, got 24"),
        ({"width": 12, "heads": 4}, "width: expected a multiple of 2 heads = 8, got 12"),
        ({"kv_heads": 3}, "kv_heads: expected a divisor of heads=4, got 3"),
        ({"base": 0.0}, "base: expected a positive number"),
        ({"eps": math.nan}, "eps: expected a positive number, got nan"),
    ],
)
def test_sizes_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        LlamaConfig(**{**vars(TINY), **change})


def test_tokens_are_checked():
    with pytest.raises(ValueError, match=r"tokens: expected shape \(B, T\)"):
        Llama(TINY)(torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("tied", [False, True])
def test_a_folder_of_transformers_is_loaded(tied, tmp_path):
    theirs = reference(LlamaConfig(11, 2, 4, 2, 24, 20, base=50.0, eps=1e-3, tied=tied))
    theirs.save_pretrained(tmp_path, max_shard_size="8KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ours = load_llama(tmp_path)
    assert ours.config.base == 50
    assert (ours.output.weight is ours.token.weight) == tied
    tokens = torch.randint(11, (3, 9))
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)


def test_what_a_folder_lacks_is_said(tmp_path):
    pytest.importorskip("safetensors")
    with pytest.raises(FileNotFoundError, match=r"config.json and \*.safetensors"):
        load_llama(tmp_path)
    theirs = reference(TINY)
    theirs.save_pretrained(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(about | {"num_hidden_layers": 3}))
    with pytest.raises(ValueError, match=r"do not fit config.json: (.|\n)*blocks.2.norm1"):
        load_llama(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "qwen2"}, "model_type is 'qwen2'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type is 'linear'"),
        ({"head_dim": 8}, "head_dim is 8"),
    ],
)
def test_another_network_is_refused(change, message):
    found = {"vocab_size": 11, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 24}
    found |= {"intermediate_size": 20, "rms_norm_eps": 1e-6}
    assert llama_config(found).kv_heads == 4
    with pytest.raises(ValueError, match=message):
        llama_config(found | change)
