"""Where the key of a prompt stands: the word that it is known to hinge on."""

from __future__ import annotations


def key_places(text: str, key: str) -> list[tuple[int, int]]:
    """Where `key`, a text that the prompt is known to hinge on, stands in `text`: (start, end) of
    each place, offsets in characters.

    Space around the key does not count; capitals do. It is found as a whole: "Thai" is not in
    "Thailand", nor "2" in "12". In scripts without capitals, many of which put no space between
    words, any place counts.
    """
    key = key.strip()
    starts = [i for i in range(len(text)) if key and text.startswith(key, i)]
    places = [(start, start + len(key)) for start in starts]
    return [
        (start, end)
        for start, end in places
        if not _one_word(text[start - 1 : start], key[0])
        and not _one_word(key[-1], text[end : end + 1])
    ]


def _one_word(before: str, after: str) -> bool:
    """Whether two neighbours, each one character or none, stand in one word or number."""
    return all(each.isdecimal() or each.lower() != each.upper() for each in (before, after))
