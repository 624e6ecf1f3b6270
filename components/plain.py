"""Sentences that hold token text: shown as they are, never parsed as Markdown or HTML."""

from __future__ import annotations

import re
from typing import Literal

import streamlit as st

# For components that make elements: one with a class and, if there is any, text.
MADE = """
const made = (tag, className, text) => {
  const element = document.createElement(tag);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
"""

# Between these two characters: `www.`, `a@b`, `://` or `:name:`, and a lone `->` or `--`.
_TURNED = re.compile(
    r"(?<=www)(?=\.)|(?<=\S)(?=@)|(?<=:)(?=[\w/+-])|(?<=(?<!\S)[-<>~])(?=[-=>]+(?!\S))",
    re.IGNORECASE,
)

_plain = st.components.v2.component(
    "reagent_plain_text",
    js="""
export default function ({ parentElement, data }) {
  let text = parentElement.querySelector(".plain");
  if (!text) {
    text = document.createElement("p");
    text.dir = "auto";
    parentElement.append(text);
  }
  text.className = `plain ${data.size}`;
  if (text.textContent !== data.text) text.textContent = data.text;
}
""",
    css="""
.plain { margin: 0; font-family: var(--st-font); color: var(--st-text-color);
  overflow-wrap: anywhere; white-space: pre-line; }
.headline { font-size: 1.375rem; line-height: 1.4; font-weight: 600; text-wrap: pretty; }
.body { font-size: 1rem; line-height: 1.5; }
.note { font-size: 0.875rem; line-height: 1.45;
  color: color-mix(in srgb, var(--st-text-color) 75%, var(--st-background-color)); }
""",
)


def unformatted(text: str) -> str:
    """`text` for places that read Markdown, such that it shows as it is.

    Backslashes do not keep Streamlit from what it makes of text that is parsed already: links
    of addresses, pictures of `:names:`, arrows of `->`. There an invisible word joiner (U+2060)
    stands in between, which is in what is copied from the page, too.
    """
    return re.sub(r"([\\`*_{}\[\]()<>#|~$:!&])", r"\\\1", _TURNED.sub("\N{WORD JOINER}", text))


def plain_text(
    sentence: str, *, key: str, size: Literal["headline", "body", "note"] = "body"
) -> None:
    """Show one paragraph of text, character for character."""
    _plain(key=key, data={"text": sentence, "size": size})
