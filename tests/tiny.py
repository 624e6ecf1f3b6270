"""A language model small enough to compute by hand.

It reads words separated by spaces, and one rule says how likely some words are next; what is left
is shared evenly by the other words of its vocabulary. So every expected number in a test can be
worked out on paper.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from reagent_core.errors import Cancelled
from reagent_core.explanation import Alternative
from reagent_core.prompt import Encoding
from reagent_core.request import ModelInfo, Turn
from reagent_core.scorers.base import (
    BoolArray,
    GeneratedToken,
    IntArray,
    Predictions,
    Prefix,
    TokenScores,
    never,
)
from reagent_core.scorers.local import LocalScorer

Rule = Callable[[Sequence[str]], Mapping[str, float]]

WORDS = [
    "<end>", "<bos>", "the", "capital", "of", "france", "is", "paris", "london", "a", "city", "in",
    "spain", "madrid", "big", "red", "green", "blue", "one", "two", "three", "four", "five",
]  # fmt: skip


def capital(words: Sequence[str]) -> dict[str, float]:
    """France makes it Paris, Spain makes it Madrid, anything else mostly London."""
    if "france" in words:
        return {"paris": 0.8, "<end>": 0.01}
    if "spain" in words:
        return {"madrid": 0.7, "paris": 0.1, "<end>": 0.01}
    return {"london": 0.5, "madrid": 0.2, "paris": 0.1, "<end>": 0.01}


class TinyTokenizer:
    """One token a word; the space before a word belongs to no token."""

    special_ids = frozenset({0, 1})
    ordinary_ids = tuple(range(2, len(WORDS)))

    def encode(self, text: str, *, add_special_tokens: bool) -> Encoding:
        found = list(re.finditer(r"\S+", text))
        ids = tuple(WORDS.index(match[0]) if match[0] in WORDS else 2 for match in found)
        return Encoding(ids, tuple(match.span() for match in found))

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(" " + WORDS[i] for i in token_ids)

    def render_chat(self, turns: Sequence[Turn]) -> str:
        return "".join(f"<bos> {turn.content} " for turn in turns)


class TinyScorer(LocalScorer):
    """Counts its calls and the sequences in them, so that tests can see the work done."""

    info = ModelInfo(id="tiny", revision_or_sha256="0")
    context_length = 4096

    def __init__(self, rule: Rule = capital) -> None:
        self.rule = rule
        self.tokenizer = TinyTokenizer()
        self.calls: list[int] = []

    def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
        return 64

    def prefix(self, token_ids: Sequence[int], frozen: int) -> Prefix | None:
        return None

    def distribution(self, ids: Sequence[int]) -> np.ndarray:
        """Probabilities [V] of the next word."""
        given = self.rule([WORDS[i] for i in ids])
        rest = (1 - sum(given.values())) / (len(WORDS) - len(given))
        return np.array([given.get(word, rest) for word in WORDS])

    def score(
        self, inputs: IntArray, targets: Sequence[int], prefix: Prefix | None = None
    ) -> TokenScores:
        self.calls.append(len(inputs))
        logs, ranks = [], []
        first = inputs.shape[1] - len(targets) + 1
        for ids in inputs.tolist():
            rows = [self.distribution(ids[: first + i]) for i in range(len(targets))]
            chosen = [row[target] for row, target in zip(rows, targets, strict=True)]
            with np.errstate(divide="ignore"):
                logs.append(np.log(chosen))
            ranks.append([(row > p).sum() + 1 for row, p in zip(rows, chosen, strict=True)])
        return TokenScores(np.array(logs), np.array(ranks, np.int64))

    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        """The first k allowed words, each as likely as the next, at every place."""
        ids = [i for i in range(len(allowed)) if allowed[i]][:k]
        shape = (len(token_ids), len(ids))
        return Predictions(np.tile(np.array(ids, np.int64), (shape[0], 1)), np.full(shape, 0.05))

    def generate(
        self,
        token_ids: Sequence[int],
        max_new_tokens: int,
        cancelled: Callable[[], bool] = never,
    ) -> tuple[GeneratedToken, ...]:
        ids, made = list(token_ids), []
        for _ in range(max_new_tokens):
            if cancelled():
                raise Cancelled("Stopped before the model had answered.")
            row = self.distribution(ids)
            best = int(row.argmax())
            if best == 0:
                break
            rival = int(np.argsort(-row, kind="stable")[1])
            made.append(
                GeneratedToken(
                    best,
                    float(row[best]),
                    (Alternative(text=WORDS[rival], probability=float(row[rival])),),
                )
            )
            ids.append(best)
        return tuple(made)


class Homely(TinyScorer):
    """Countries are the last it would propose, so that no replacement says "france" again."""

    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        countries = [WORDS.index(word) for word in ("france", "spain")]
        ids = [i for i in range(2, len(WORDS)) if i not in countries] + countries
        weights = np.where(np.isin(ids, countries), 1e-12, 0.05)
        return Predictions(
            np.tile(np.array(ids)[:k], (len(token_ids), 1)),
            np.tile(weights[:k], (len(token_ids), 1)),
        )
