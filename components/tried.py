"""The table "What was tried": replaced prompts with the replaced words marked."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from components.plain import MADE
from reagent_core.tried import Segment, TriedPrompt
from reagent_core.wording import change, percent, quoted, visible

_tried = st.components.v2.component(
    "reagent_tried",
    js=MADE + """
export default function ({ parentElement, data }) {
  let list = parentElement.querySelector("ol");
  if (!list) {
    list = made("ol", "tried");
    const toggle = (row) => row && row.classList.toggle("open");
    list.addEventListener("click", (event) => {
      if (!getSelection().toString()) toggle(event.target.closest("li"));
    });
    list.addEventListener("keydown", (event) => {
      if (event.key === "Enter") toggle(event.target.closest("li"));
    });
    parentElement.append(list);
  }
  const wanted = JSON.stringify(data.rows);
  if (list.dataset.rows === wanted) return;
  list.dataset.rows = wanted;
  list.setAttribute("aria-label", data.label);
  list.replaceChildren(...data.rows.map((row) => {
    const item = made("li", "");
    item.tabIndex = 0;
    const text = made("div", "text");
    text.dir = "auto";
    for (const [piece, was] of row.segments) {
      if (was === null) text.append(piece);
      else {
        const body = piece.trimStart();
        const mark = made("mark", "", body);
        mark.title = was;
        text.append(piece.slice(0, piece.length - body.length), mark);
      }
    }
    const figures = made("div", "figures");
    figures.append(made("div", "probability", row.probability), made("div", "drop", row.drop));
    item.append(figures, text);
    return item;
  }));
}
""",
    css="""
.tried { list-style: none; margin: 0; padding: 0; max-height: 24rem; overflow-y: auto;
  font-family: var(--st-font); font-size: 0.9375rem; color: var(--st-text-color);
  border: 1px solid color-mix(in srgb, var(--st-text-color) 20%, transparent);
  border-radius: 0.5rem; }
.tried li { display: grid; grid-template-columns: 10.5rem 1fr; gap: 0.8rem;
  padding: 0.4rem 0.7rem; cursor: pointer; }
.tried li + li { border-top: 1px solid
  color-mix(in srgb, var(--st-text-color) 12%, transparent); }
.tried li:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: -3px; }
.figures { font-variant-numeric: tabular-nums; text-align: end; }
.probability { font-weight: 600; }
.drop { font-size: 0.75rem; color: color-mix(in srgb, var(--st-text-color) 75%, transparent); }
.text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext;
  line-height: 1.5; display: -webkit-box; -webkit-box-orient: vertical;
  -webkit-line-clamp: 3; overflow: hidden; }
.open .text { display: block; }
mark { background: light-dark(#fde3c4, #5c3a12); color: inherit; border-radius: 3px;
  padding-block: 0.1em; text-decoration: underline dotted; text-underline-offset: 3px; }
@media (max-width: 480px) {
  .tried li { grid-template-columns: 1fr; gap: 0.1rem; }
  .figures { display: flex; gap: 0.6rem; align-items: baseline; }
}
""",
)


def tried_list(rows: Sequence[TriedPrompt], *, key: str, label: str, odds: bool = False) -> None:
    """One row a tried prompt: the target's probability and its drop, then the prompt.

    Hovering a marked word says what it replaced; a click (or Enter) on a long row shows all
    of it. `odds`: the target is compared with a foil.
    """
    _tried(
        key=key,
        data={
            "label": label,
            "rows": [
                {
                    "probability": percent(row.probability),
                    "drop": change(row.drop, odds=odds),
                    "segments": [_piece(segment) for segment in row.segments],
                }
                for row in rows
            ],
        },
    )


def _piece(segment: Segment) -> tuple[str, str | None]:
    """Text and, for a replaced word, what it stands for. Newlines take a sign, not a line."""
    text = segment.text.replace("\n", "↵ ")
    if segment.original is None:
        return text, None
    return text if text.strip() else visible(text), f"in place of {quoted(segment.original)}"
