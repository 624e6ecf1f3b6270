"""Text in places that read Markdown. That nothing becomes of it there is seen in a browser
(tests/browser/test_library_in_browser.py)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plain import unformatted

# What makes something of text that is parsed already, backslashes gone: links by
# mdast-util-gfm-autolink-literal, pictures by remark-emoji and Streamlit, arrows by Streamlit.
TURNING = re.compile(
    r"https?://[-.\w]+|www\.[-.\w]+|[-.\w+]@[-\w]+\.|:[\w+-]+:|:material/"
    r"|(^|\s)(<->|->|<-|--|>=|<=|~=)(\s|$)",
    re.IGNORECASE,
)


def parsed(markdown: str) -> str:
    """What a parser of Markdown sees where every mark is escaped."""
    return re.sub(r"\\(.)", r"\1", markdown)


@pytest.mark.parametrize(
    "text",
    ["www.evil.example", "see WWW.evil.example/x", "https://evil.example", "HTTP://a.b",
     "me@evil.example", ":smile:", ":+1:", ":streamlit:", ":material/home:", "a -> b <-> c",
     "a -- b", "1 >= 0"],
)  # fmt: skip
def test_no_link_picture_or_arrow_is_made_of_it(text: str) -> None:
    assert TURNING.search(text)
    assert not TURNING.search(parsed(unformatted(text)))


@given(st.text(alphabet="w.:/@-<>=~ asmile*_[]\\`+1"))
def test_it_says_the_same(text: str) -> None:
    shown = parsed(unformatted(text))
    assert not TURNING.search(shown)
    assert shown.replace("\N{WORD JOINER}", "") == text


def test_ordinary_sentences_get_no_joiner() -> None:
    assert unformatted("Use --until 5: it is <2.") == "Use --until 5\\: it is \\<2."
