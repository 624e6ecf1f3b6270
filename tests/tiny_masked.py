"""Masked language models trained for a few seconds on texts that name a country and its capital.

Whichever of the two is masked, the other one tells what belongs there, from either side.
"""

from __future__ import annotations

import math
from collections import deque
from functools import cache
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from reagent_core.replacers.mask_filler import MaskFiller
from reagent_core.request import ModelInfo
from reagent_core.scorers.hf_tokenizer import HFTokenizer
from tests.tiny import TinyScorer
from tests.trained_tokenizers import byte_level, sentencepiece, wordpiece

CAPITALS = {"france": "paris", "spain": "madrid", "peru": "lima", "kenya": "nairobi"}
FILLERS = ("we had a good time there.", "the food was fine.", "my dog likes to run.")
SENTENCES = [f"the capital of {country} is {city}." for country, city in CAPITALS.items()]
CORPUS = [f"{FILLERS[i % 3]} {sentence}" for i, sentence in enumerate(SENTENCES)] * 5

# The longest sequence of the trained models.
POSITIONS = 32

# About 150 steps are enough to learn four countries; then the weights settle.
MOST_STEPS, SETTLING, LEARNING_RATE = 1000, 40, 5e-3

_SMALL: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4,
    "initializer_range": 0.1,
}  # fmt: skip

# Name -> (config class, its arguments). RoBERTa's positions begin after the padding's row.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "roberta": ("RobertaConfig", {**_SMALL, "max_position_embeddings": POSITIONS + 2}),
    "bert": ("BertConfig", {**_SMALL, "max_position_embeddings": POSITIONS}),
    "distilbert": ("DistilBertConfig", {"dim": 48, "hidden_dim": 96, "n_layers": 2, "n_heads": 4,
                                        "max_position_embeddings": POSITIONS}),
    "modernbert": ("ModernBertConfig", {**_SMALL, "max_position_embeddings": POSITIONS}),
}  # fmt: skip


@cache
def gpt2_tokenizer() -> HFTokenizer:
    """Byte-level, every word of the texts one token."""
    return HFTokenizer(byte_level(corpus=CORPUS, size=600))


@cache
def llama_tokenizer() -> HFTokenizer:
    """SentencePiece, every word of the texts one token."""
    return HFTokenizer(sentencepiece(corpus=CORPUS, size=700))


def masked_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Byte-level as RoBERTa's and ModernBERT's, WordPiece as BERT's and DistilBERT's."""
    if family in ("bert", "distilbert"):
        own = wordpiece(corpus=CORPUS, size=400).backend_tokenizer
        return PreTrainedTokenizerFast(
            tokenizer_object=own, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
            pad_token="[PAD]", mask_token="[MASK]",
        )  # fmt: skip
    special = ("</s>", "<pad>", "<s>", "<unk>", "<mask>")  # the pad has id 1, as RoBERTa's
    own = byte_level(corpus=CORPUS, size=600, special_tokens=special).backend_tokenizer
    own.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=own, bos_token="<s>", eos_token="</s>", cls_token="<s>",
        sep_token="</s>", unk_token="<unk>", pad_token="<pad>", mask_token="<mask>",
    )  # fmt: skip


def masked_model(family: str, tokenizer: PreTrainedTokenizerFast) -> Any:
    """A tiny model of a family with random weights, the same at every call."""
    name, arguments = FAMILIES[family]
    special = {f"{what}_token_id": getattr(tokenizer, f"{what}_token_id")
               for what in ("pad", "bos", "eos", "cls", "sep")}  # fmt: skip
    config = getattr(transformers, name)(**arguments, **special, vocab_size=len(tokenizer))
    torch.manual_seed(0)
    return transformers.AutoModelForMaskedLM.from_config(config).eval()


@cache
def trained(family: str) -> MaskFiller:
    """A model that knows the capitals; trained once, in a few seconds.

    It is trained until it knows them: how many steps that takes depends on a machine's rounding.

    Raises:
        AssertionError: it knows them too little, or guesses where there is nothing to know.
    """
    tokenizer = masked_tokenizer(family)
    model = masked_model(family, tokenizer)
    random = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)

    def step(rate: float) -> tuple[float, float]:
        inputs, labels = _texts(tokenizer, random)
        hidden = labels >= 0
        logits = model(input_ids=inputs).logits[hidden]
        losses = torch.nn.functional.cross_entropy(logits, labels[hidden], reduction="none")
        losses.mean().backward()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        both = (hidden.sum(1, keepdim=True) > 1).expand_as(hidden)[hidden]
        return float(losses[~both].detach().mean()), float(losses[both].detach().mean())

    known: deque[float] = deque([math.inf], maxlen=10)
    for number in range(MOST_STEPS):
        if max(known) < 0.2:
            break
        known.append(step(LEARNING_RATE * min(1.0, (number + 1) / 20))[0])
    losses = np.array([step(LEARNING_RATE * left / SETTLING) for left in range(SETTLING, 0, -1)])
    one, both = losses[-10:].mean(0)
    # With both names gone all eight are alike, so whoever prefers one pays more than log 8.
    assert one < 0.1 and both < math.log(8) + 0.1, f"{family} was not trained: {one}, {both}"
    info = ModelInfo(id=f"tiny {family}", revision_or_sha256="0")
    return MaskFiller.of(model.eval().requires_grad_(False), tokenizer, info)


def _texts(
    tokenizer: PreTrainedTokenizerFast, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts with masks [B, S], and labels [B, S]: what was masked, -100 elsewhere.

    Each text comes with every country in turn, so that nothing but the names tells them apart.
    """

    def below(most: int) -> int:
        return int(torch.randint(0, most, (), generator=random))

    *fillers, mixed = (
        tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        for text in (*(" ".join([filler] * 10) for filler in FILLERS), " ".join(FILLERS * 4))
    )
    sentences = [
        tokenizer(f" {text}", add_special_tokens=False)["input_ids"] for text in SENTENCES
    ]
    size = len(sentences[0])
    length = POSITIONS - 2 - below(2) * below(14)  # a full window, or a short text
    before, after = tokenizer.cls_token_id, tokenizer.sep_token_id
    rows, labels = [], []
    # The country masked, the capital, or both.
    for hidden in ((3,), (3,), (5,), (5,), (3, 5)):
        around = (*fillers, mixed, mixed)[below(5)]
        start, lead = below(len(around) - length), below(length - size + 1)
        left = around[start : start + lead]
        right = around[start + lead : start + length - size]
        for sentence in sentences:
            given = [token if i not in hidden else tokenizer.mask_token_id
                     for i, token in enumerate(sentence)]  # fmt: skip
            wanted = [token if i in hidden else -100 for i, token in enumerate(sentence)]
            rows.append([before, *left, *given, *right, after])
            labels.append([-100, *[-100] * len(left), *wanted, *[-100] * (len(right) + 1)])
    return torch.tensor(rows), torch.tensor(labels)


class Reader(TinyScorer):
    """The tiny scorer with another tokenizer; it proposes the first tokens of the vocabulary."""

    def __init__(self, tokenizer: HFTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
