"""Explanations side by side on a page, finished or still growing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from components import runs
from components.compare_downloads import draw_downloads
from components.compare_parts import chance_bar, difference_table
from components.examples import examples, is_example
from components.named import named, query_of
from components.navigation import address_of, link_to
from components.plain import plain_text, unformatted
from components.settings import PRESET_LABELS
from components.token_strip import Legend, token_strip
from reagent_core.baselines.methods import label_of
from reagent_core.comparison import (
    LETTERS,
    Comparison,
    by_several_methods,
    compare,
    missing_words,
    strips,
    what_differs,
)
from reagent_core.comparison_words import answer_change, answers_sentence, differences_sentence
from reagent_core.config import preset_of
from reagent_core.explanation import Explanation
from reagent_core.strip import AnswerWord, answer_strip, answer_words
from reagent_core.wording import quoted

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

_LEGEND = Legend(
    "speaks against",
    "speaks for",
    (("changed", "changed"), ("moved", "moved"), ("added", "added")),
)
_MOST_MISSING = 8


@dataclass(frozen=True)
class Column:
    """One reference of the address: its letter, its job, and what there is of its explanation."""

    letter: str
    reference: str
    job: runs.JobSnapshot[runs.Progress] | None
    explanation: Explanation | None

    @property
    def waiting(self) -> bool:
        """Whether its run is queued or running."""
        return self.job is not None and self.job.state in ("queued", "running")


def columns_of(references: Sequence[str]) -> list[Column]:
    """What the references of an address stand for now."""
    return [_column_of(*pair) for pair in zip(LETTERS, references, strict=False)]


def draw_progress(references: Sequence[str], waiting: Sequence[str]) -> None:
    """A line for each run that is queued or running, to be drawn once a second; the page is drawn
    anew when one of those that were `waiting` has ended."""
    columns = [column for column in columns_of(references) if column.waiting]
    if [column.reference for column in columns] != list(waiting):
        st.rerun()
    for column in columns:
        _progress(column)


def draw_comparison(references: Sequence[str], words: Sequence[int | None]) -> None:
    """What has been found. `words`: the word of each answer that is selected at first."""
    columns = columns_of(references)
    head = st.container()
    legend = st.container()
    shown: dict[str, Explanation] = {}
    chosen: list[int | None] = []
    prompts: dict[str, DeltaGenerator] = {}
    notes: dict[str, DeltaGenerator] = {}
    places = st.columns(max(2, len(columns)), gap="medium")
    kinds = _kinds(columns)
    for i, (column, place) in enumerate(zip(columns, places, strict=False)):
        with place:
            _header(column, kinds.get(column.letter, ""))
            explanation = column.explanation
            if explanation is None:
                chosen.append(None)
                continue
            prompts[column.letter] = st.container()
            first = words[i] if i < len(words) else None
            word = _answer(column, explanation, first)
            chosen.append(word)
            shown[column.letter] = _explained(explanation, word)
            chance_bar(shown[column.letter].target, key=f"compare chance {column.letter}")
            notes[column.letter] = st.container()
            _links(column)
    if not shown:
        return
    comparison = compare(list(shown.values()), "".join(shown))
    st.session_state["compare_answer"] = comparison.explanations[0].target.text.strip()
    with legend:
        token_strip([], key="compare legend", label="Colours and marks", legend=_LEGEND)
    rows = _fill(comparison, columns, prompts, notes)
    if len(shown) > 1:
        with head:
            _headline(comparison, references)
        _table(comparison, rows)
        wholes = [(each.reference, each.explanation) for each in columns if each.explanation]
        selected = ",".join("" if word is None else str(word) for word in chosen)
        query = {"runs": ",".join(references), "words": selected}
        draw_downloads(comparison, wholes, address_of("compare", query))


def _column_of(letter: str, reference: str) -> Column:
    job = None if is_example(reference) else runs.snapshot(reference)
    explanation = named(reference)
    # What a run shows on its way would be drawn again every second, in every column.
    if explanation is None and job is not None and job.state not in ("queued", "running"):
        explanation = runs.found_by(job)
    return Column(letter, reference, job, explanation)


def _progress(column: Column) -> None:
    """One line for a run that is not finished: where it stands, and a way to stop it."""
    job = column.job
    assert job is not None
    bar, button = st.columns([5, 1], vertical_alignment="center")
    done, progress = 0.0, job.progress
    if job.state == "queued":
        told = f"waiting, place {job.position} in the queue"
    elif progress is None:
        told = f"loading the model ({job.elapsed:.0f} s)"
    else:
        done = min(1.0, progress.done / max(1, progress.total))
        told = f"{progress.done} of up to {progress.total} steps · {job.elapsed:.0f} s"
    bar.progress(done, f"{column.letter}: {told}")
    if runs.was_cancelled(column.reference):
        shared = "Cancelled here; another session still waits for it."
        button.caption(shared if job.owners else "Stopping …")
    else:
        button.button(
            "Cancel", key=f"compare cancel {column.letter}", help=f"Stop {column.letter}",
            on_click=runs.cancel, args=(column.reference,), width="stretch",
        )  # fmt: skip


def _header(column: Column, kind: str) -> None:
    job, explanation = column.job, column.explanation
    st.subheader(column.letter, anchor=False)
    if kind:
        plain_text(kind, key=f"compare kind {column.letter}", size="note")
    if explanation is None and job is None:
        st.warning(
            "This explanation is not kept here any more. Type its prompt again to make it anew.",
            icon=":material/link_off:",
        )
    elif job is not None and job.state == "failed":
        st.error(unformatted(job.error or ""), icon=":material/error:")
    elif job is not None and job.state == "cancelled":
        what = "after some steps" if explanation else "before the model had answered"
        st.info(f"Stopped {what}.", icon=":material/stop_circle:")
    elif explanation is None:
        st.caption("Waiting for its run.")


def _kinds(columns: Sequence[Column]) -> dict[str, str]:
    """What each column is, as far as the columns differ in it: model, method, preset, seed."""
    known = {column.letter: each for column in columns if (each := column.explanation) is not None}
    told = [
        {letter: each.model.id for letter, each in known.items()},
        {letter: label_of(each.method) for letter, each in known.items()},
        {letter: _preset(each) for letter, each in known.items()},
        {letter: f"seed {each.config.seed}" for letter, each in known.items()},
    ]
    differing = [each for each in told if len(set(each.values())) > 1]
    return {letter: " · ".join(each[letter] for each in differing) for letter in known}


def _preset(explanation: Explanation) -> str:
    return PRESET_LABELS[preset_of(explanation.config) or "custom"]


def _answer(column: Column, explanation: Explanation, first: int | None) -> int | None:
    words = answer_words(explanation)
    if not words:
        return None
    start = _first_word(words) if first is None else first
    return token_strip(
        answer_strip(explanation),
        # A strip keeps its selection: where it has to begin anew, it is another one.
        key=f"compare answer {column.letter} {column.reference} {start}",
        label=f"Answer {column.letter}",
        selected=start,
    )


def _first_word(words: Sequence[AnswerWord]) -> int | None:
    """The first word that is explained and has a letter or a digit."""
    for i, word in enumerate(words):
        if word.explained is not None and any(map(str.isalnum, word.text)):
            return i
    return None


def _explained(explanation: Explanation, word: int | None) -> Explanation:
    chosen = answer_words(explanation)[word].explained if word is not None else None
    return chosen or explanation


def _links(column: Column) -> None:
    listed = {example.id for example in examples()}
    if is_example(column.reference) and column.reference not in listed:
        return
    link_to("explain", "Open alone", query_of(column.reference))


def _fill(
    comparison: Comparison,
    columns: Sequence[Column],
    prompts: dict[str, DeltaGenerator],
    notes: dict[str, DeltaGenerator],
) -> set[int]:
    """Strips and sentences, which need all columns to be known; the rows of the words selected."""
    references = {column.letter: column.reference for column in columns}
    rows: set[int] = set()
    for i, (letter, tokens) in enumerate(zip(comparison.letters, strips(comparison), strict=True)):
        with prompts[letter]:
            picked = token_strip(
                tokens,
                key=f"compare prompt {letter} {references[letter]}",
                label=f"Prompt {letter}, coloured by importance",
            )
            unit = tokens[picked].unit if picked is not None else None
            if unit is not None:
                rows |= {comparison.row_of(i, unit)}
        if not i:
            continue
        with notes[letter]:
            if len(comparison.explanations) > 2:  # of two, it is the headline
                change = answer_change(comparison, i)
                plain_text(change, key=f"compare change {letter}", size="note")
            missing = [quoted(text) for text in missing_words(comparison, i)]
            if missing:
                more = f" and {len(missing) - _MOST_MISSING} more"
                told = f"Not here, but in {comparison.letters[0]}: "
                told += ", ".join(missing[:_MOST_MISSING])
                told += more if len(missing) > _MOST_MISSING else ""
                plain_text(told, key=f"compare missing {letter}", size="note")
    return rows


def _headline(comparison: Comparison, references: Sequence[str]) -> None:
    two = len(comparison.explanations) == 2
    first = answer_change(comparison, 1) if two else answers_sentence(comparison)
    plain_text(first, key="compare headline", size="headline")
    plain_text(differences_sentence(comparison), key="compare differences")
    if by_several_methods(comparison.explanations):
        first_of = references[LETTERS.index(comparison.letters[0])]
        link_to("methods", "Compare methods on one prompt", {"of": first_of})


def _table(comparison: Comparison, chosen: set[int]) -> None:
    st.markdown("**Word by word** · click a word of a prompt to find it here")
    base = comparison.letters[0]
    texts = {each.target.text.strip().casefold() for each in comparison.explanations}
    each_own = " Each column is about its own target." if len(texts) > 1 else ""
    st.caption(
        "How many times less likely the target gets without the word, with the interval that "
        f"holds the true value about 95 times in 100, and how that compares with {base}. Grey: "
        f"within the noise, for the two intervals overlap.{each_own}"
    )
    if what_differs(comparison.explanations) == "models":
        st.caption(
            "Models cut words into different tokens. A word of several tokens has the effect of "
            "its strongest token, for effects do not add up."
        )
    difference_table(comparison, key="compare table", chosen=chosen)
