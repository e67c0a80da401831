"""Partitions: which entries share a second moment, and which partitions are refused."""

import itertools

import numpy as np
import pytest
import torch

from companion.optim.blocks import AdamMini, divide, heads, resolve
from tests.naming import label


def stretches(*runs):
    """Return the positions of consecutive blocks; a run is (number of blocks, entries of each)."""
    ends = np.cumsum([0, *(size for n, size in runs for _ in range(n))])
    return {frozenset(range(a, b)) for a, b in itertools.pairwise(ends)}


def columns(runs, rows, width):
    """Return the same for runs of whole columns of a matrix."""
    return {
        frozenset(row * width + c for row in range(rows) for c in block)
        for block in stretches(*runs)
    }


def blocks_of(partition, shape, name=None, dtype=torch.float32):
    """Return the blocks of a partition, each as the set of its positions."""
    p = torch.zeros(shape, dtype=dtype)
    blocks = divide(resolve(partition), p, name)
    if isinstance(blocks, int):
        n = p.numel() * (1 + p.is_complex())
        blocks = torch.arange(n) // max(n // blocks, 1)
    blocks = blocks.flatten()
    return {frozenset((blocks == b).nonzero().flatten().tolist()) for b in blocks.unique()}


def odd_and_even(p, name):
    return torch.arange(p.numel()).view(p.shape) % 2


PARTITIONS = [  # partition, shape, the positions that make each block
    ("tensor", (4, 3), stretches((1, 12))),
    ("adalayer", (4, 3), stretches((1, 12))),
    ("tensor", (), stretches((1, 1))),
    ("rows", (4, 3), stretches((4, 3))),
    ("rows", (2, 3, 2), stretches((2, 6))),
    ("rows", (3,), stretches((3, 1))),
    ("rows", (), stretches((1, 1))),
    ("rows", (0, 3), set()),
    ("elements", (4, 3), stretches((12, 1))),
    (heads(2), (4, 3), stretches((2, 6))),
    (heads(4), (4, 3), stretches((4, 3))),
    (lambda p, name: 6, (4, 3), stretches((6, 2))),
    (odd_and_even, (4, 3), {frozenset(range(0, 12, 2)), frozenset(range(1, 12, 2))}),
    (odd_and_even, (5,), {frozenset((0, 2, 4)), frozenset((1, 3))}),
]


@pytest.mark.parametrize(("partition", "shape", "blocks"), PARTITIONS, ids=label)
def test_a_partition_divides_a_parameter(partition, shape, blocks):
    assert blocks_of(partition, shape) == blocks


def test_both_parts_of_a_complex_entry_are_in_its_block():
    assert blocks_of("rows", (3, 2), dtype=torch.complex64) == stretches((3, 4))
    assert blocks_of("elements", (3,), dtype=torch.complex64) == stretches((6, 1))
    pairs = {frozenset((0, 1, 4, 5)), frozenset((2, 3, 6, 7))}
    assert blocks_of(odd_and_even, (4,), dtype=torch.complex64) == pairs


GPT2 = ("c_attn", "c_proj", "c_fc")
MINI = [  # name, shape, arguments of AdamMini, blocks; two heads of width 2 unless it says so
    ("transformer.wte.weight", (5, 4), (2,), stretches((5, 4))),
    ("transformer.h.0.ln_1.weight", (4,), (2,), stretches((1, 4))),
    ("transformer.h.0.ln_1.bias", (4,), (2,), stretches((1, 4))),
    # q and k by head (two rows each), v by row
    ("transformer.h.0.attn.c_attn.weight", (12, 4), (2,), stretches((4, 8), (4, 4))),
    ("transformer.h.0.attn.c_attn.bias", (12,), (2,), stretches((12, 1))),
    ("transformer.h.0.attn.c_proj.weight", (4, 4), (2,), stretches((4, 4))),
    ("transformer.h.0.mlp.c_fc.weight", (16, 4), (2,), stretches((16, 4))),
    ("transformer.h.0.mlp.c_fc.bias", (16,), (2,), stretches((16, 1))),
    ("transformer.h.0.mlp.c_proj.weight", (4, 16), (2,), stretches((4, 16))),
    ("transformer.ln_f.weight", (4,), (2,), stretches((1, 4))),
    ("lm_head.weight", (5, 4), (2,), stretches((5, 4))),
    ("model.layers.0.self_attn.q_proj.weight", (4, 4), (2,), stretches((2, 8))),
    ("model.layers.0.self_attn.k_proj.weight", (4, 4), (2,), stretches((2, 8))),
    ("model.layers.0.self_attn.v_proj.weight", (4, 4), (2,), stretches((4, 4))),
    ("model.layers.0.self_attn.o_proj.weight", (4, 4), (2,), stretches((4, 4))),
    ("model.layers.0.input_layernorm.weight", (4,), (2,), stretches((1, 4))),
    ("encoder.self_attn.in_proj_weight", (12, 4), (2,), stretches((4, 8), (4, 4))),
    # four heads of queries, two of keys and values
    ("layers.0.attention.wqkv.weight", (16, 8), (4, 2), stretches((4, 16), (2, 16), (4, 8))),
    ("layers.0.q_proj.weight", (8, 8), (4, 2), stretches((4, 16))),
    ("layers.0.k_proj.weight", (4, 8), (4, 2), stretches((2, 16))),
    ("layers.0.k_proj.weight", (2, 8), (4, 1), stretches((1, 16))),
    ("layers.0.v_proj.weight", (4, 8), (4, 2), stretches((4, 8))),
    # heads that are wider than the model's width divided by their number
    ("layers.0.q_proj.weight", (12, 4), (2, 1, 6), stretches((2, 24))),
    ("layers.0.k_proj.weight", (6, 4), (2, 1, 6), stretches((1, 24))),
    ("layers.0.qkv.weight", (24, 4), (2, 1, 6), stretches((2, 24), (1, 24), (6, 4))),
    # stored as (in, out): the outputs are columns
    ("h.0.attn.c_attn.weight", (4, 12), (2, None, None, GPT2), columns(((4, 2), (4, 1)), 4, 12)),
    ("h.0.attn.c_proj.weight", (4, 4), (2, None, None, GPT2), columns(((4, 1),), 4, 4)),
    ("h.0.mlp.c_fc.weight", (4, 16), (2, None, None, GPT2), columns(((16, 1),), 4, 16)),
    ("lm_head.weight", (5, 4), (2, None, None, GPT2), stretches((5, 4))),
]


@pytest.mark.parametrize(("name", "shape", "arguments", "blocks"), MINI, ids=label)
def test_adam_mini_divides_a_transformer_by_its_names(name, shape, arguments, blocks):
    assert blocks_of(AdamMini(*arguments), shape, name) == blocks


def test_grouped_queries_of_a_model_at_its_full_size():
    qkv = AdamMini(32, 8)(torch.zeros(6144, 4096), "layers.0.wqkv.weight")
    assert qkv[:, 0].unique(return_counts=True)[1].tolist() == [128] * 40 + [1] * 1024


MATRIX = torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("partition", "name", "shape", "error", "message"),
    [
        ("columns", None, (4, 3), ValueError, "partition must be one of .* got 'columns'"),
        (lambda p, n: 5, None, (4, 3), ValueError, "5 blocks do not divide the 12 entries"),
        (lambda p, n: 0, None, (4, 3), ValueError, "0 blocks do not divide the 12 entries"),
        (lambda p, n: MATRIX[0].long(), None, (4, 3), ValueError, r"shape \(4, 3\)"),
        (lambda p, n: MATRIX.long() - 1, None, (4, 3), ValueError, "labels must be >= 0"),
        (lambda p, n: MATRIX, None, (4, 3), TypeError, "int or an int64 tensor"),
        (lambda p, n: "rows", None, (4, 3), TypeError, "int or an int64 tensor, got 'rows'"),
        (lambda p, n: True, None, (4, 3), TypeError, "int or an int64 tensor, got True"),
        (heads(3), None, (4, 3), ValueError, r"heads: n=3 must divide .* \(4, 3\)"),
        (AdamMini(2), None, (4, 3), ValueError, "AdamMini goes by names"),
        (AdamMini(3), "q_proj.weight", (4, 4), ValueError, "4 outputs.*n_heads=3.*make 3"),
        # grouped queries that the arguments do not tell of
        (AdamMini(32), "wqkv.weight", (6144, 4096), ValueError, "6144 outputs.*n_kv_heads"),
        (AdamMini(32), "k_proj.weight", (1024, 4096), ValueError, "1024 outputs.*n_kv_heads"),
        (AdamMini(16), "q_proj.weight", (2048, 1024), ValueError, "2048 outputs.*head_dim"),
        # weights stored as (in, out), even where their number of rows could be that of heads
        (AdamMini(16), "c_attn.weight", (768, 2304), ValueError, "768 outputs.*transposed"),
        (AdamMini(16, 16), "c_attn.weight", (768, 2304), ValueError, "768 outputs.*transposed"),
        (AdamMini(12, None, None, GPT2), "c_attn.weight", (2304, 768), ValueError, "768 outputs"),
        # a layout that is neither one projection nor three
        (AdamMini(2), "query_key_value.weight", (12, 4), ValueError, "'query_key_value.weight'"),
        (AdamMini(2), "kv_proj.weight", (8, 4), ValueError, "'kv_proj.weight'.*stacked"),
    ],
    ids=label,
)
def test_a_partition_that_does_not_fit_is_refused(partition, name, shape, error, message):
    with pytest.raises(error, match=message):
        blocks_of(partition, shape, name)


@pytest.mark.parametrize("numbers", [{"n_heads": 0}, {"n_heads": 4, "n_kv_heads": 0}], ids=label)
def test_numbers_of_heads_are_at_least_one(numbers):
    with pytest.raises(ValueError, match="heads must be a whole number >= 1, got 0"):
        AdamMini(**numbers)
