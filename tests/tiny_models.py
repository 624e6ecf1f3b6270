"""A tiny model of every causal family in use, with random weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from reagent_core.explanation import ModelInfo
from reagent_core.scorers.transformers_lm import TransformersScorer
from tests.trained_tokenizers import byte_level

VOCABULARY = 420
_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
_OLD: dict[str, Any] = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4}
_GROUPED = {**_SMALL, "num_key_value_heads": 2}

# Name -> (config class, its arguments). A window of 24 is shorter than the prompts of the tests.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", {**_OLD, "n_positions": 512}),
    "gptj": ("GPTJConfig", {**_OLD, "n_positions": 512, "rotary_dim": 4}),
    "opt": (
        "OPTConfig",
        {**_SMALL, "ffn_dim": 48, "word_embed_proj_dim": 32, "do_layer_norm_before": True},
    ),
    "gpt-neox": ("GPTNeoXConfig", _SMALL),
    "bloom": ("BloomConfig", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2,
                              "n_head": 4}),
    "llama": ("LlamaConfig", _GROUPED),
    "mistral": ("MistralConfig", {**_GROUPED, "sliding_window": 24}),
    "qwen2": ("Qwen2Config", _GROUPED),
    "qwen3": ("Qwen3Config", {**_GROUPED, "head_dim": 8}),
    "gemma2": ("Gemma2Config", {**_GROUPED, "head_dim": 8, "sliding_window": 24}),
    "gemma3": ("Gemma3TextConfig", {**_GROUPED, "head_dim": 8, "sliding_window": 24}),
    "phi": ("PhiConfig", _SMALL),
    "mamba": ("MambaConfig", {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2,
                              "state_size": 4}),
}  # fmt: skip


def tiny_model(family: str, dtype: torch.dtype = torch.float32) -> Any:
    """A model whose predictions differ clearly from token to token, the same at every call."""
    name, arguments = FAMILIES[family]
    config = getattr(transformers, name)(
        **arguments, bos_token_id=0, eos_token_id=0, pad_token_id=0
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0)  # fresh weights are so small that every token is as likely
    return model.to(dtype).eval()


def tiny_scorer(family: str, dtype: torch.dtype = torch.float32) -> TransformersScorer:
    info = ModelInfo(id=f"tiny {family}", revision_or_sha256="0")
    return TransformersScorer(tiny_model(family, dtype), byte_level(), info)
