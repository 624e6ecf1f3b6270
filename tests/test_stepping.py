"""The steps of a run as a person watches them: scores before and after, and a sentence each."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from components.step_player import MOST_BARS, MOST_EXTRA, player_data
from reagent_core.config import Config
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation, Step
from reagent_core.masks import initial_scores
from reagent_core.request import AnswerTokens, GivenText, Request
from reagent_core.stepping import StepThrough, points, step_through
from tests.examples import BANGKOK, make_chat, make_explanation, make_units
from tests.tiny import TinyScorer

PROMPT = "the capital of france is"  # makes it "paris" with 0.8, without "france" 0.1


def run(**options: object) -> Explanation:
    request = Request(prompt=PROMPT, target=AnswerTokens(), config=Config(**options))
    return explain_now(request, TinyScorer())


def steps_of(explanation: Explanation) -> StepThrough:
    steps = step_through(explanation)
    assert steps is not None
    return steps


def with_trace(explanation: Explanation, *steps: Step) -> Explanation:
    return explanation.model_copy(update={"trace": steps})


def step(replaced: dict[int, str], before: float, after: float, **more: object) -> Step:
    """One step from a target's probability to another; the scores are those of `BANGKOK`."""
    change = before - after
    gain = math.log((1 + change) / (1 - change))
    defaults = {
        "probe": 0,
        "step": 0,
        "replaced": tuple(replaced),
        "replacements": tuple(replaced.values()),
        "probability": after,
        "value": math.log(after),
        "change": change,
        "scores": tuple(gain if i in replaced else -gain for i in range(len(BANGKOK))),
    }
    return Step(**(defaults | more))


def said(*steps: Step) -> str:
    return steps_of(with_trace(make_explanation(), *steps)).frames[-1].sentence


def test_a_step_moves_the_scores_as_the_paper_says() -> None:
    steps = steps_of(run(probes=1, min_steps=5, max_steps=5, selection="balanced", ratio=0.2))
    assert (steps.target, steps.original, steps.units) == ("“paris”", 0.8, (0, 1, 2, 3, 4))
    (row,) = [row for row, frame in enumerate(steps.frames) if frame.replaced == (3,)]
    assert steps.frames[row].change == pytest.approx(0.7)
    # S is +-logit((0.7 + 1) / 2) = +-ln(0.85 / 0.15), so france is (0.85 / 0.15)^2 times the rest.
    odds = (0.85 / 0.15) ** 2
    assert steps.scores[row] == pytest.approx([0.2] * 5)
    others = 1 / (odds + 4)
    after = [others, others, others, odds / (odds + 4), others]
    assert steps.scores[row + 1] == pytest.approx(after, abs=1e-6)
    assert steps.frames[row].sentence == (
        "“france” became “capital”: “paris” fell from 80% to 10%. "
        "So “france” gains and the other words lose."
    )


@pytest.mark.parametrize("init", ["zeros", "uniform"])
@pytest.mark.parametrize("weights", ["unit", "centered"])
@pytest.mark.parametrize("selection", ["bernoulli", "exact", "balanced"])
def test_the_bars_move_as_the_sentence_says(init: str, weights: str, selection: str) -> None:
    explanation = run(
        probes=3, min_steps=12, max_steps=12, until="settled",
        init=init, weights=weights, selection=selection,
    )  # fmt: skip
    steps = steps_of(explanation)
    assert steps.scores.shape == (len(steps.frames) + 1, 5)
    assert steps.scores.sum(1) == pytest.approx(np.ones(len(steps.scores)))
    start = [initial_scores(5, explanation.config, probe) for probe in range(3)]
    begun = np.exp(start) / np.exp(start).sum(1, keepdims=True)
    assert steps.scores[0] == pytest.approx(begun.mean(0), abs=1e-4)
    assert steps.scores[-1] == pytest.approx([u.score for u in explanation.units], abs=1e-4)
    fell = 0
    for frame, moved in zip(steps.frames, np.diff(steps.scores, axis=0), strict=True):
        if "gain and the others lose" in frame.sentence or " gains and the " in frame.sentence:
            fell += 1
            replaced = np.isin(range(5), frame.replaced)
            assert (moved[replaced] > 0).all() and (moved[~replaced] < 0).all()
        elif "hardly move" in frame.sentence:
            assert np.abs(moved).max() < 1e-3
    assert fell


@pytest.mark.parametrize(
    ("tried", "sentence"),
    [
        (step({5: " Japan"}, 0.42, 0.004),
         "“Thailand” became “Japan”: “Bangkok” fell from 42% to 0.4%. "
         "So “Thailand” gains and the other words lose."),
        (step({0: "\n", 5: " Japan"}, 0.42, 0.004),
         "“When” and “Thailand” were replaced: “Bangkok” fell from 42% to 0.4%. "
         "So the replaced words gain and the others lose."),
        (step({0: "x", 5: " Japan", 9: " at"}, 0.42, 0.9),
         "“When” and 2 other words were replaced: “Bangkok” rose from 42% to 90%. "
         "So the replaced words lose and the others gain."),
        (step({6: "."}, 0.42, 0.44),
         "“,” became “.”: “Bangkok” rose from 42% to 44%. "
         "So “,” loses a little and the other words gain a little."),
        (step({6: "."}, 0.42, 0.4201),
         "“,” became “.”: “Bangkok” stayed at 42%. So the scores hardly move."),
        (step({6: ","}, 0.42, 0.42),
         "“,” was replaced by itself: “Bangkok” stayed at 42%. So the scores hardly move."),
        (step({}, 0.42, 0.42), "No word before “Bangkok” was replaced, so the scores stay."),
        (step(dict.fromkeys(range(14), "x"), 0.42, 0.1),
         "“When” and 13 other words were replaced: “Bangkok” fell from 42% to 10%. "
         "Every word was replaced, so none gains on another."),
        (step({5: " Japan"}, 0.42, 0.02, bounded=True),
         "“Thailand” became “Japan”: “Bangkok” fell from 42% to at most 2%. "
         "So “Thailand” gains and the other words lose."),
        (step({5: " Japan"}, 0.42, 0.6, bounded=True),
         "“Thailand” became “Japan”: “Bangkok” is at most 60% now, the server did not say more. "
         "So “Thailand” loses and the other words gain."),
    ],
)  # fmt: skip
def test_a_sentence_for_every_case(tried: Step, sentence: str) -> None:
    assert said(tried) == sentence


def test_a_repetition_that_has_ended_moves_nothing() -> None:
    first = step({5: " Japan"}, 0.42, 0.004, stopped=True)
    steps = steps_of(
        with_trace(make_explanation(), first, step({6: "."}, 0.42, 0.1, scores=first.scores))
    )
    assert steps.frames[0].note == (
        "Repetition 1 passed its stop test here: the highest scoring words alone are enough for "
        "“Bangkok”."
    )
    assert steps.frames[1].sentence.endswith(
        "This repetition had ended before, so the scores stay."
    )
    assert (steps.scores[1] == steps.scores[2]).all()


def test_the_last_step_says_who_is_ahead_once_the_run_has_ended() -> None:
    tried = step({5: " Japan"}, 0.42, 0.004)
    ended = with_trace(make_explanation(), tried)
    (frame,) = steps_of(ended).frames
    assert frame.note is not None and frame.note.startswith(
        "After 1 step “Thailand” scores highest."
    )
    (growing,) = steps_of(ended.model_copy(update={"status": "running"})).frames
    assert growing.note is None
    (nothing,) = steps_of(with_trace(ended, step({6: "."}, 0.42, 0.42))).frames
    assert nothing.note == "After 1 step no word scores higher than another."


def test_a_final_score_that_leaves_probes_out_is_said() -> None:
    explanation = run(probes=2, min_steps=4, max_steps=4, selection="balanced", ratio=0.2)
    final = steps_of(explanation).frames[-1].note
    assert final is not None and "counts only" not in final
    other = [unit.model_copy(update={"score": 0.2}) for unit in explanation.units]
    final = steps_of(explanation.model_copy(update={"units": tuple(other)})).frames[-1].note
    assert final is not None and final.endswith(
        "The final score counts only the repetitions that passed their stop test."
    )


def test_against_a_foil_the_chance_is_of_this_rather_than_that() -> None:
    request = Request(
        prompt=PROMPT,
        target=GivenText(text="paris", instead_of="madrid"),
        config=Config(probes=1, min_steps=4, max_steps=4, selection="balanced", ratio=0.2),
    )
    steps = steps_of(explain_now(request, TinyScorer()))
    assert steps.target == "“paris” against “madrid”"
    # 0.8 against what the rule leaves "madrid" of the 19 %: 0.19 / 21 words
    assert steps.original == pytest.approx(0.8 / (0.8 + 0.19 / 21))
    for frame in steps.frames:
        assert frame.probability == pytest.approx(steps.original - frame.change, abs=1e-6)


def test_one_word_alone_keeps_its_score() -> None:
    units = make_units([("Thailand", (1.0, 0.5, 1.5))])
    only = make_explanation([("Thailand", (1.0, 0.5, 1.5))])
    tried = step({0: "Japan"}, 0.42, 0.004, scores=(2.0,))
    steps = steps_of(with_trace(only.model_copy(update={"units": units}), tried))
    assert steps.scores.tolist() == [[1.0], [1.0]]
    assert steps.frames[0].sentence.endswith("It is the only word, so its score stays 1.")
    assert steps.frames[0].note is None


def test_without_steps_there_is_nothing_to_show() -> None:
    assert step_through(make_explanation(steps=0)) is None


def test_sentences_are_called_sentences() -> None:
    explanation = make_explanation(config=Config(granularity="sentence"))
    assert (
        "the other sentences lose"
        in steps_of(with_trace(explanation, step({5: "Japan"}, 0.42, 0.004))).frames[0].sentence
    )


@pytest.mark.parametrize(
    ("change", "at_least", "words"),
    [
        (0.324, False, "down 32 points"),
        (-0.014, False, "up 1.4 points"),
        (0.01, False, "down 1 point"),
        (0.0004, False, "about the same"),
        (0.4, True, "down at least 40 points"),
        (-0.1, True, "at most 10 points up"),
    ],
)
def test_points_in_words(change: float, at_least: bool, words: str) -> None:
    assert points(change, at_least=at_least) == words


def long_run(steps: int, tokens: int) -> Explanation:
    """Many steps of many tokens, a third of them replaced in each, as in a whole answer."""
    specs = [(f" word{i}", (i / tokens, -1.0, 3.0)) for i in range(tokens)]
    explanation = make_explanation(specs, steps=steps)
    rng = np.random.default_rng(3)
    raw = np.cumsum(rng.normal(size=(steps, tokens)), axis=0)
    return with_trace(
        explanation,
        *(
            each.model_copy(update={"scores": tuple(row)})
            for each, row in zip(explanation.trace, raw.tolist(), strict=True)
        ),
    )


def test_the_browser_gets_every_step_and_the_highest_bars() -> None:
    explanation = long_run(300, 100)
    steps = steps_of(explanation)
    data = player_data(explanation, steps)
    assert len(json.dumps(data)) < 1_000_000
    assert len(data["frames"]) == 300 and len(data["scores"]) == len(data["ends"]) == 301
    assert len(data["bars"]) == MOST_BARS and data["bars"] == sorted(data["bars"])
    assert data["title"] == "ReAGent scores: the 10 highest at the end and up to 3 replaced"
    final = steps.scores[-1]
    assert min(final[data["bars"]]) >= max(np.delete(final, data["bars"]))
    for frame, row in zip(data["frames"], steps.scores[1:], strict=True):
        _, replaced, texts, *_, extra = frame
        became = ["Greece" if unit == 5 else "other" for unit in replaced]
        assert [data["texts"][text] for text in texts] == became
        assert len(extra) <= MOST_EXTRA
        for unit, _, after in extra:
            assert unit in replaced and unit not in data["bars"]
            assert after == pytest.approx(row[unit], abs=1e-4)


def test_no_bar_or_chance_leaves_its_scale() -> None:
    explanation = long_run(40, 20)
    data = player_data(explanation, steps_of(explanation))
    for place, (row, end) in enumerate(zip(data["scores"], data["ends"], strict=True)):
        extra = data["frames"][place - 1][-1] if place else []
        assert max(*row, *(score for _, *both in extra for score in both), 0) <= end <= 1
    assert data["ends"] == sorted(data["ends"])
    assert max(data["original"], *(frame[3] for frame in data["frames"])) <= data["top"] <= 1


def test_of_a_chat_the_template_stays_away() -> None:
    chat = make_chat()
    data = player_data(chat, steps_of(chat))
    text = "".join(piece for piece, _, _ in data["pieces"])
    assert text.strip() == "What is the capital of Thailand?"
    assert {unit for _, unit, _ in data["pieces"]} == set(steps_of(chat).units)
    assert data["title"] == "ReAGent scores"  # of all units


def test_what_is_followed_has_a_bar_whatever_its_score() -> None:
    explanation = make_explanation(steps=40)
    steps = step_through(explanation)
    assert steps is not None
    plain = player_data(explanation, steps)
    (without, *_) = [unit for unit in steps.units if unit not in plain["bars"]]
    data = player_data(explanation, steps, {without: "#e0479e", 99: "red"})
    assert data["bars"] == sorted([*plain["bars"], without])
    assert data["title"] == (
        "ReAGent scores: the 10 highest at the end, the picked and up to 3 replaced"
    )
    assert len(data["scores"][0]) == len(data["bars"])
    assert data["followed"][without] == "#e0479e" and plain["followed"] == {}
