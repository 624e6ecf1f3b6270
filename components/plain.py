"""Sentences that hold token text: shown as they are, never parsed as Markdown or HTML."""

from __future__ import annotations

import re
from typing import Literal

import streamlit as st

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
    """`text` for places that read Markdown, such that it shows as it is."""
    return re.sub(r"([\\`*_{}\[\]()<>#|~$:!&])", r"\\\1", text)


def plain_text(
    sentence: str, *, key: str, size: Literal["headline", "body", "note"] = "body"
) -> None:
    """Show one paragraph of text, character for character."""
    _plain(key=key, data={"text": sentence, "size": size})
