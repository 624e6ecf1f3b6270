"""Turns a GGUF file into an ordinary transformers model folder (takes about 25 s of one core).

Run as a program, `python -m reagent_core.gguf_conversion FILE FOLDER`, so that the caller's
process keeps its interpreter free, its memory small and its terminal clean meanwhile.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

from reagent_core.gguf_file import read_gguf

# Rules for cutting text, by the names that GGUF files give them (llama.cpp, llama-vocab.cpp). These
# cut at every digit before they go on like GPT-2; transformers does not know them.
_DIGITS_FIRST = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone")
# These are GPT-2's own rule, which transformers takes where it knows no other.
_LIKE_GPT2 = ("default", "gpt-2", "phi-2", "mpt", "olmo", "jais")


def convert(gguf: Path, folder: Path) -> None:
    """Write config, float32 weights (`model.safetensors`) and tokenizer of `gguf` to `folder`.

    `folder` must exist.

    Raises:
        ModelError: the file cannot be read.
        OSError, ValueError: what transformers says when it cannot read or write; a rule for
            cutting text that neither it nor this module knows.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    rule = read_gguf(gguf).pre_tokenizer
    if rule is not None and rule not in (*GGUF_PRE_TOKENIZER_SPLITS, *_DIGITS_FIRST, *_LIKE_GPT2):
        # Read by another rule, the model would get tokens it was not trained on, and answer worse.
        raise ValueError(f"its tokenizer cuts text by a rule that is not known here, {rule!r}")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if rule in _DIGITS_FIRST:
        split_digits(tokenizer)
    tokenizer.save_pretrained(folder)

    read = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    # transformers refuses to save a model that still says it is quantized, and would refuse to
    # load one whose config says so; its weights are plain float32 by now.
    config = copy.deepcopy(read.config)
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(folder)


def split_digits(tokenizer: object) -> None:
    """Make a fast tokenizer cut the text at every digit first, as SmolLM2 was trained.

    A GGUF file names this rule in "tokenizer.ggml.pre" and transformers ignores it; without it,
    spaces and newlines in front of a number become other tokens.
    """
    from tokenizers import pre_tokenizers

    backend = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
    )


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
