"""What Compare draws of its own: a bar for a probability, and the table of differences."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import streamlit as st

from components.plain import MADE
from reagent_core.colours import level, palette_css
from reagent_core.comparison import ComparedWord, Comparison
from reagent_core.comparison_words import (
    KINDS,
    WITHIN_NOISE,
    difference_cell,
    effect_cell,
    row_name,
)
from reagent_core.explanation import TargetInfo
from reagent_core.strip import full_colour
from reagent_core.wording import percent, quoted

_chance = st.components.v2.component(
    "reagent_chance",
    js="""
export default function ({ parentElement, data }) {
  let root = parentElement.querySelector(".chance");
  if (!root) {
    root = document.createElement("div");
    root.className = "chance";
    for (const part of ["name", "figure", "bar"]) {
      const element = document.createElement("div");
      element.className = part;
      root.append(element);
    }
    root.lastChild.append(document.createElement("div"));
    root.lastChild.setAttribute("role", "meter");
    root.lastChild.setAttribute("aria-valuemin", "0");
    root.lastChild.setAttribute("aria-valuemax", "100");
    parentElement.append(root);
  }
  const [name, figure, bar] = root.children;
  name.textContent = data.name;
  figure.textContent = data.figure;
  bar.setAttribute("aria-label", data.name);
  bar.setAttribute("aria-valuenow", String(data.percent));
  bar.setAttribute("aria-valuetext", data.figure);
  bar.firstChild.style.width = `${data.percent}%`;
}
""",
    css="""
.chance { display: grid; grid-template-columns: 1fr auto; gap: 0.15rem 0.6rem;
  align-items: baseline; font-family: var(--st-font); color: var(--st-text-color); }
.name { overflow-wrap: anywhere; font-size: 0.875rem; }
.figure { font-size: 1.375rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.bar { grid-column: 1 / -1; height: 0.5rem; border-radius: 0.25rem; overflow: hidden;
  background: color-mix(in srgb, var(--st-text-color) 15%, transparent); }
.bar div { height: 100%; background: light-dark(#4a90e2, #2668be); }
""",
)

_table = st.components.v2.component(
    "reagent_differences",
    js=MADE + """
export default function ({ parentElement, data }) {
  let box = parentElement.querySelector(".differences");
  if (!box) {
    box = made("div", "strip differences");
    box.tabIndex = 0; // it scrolls: the keyboard must reach it
    box.setAttribute("role", "region");
    parentElement.append(box);
  }
  const wanted = JSON.stringify(data);
  if (box.dataset.rows === wanted) return;
  box.dataset.rows = wanted;
  box.setAttribute("aria-label", data.label);
  const table = made("table", "");
  const head = made("tr", "");
  for (const name of data.head) {
    const cell = made("th", "", name);
    cell.scope = "col";
    head.append(cell);
  }
  table.append(made("thead", ""), made("tbody", ""));
  table.tHead.append(head);
  for (const row of data.rows) {
    const line = made("tr", (row.noise ? "noise " : "") + (row.chosen ? "chosen" : ""));
    const name = made("th", "word", row.name);
    name.scope = "row";
    name.dir = "auto";
    line.append(name);
    for (const cell of row.cells) {
      const column = made("td", cell.noise ? "noise" : "");
      const effect = made("span", `ink ${cell.colour}`, cell.effect);
      column.append(effect);
      for (const text of cell.lines) column.append(made("div", "more", text));
      if (cell.difference) column.append(made("div", "difference", cell.difference));
      line.append(column);
    }
    table.tBodies[0].append(line);
  }
  const place = box.scrollTop;
  box.replaceChildren(table);
  const chosen = table.querySelector(".chosen");
  // Only the box scrolls, not the page.
  box.scrollTop = chosen ? chosen.offsetTop - table.tHead.offsetHeight : place;
}
""",
    css=palette_css()
    + """
.differences { font-family: var(--st-font); color: var(--st-text-color); font-size: 0.9375rem;
  max-height: 36rem; overflow: auto; border-radius: 0.5rem;
  border: 1px solid color-mix(in srgb, var(--st-text-color) 20%, transparent); }
.differences:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 1px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: start; vertical-align: top; padding: 0.45rem 0.7rem; min-width: 9rem; }
tr + tr, tbody tr { border-top: 1px solid
  color-mix(in srgb, var(--st-text-color) 12%, transparent); }
thead th { position: sticky; top: 0; z-index: 2; background: var(--st-background-color);
  font-weight: 600; overflow-wrap: anywhere; }
.word { position: sticky; inset-inline-start: 0; z-index: 1; min-width: 6rem; max-width: 12rem;
  background: var(--st-background-color); font-weight: 600; overflow-wrap: anywhere;
  unicode-bidi: plaintext; }
.chosen > * { box-shadow: inset 0 2px var(--st-primary-color),
  inset 0 -2px var(--st-primary-color); }
thead th:first-child { inset-inline-start: 0; z-index: 3; min-width: 6rem; }
.ink { padding: 0.1em 0.35em; margin-inline-start: -0.35em; border-radius: 4px;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.more { font-size: 0.8125rem; color: color-mix(in srgb, var(--st-text-color) 75%,
  var(--st-background-color)); }
.difference { font-size: 0.8125rem; font-weight: 600; }
.noise, .noise .word { color: color-mix(in srgb, var(--st-text-color) 68%,
  var(--st-background-color)); font-weight: 400; }
.noise .difference { font-weight: 400; font-style: italic; }
.noise .ink { background: none; color: inherit; }
@media (max-width: 480px) { th, td { padding: 0.4rem 0.5rem; min-width: 8rem; }
  .word, thead th:first-child { min-width: 4.5rem; max-width: 6rem; } }
""",
)


def chance_bar(target: TargetInfo, *, key: str) -> None:
    """The probability of what is explained, as a figure and a bar from 0 to 100%."""
    _chance(
        key=key,
        data={
            "name": f"Chance of {quoted(target.text)}",
            "figure": percent(target.probability),
            "percent": round(100 * target.probability, 2),
        },
    )


def difference_table(comparison: Comparison, *, key: str, chosen: Collection[int] = ()) -> None:
    """One row a word, one column a prompt: factor, interval, and what it is to the first one's.

    What lies within the noise is grey, and says so. `chosen`: indices of `comparison.rows` that
    stand out; the first of them is scrolled to.
    """
    standing_out = {id(comparison.rows[i]) for i in chosen}
    full = full_colour(comparison.explanations)
    _table(
        key=key,
        data={
            "label": "Words and their effects, the clearest difference first",
            "head": ["Without the word …", *comparison.letters[: len(comparison.explanations)]],
            "rows": [
                {
                    "name": row_name(row),
                    "noise": not row.clear and any(row.differences),
                    "chosen": id(row) in standing_out,
                    "cells": [_cell(comparison, row, i, full) for i in range(len(row.words))],
                }
                for row in comparison.sorted_rows
            ],
        },
    )


def _cell(comparison: Comparison, row: ComparedWord, column: int, full: float) -> dict[str, Any]:
    word, difference = row.words[column], row.differences[column]
    if word is None:
        return {"effect": "–", "colour": "", "lines": ["not in this prompt"], "noise": True}
    odds = comparison.explanations[column].target.instead_of is not None
    effect, sure = effect_cell(word, odds=odds)
    step = level((word.effect or 0.0) / full)
    kind = KINDS[word.kind]
    if word.kind == "changed":
        kind = f"changed to {quoted(word.text)}"
    lines = [sure, f"strongest of its {word.units} tokens" if word.units > 1 else "", kind]
    told = "" if difference is None else difference_cell(difference, comparison.letters[0])
    return {
        "effect": effect,
        "colour": f"{'p' if step > 0 else 'n'}{abs(step)}" if step else "",
        "lines": [line for line in lines if line],
        "difference": told,
        "noise": told == WITHIN_NOISE,
    }
