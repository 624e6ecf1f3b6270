"""A tiny model of every family in use, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers

from reagent_core.request import ModelInfo
from reagent_core.scorers.encoder_decoder import EncoderDecoderScorer
from reagent_core.scorers.transformers_lm import TransformersScorer
from tests.trained_tokenizers import bart, byte_level, t5

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


_T5: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}

# Name -> (config class, its arguments, the tokenizer). Flan-T5 is of the gated kind.
ENCODER_DECODERS: dict[str, tuple[str, dict[str, Any], Callable[[], Any]]] = {
    "t5": ("T5Config", _T5, t5),
    "t5-gated": (
        "T5Config",
        {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        t5,
    ),
    "bart": (
        "BartConfig",
        {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
         "max_position_embeddings": 128},
        bart,
    ),
}  # fmt: skip


def tiny_model(
    family: str, dtype: torch.dtype = torch.float32, vocabulary: int = VOCABULARY
) -> Any:
    """A model whose predictions differ clearly from token to token, the same at every call."""
    name, arguments = FAMILIES[family]
    config = getattr(transformers, name)(
        **{**arguments, "vocab_size": vocabulary}, bos_token_id=0, eos_token_id=0, pad_token_id=0
    )
    return _fresh(transformers.AutoModelForCausalLM, config, 4.0).to(dtype)


def tiny_scorer(
    family: str, dtype: torch.dtype = torch.float32, tokenizer: Any = None
) -> TransformersScorer:
    info = ModelInfo(id=f"tiny {family}", revision_or_sha256="0")
    if tokenizer is None:
        return TransformersScorer(tiny_model(family, dtype), byte_level(), info)
    model = tiny_model(family, dtype, len(tokenizer))
    model.generation_config.eos_token_id = None  # an answer ends as the tokenizer says, or never
    return TransformersScorer(model, tokenizer, info)


def tiny_encoder_decoder(family: str) -> tuple[Any, Any]:
    """A model as `tiny_model`, and its tokenizer."""
    name, arguments, made = ENCODER_DECODERS[family]
    tokenizer = made()
    config = getattr(transformers, name)(**arguments, vocab_size=len(tokenizer))
    # T5 is made with large weights as it is.
    model = _fresh(transformers.AutoModelForSeq2SeqLM, config, 8.0 if family == "bart" else 1.0)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "EncDecAttention" in parameter_name or "encoder_attn." in parameter_name:
                parameter.mul_(4.0)  # or else the decoder would hardly look at the source
    # As the files of the released models say: T5 starts with <pad>, BART with </s> and then <s>.
    if family != "bart":
        model.generation_config.decoder_start_token_id = 0
    else:
        model.generation_config.forced_bos_token_id = 0
        model.final_logits_bias.normal_(std=0.3)  # zero in a fresh model: a test could not see it
    return model, tokenizer


def tiny_encoder_decoder_scorer(family: str) -> EncoderDecoderScorer:
    info = ModelInfo(id=f"tiny {family}", revision_or_sha256="0")
    return EncoderDecoderScorer(*tiny_encoder_decoder(family), info)


def _fresh(auto_class: Any, config: Any, growth: float) -> Any:
    """Most fresh weights are so small that every token is as likely; these are `growth` times as
    large."""
    torch.manual_seed(0)
    model = auto_class.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(growth)
    return model.eval()
