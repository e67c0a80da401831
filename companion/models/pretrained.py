"""Weights of a `Llama` from a folder in the format of the library transformers."""

import json
from pathlib import Path

from torch import Tensor

from companion.models.llama import Llama, LlamaConfig

SIZES = {  # in config.json: of a LlamaConfig
    "vocab_size": "vocab",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "hidden_size": "width",
    "intermediate_size": "hidden",
    "rms_norm_eps": "eps",
    "tie_word_embeddings": "tied",
}
PARTS = (  # of a name: theirs, ours
    ("model.layers.", "blocks."),
    ("model.embed_tokens.", "token."),
    ("model.norm.", "norm."),
    ("lm_head.", "output."),
    ("self_attn.q_proj.", "attention.query."),
    ("self_attn.k_proj.", "attention.key."),
    ("self_attn.v_proj.", "attention.value."),
    ("self_attn.o_proj.", "attention.projection."),
    ("mlp.gate_proj.", "mlp.gate."),
    ("mlp.up_proj.", "mlp.up."),
    ("mlp.down_proj.", "mlp.down."),
    ("post_attention_layernorm.", "norm2."),
    ("input_layernorm.", "norm1."),
)


def load_llama(folder) -> Llama:
    """Return a `Llama` with the weights of a folder, in float32.

    Parameters
    ----------
    folder : path
        With ``config.json`` and ``*.safetensors``, as `LlamaForCausalLM.save_pretrained` of the
        library transformers writes them. Nothing is unpickled.

    Raises
    ------
    FileNotFoundError
        If one of them is missing.
    ValueError
        If the network is another than `Llama` computes, or if weights are missing or left over.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    files = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not files:
        raise FileNotFoundError(
            f"{folder}: expected config.json and *.safetensors; a folder of *.bin is turned into "
            "such a one by from_pretrained and save_pretrained of transformers"
        )
    config = llama_config(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    model = Llama(config)
    state = {name: z for file in files for name, z in renamed(load_file(file)).items()}
    if config.tied:
        state.setdefault("output.weight", state.get("token.weight"))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{folder}: the weights do not fit config.json: {error}") from error
    return model


def llama_config(found: dict) -> LlamaConfig:
    """Return the sizes that a ``config.json`` states, or say what `Llama` does not compute.

    Examples
    --------
    >>> llama_config({"vocab_size": 65, "num_hidden_layers": 1, "num_attention_heads": 2,
    ...               "hidden_size": 8, "intermediate_size": 16, "rms_norm_eps": 1e-6}).kv_heads
    2
    """
    found = {"num_key_value_heads": found["num_attention_heads"]} | found
    rope = found.get("rope_parameters") or found.get("rope_scaling") or {}
    size = found["hidden_size"] // found["num_attention_heads"]
    for name, value, allowed in (
        ("model_type", found.get("model_type", "llama"), "llama"),
        ("hidden_act", found.get("hidden_act", "silu"), "silu"),
        ("attention_bias", bool(found.get("attention_bias")), False),
        ("mlp_bias", bool(found.get("mlp_bias")), False),
        ("rope_type", rope.get("rope_type", rope.get("type", "default")), "default"),
        ("head_dim", found.get("head_dim") or size, size),
    ):
        if value != allowed:
            raise ValueError(f"config.json: {name} is {value!r}; Llama has {allowed!r}")
    sizes = {ours: found[theirs] for theirs, ours in SIZES.items() if theirs in found}
    return LlamaConfig(base=rope.get("rope_theta", found.get("rope_theta", 10_000.0)), **sizes)


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of transformers' `LlamaForCausalLM` under the names that `Llama` gives them.

    Examples
    --------
    >>> list(renamed({"model.layers.3.self_attn.q_proj.weight": None}))
    ['blocks.3.attention.query.weight']
    """
    answer = {}
    for name, weight in state.items():
        if name.endswith("rotary_emb.inv_freq"):  # some old folders have it: it is computed here
            continue
        for theirs, ours in PARTS:
            name = name.replace(theirs, ours)
        answer[name] = weight
    return answer
