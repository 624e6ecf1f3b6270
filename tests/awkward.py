"""Texts on which naive offsets break, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

# What breaks naive offsets: several code points a letter, several tokens a code point, several
# blanks in a row, blanks that are no spaces, text that looks like special tokens.
AWKWARD = [
    " ", "  ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u202f", "\u3000",
    "\u2028", "\u200b", "\u200d", "👨‍👩‍👧", "👍🏽", "🇫🇷🇩🇪", "🇫", "é",
    "e\u0301", "\u0301", "ﬁ", "½", "İ", "ß", "日本語", "我爱你", "テスト",
    "مرحبا", "بِالعالم", "हिन्दी", "한국어", "don't", "3.14", "1\u202f000",
    "a_b", "Hello", ",", ".", "?!", "...", "\ufffd", "\ue0000\ue001",
    "▁", "Ġ", "##s", "\x07", "<s>", "[SEP]", "<|endoftext|>", "<0x41>",
]  # fmt: skip
characters = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
snippets = st.lists(st.sampled_from(AWKWARD) | characters, max_size=10).map("".join)
# "of" alone is an ordinary token everywhere, so there is always something to replace.
texts = st.tuples(snippets, snippets).map(" of ".join)
