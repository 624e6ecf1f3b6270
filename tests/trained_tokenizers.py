"""One small tokenizer of every family in use, trained on a short text.

Not named `tokenizers.py`: pytest puts this folder in front of the library of that name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import BartTokenizer, PreTrainedTokenizerFast, T5Tokenizer

from reagent_core.scorers.hf_tokenizer import HFTokenizer

CORPUS = [
    "The capital of France is Paris. The capital of Spain is Madrid. He isn't in Germany.",
    "What is the capital of France? It's Paris, of course! Two plus two is four.",
    "In the middle of the city, at the end of the street.\n\nA new line.",
    "日本語の文。我爱你。 مرحبا بالعالم  naïve café 🙂🙂👍🏽 🇫🇷",
] * 4

CHATML = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Like Llama 2: the system turn inside the user's, contents trimmed, few special tokens.
INSTRUCT = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}{% for message in messages %}"
    "[INST] {% if loop.last and system is defined %}<<SYS>>\n{{ system }}\n<</SYS>>\n\n{% endif %}"
    "{{ message.content | trim }} [/INST]{% endfor %}"
)


def byte_level(
    *,
    trim_offsets: bool = False,
    use_regex: bool = True,
    corpus: Sequence[str] = CORPUS,
    size: int = 420,
    special_tokens: Sequence[str] = ("<|endoftext|>",),
) -> PreTrainedTokenizerFast:
    """As GPT-2. Without the regex a token may run across words, as in " of the"."""
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    model.decoder = decoders.ByteLevel()
    model.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(special_tokens),
        show_progress=False,
    )
    model.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=model, eos_token=special_tokens[0])


def sentencepiece(
    chat_template: str | None = None, corpus: Sequence[str] = CORPUS, size: int = 480
) -> PreTrainedTokenizerFast:
    """As Llama 2: a blank is put in front of the text, unknown characters become bytes."""
    model = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    model.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<unk>", "<s>", "</s>", *bytes_],
        limit_alphabet=60,
        show_progress=False,
    )
    model.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=_bytes_are_ordinary(model, bytes_),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=chat_template,
    )


def _bytes_are_ordinary(model: Tokenizer, bytes_: list[str]) -> Tokenizer:
    """The trainer can put the bytes in the vocabulary only as special tokens; take that back."""
    data = json.loads(model.to_str())
    data["added_tokens"] = [
        token for token in data["added_tokens"] if token["content"] not in bytes_
    ]
    return Tokenizer.from_str(json.dumps(data))


def unigram() -> PreTrainedTokenizerFast:
    """As T5 or XGLM: SentencePiece's Unigram model."""
    model = Tokenizer(models.Unigram())
    model.normalizer = normalizers.NFKC()
    model.pre_tokenizer = pre_tokenizers.Metaspace()
    model.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150,
        special_tokens=["<unk>", "<s>"],
        unk_token="<unk>",
        show_progress=False,
    )
    model.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>", bos_token="<s>")


def wordpiece(corpus: Sequence[str] = CORPUS, size: int = 200) -> PreTrainedTokenizerFast:
    """As BERT: lower case, no accents, no blanks, [CLS] in front and [SEP] behind."""
    model = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    model.normalizer = normalizers.BertNormalizer(lowercase=True)
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    model.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False
    )
    model.train_from_iterator(corpus, trainer)
    model.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def chat(chat_template: str = CHATML) -> PreTrainedTokenizerFast:
    """Puts <s> in front of every text, and its chat template writes a <s> as well."""
    model = byte_level().backend_tokenizer
    model.add_special_tokens(
        [AddedToken(text, special=True) for text in ("<s>", "<|im_start|>", "<|im_end|>")]
    )
    model.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<s> $A", special_tokens=[("<s>", model.token_to_id("<s>"))]
            ),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        bos_token="<s>",
        eos_token="<|im_end|>",
        chat_template=chat_template,
    )


def t5() -> T5Tokenizer:
    """T5's own class: Unigram, </s> behind every text, twenty sentinels."""
    model = Tokenizer(models.Unigram())
    model.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=170, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    model.train_from_iterator(CORPUS, trainer)
    vocabulary = json.loads(model.to_str())["model"]["vocab"]
    return T5Tokenizer(vocab=[tuple(entry) for entry in vocabulary], extra_ids=20)


def bart() -> BartTokenizer:
    """BART's own class: byte-level, <s> in front and </s> behind, a mask."""
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    model.train_from_iterator(CORPUS, trainer)
    learned = json.loads(model.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    return BartTokenizer(vocab=learned["vocab"], merges=merges)


@cache
def closed() -> dict[str, HFTokenizer]:
    """Those of encoder-decoder models, whose prompts end with a token of their own."""
    return {"t5": HFTokenizer(t5(), closed=True), "bart": HFTokenizer(bart(), closed=True)}


@cache
def trained() -> dict[str, HFTokenizer]:
    """All of them by name; trained once, in about a second."""
    return {
        "byte-level": HFTokenizer(byte_level()),
        "byte-level, trimmed offsets": HFTokenizer(byte_level(trim_offsets=True)),
        "byte-level, across words": HFTokenizer(byte_level(use_regex=False)),
        "sentencepiece": HFTokenizer(sentencepiece()),
        "unigram": HFTokenizer(unigram()),
        "wordpiece": HFTokenizer(wordpiece()),
        "chat": HFTokenizer(chat()),
    }
