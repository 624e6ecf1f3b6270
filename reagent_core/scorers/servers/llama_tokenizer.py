"""The tokenizer of a model behind llama.cpp's server, from the pieces that the server tells."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from itertools import accumulate

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from reagent_core.errors import InputError, Interrupted, ModelError
from reagent_core.prompt import Encoding, Span
from reagent_core.request import Turn
from reagent_core.scorers.servers.client import Ask, Session

_REMEMBERED = 256  # texts; a page asks for the same one again and again


class _Piece(TypedDict):
    id: int
    piece: str | list[int]  # bytes where they are not UTF-8


class _Pieces(TypedDict):
    tokens: list[_Piece]


class _Content(TypedDict):
    content: str


class _Rendered(TypedDict):
    prompt: str


class _Listed(TypedDict):
    id: int
    bytes: list[int]


class _Place(TypedDict):
    top_logprobs: list[_Listed]


class _Vocabulary(TypedDict, total=False):
    completion_probabilities: list[_Place]


_PIECES = TypeAdapter(_Pieces)
_CONTENT = TypeAdapter(_Content)
_RENDERED = TypeAdapter(_Rendered)
_VOCABULARY = TypeAdapter(_Vocabulary)


class LlamaCppTokenizer:
    """Implements `Tokenizer`. Safe to share between threads. `size`: tokens of the vocabulary."""

    def __init__(self, session: Session, size: int) -> None:
        self._session = session
        self._size = size
        self._lock = threading.Lock()
        self._encodings: OrderedDict[tuple[str, bool], Encoding] = OrderedDict()
        self._special_texts: dict[int, str] = {}

    def of(self, session: Session) -> LlamaCppTokenizer:
        """The same, asking as part of a run: with its count, its budget and its cancelling."""
        own = copy(self)  # what is known already is known to both
        own._session = session
        return own

    @cached_property
    def _pieces(self) -> tuple[bytes, ...]:
        """The bytes of every token, none for special ones: what is listed when all are asked for.

        One request of a few megabytes, once.
        """
        everything = {"prompt": [0], "n_predict": 1, "temperature": 0, "n_probs": self._size}
        reply = self._session.ask(Ask("/completion", everything), _VOCABULARY)
        pieces = [b""] * self._size
        places = reply.get("completion_probabilities") or []
        if not places:
            raise Interrupted("The server does not list its vocabulary. Look at its log.")
        for listed in places[0]["top_logprobs"]:
            pieces[listed["id"]] = bytes(listed["bytes"])
        return tuple(pieces)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Tokens without bytes of their own."""
        return frozenset(i for i, piece in enumerate(self._pieces) if not piece)

    @cached_property
    def ordinary_ids(self) -> tuple[int, ...]:
        """Every id with readable text."""
        texts = [piece.decode("utf-8", "replace").strip() for piece in self._pieces]
        return tuple(
            i
            for i, text in enumerate(texts)
            if text and text.isprintable() and "\ufffd" not in text
        )

    def encode(self, text: str, *, add_special_tokens: bool) -> Encoding:
        """Token ids with offsets in code points of `text`.

        Raises:
            ModelError: the tokenizer changes the text, so that tokens cannot be found in it.
        """
        key = (text, add_special_tokens)
        with self._lock:
            if key in self._encodings:
                self._encodings.move_to_end(key)
                return self._encodings[key]
        body = {
            "content": text,
            "add_special": add_special_tokens,
            "parse_special": True,
            "with_pieces": True,
        }
        tokens = self._session.ask(Ask("/tokenize", body), _PIECES)["tokens"]
        encoding = Encoding(
            tuple(token["id"] for token in tokens),
            offsets(text, [_as_bytes(token["piece"]) for token in tokens]),
        )
        with self._lock:
            self._encodings[key] = encoding
            while len(self._encodings) > _REMEMBERED:
                self._encodings.popitem(last=False)
        return encoding

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the tokens, special ones as they are written."""
        pieces = (self._pieces[i] or self._special(i).encode() for i in token_ids)
        return b"".join(pieces).decode("utf-8", "replace")

    def _special(self, token_id: int) -> str:
        if token_id not in self._special_texts:
            reply = self._session.ask(Ask("/detokenize", {"tokens": [token_id]}), _CONTENT)
            self._special_texts[token_id] = reply["content"]
        return self._special_texts[token_id]

    def render_chat(self, turns: Sequence[Turn]) -> str:
        """The model's chat template, as the server applies it.

        Raises:
            InputError: it refuses these turns, or there is none.
        """
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            return self._session.ask(Ask("/apply-template", {"messages": messages}), _RENDERED)[
                "prompt"
            ]
        except ModelError as error:
            raise InputError(f"{error} Use the prompt as plain text.", "prompt") from None


def _as_bytes(piece: str | list[int]) -> bytes:
    return piece.encode() if isinstance(piece, str) else bytes(piece)


def offsets(text: str, pieces: Sequence[bytes]) -> tuple[Span, ...]:
    """Characters of `text` that each piece holds or has a part of; none for added tokens.

    The pieces in a row are the text's bytes, but for special tokens in front that the text does
    not hold, and a blank that some tokenizers put before a text.

    Raises:
        ModelError: they are not.
    """
    data = text.encode()
    added = 0
    for skipped in range(min(3, len(pieces)) + 1):  # a beginning-of-text token or two
        rest = b"".join(pieces[skipped:])
        if rest in (data, b" " + data):
            added = skipped
            break
    else:
        raise ModelError(
            "This model's tokenizer changes the text before it reads it, so its tokens cannot be "
            "found in the prompt. Name the model's own tokenizer as tokenizer in models.toml."
        )
    blank = len(b"".join(pieces[added:])) - len(data)
    # Where each character begins, in bytes, and the end.
    starts = [0, *accumulate(len(character.encode()) for character in text)]
    spans: list[Span] = [(0, 0)] * added
    position = -blank
    for piece in pieces[added:]:
        low, high = max(position, 0), max(position + len(piece), 0)
        first = bisect_right(starts, low) - 1
        spans.append((first, bisect_left(starts, high)) if high > low else (first, first))
        position += len(piece)
    return tuple(spans)
