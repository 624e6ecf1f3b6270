"""Going on with a run: what it gives, and what is not run again."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from reagent_core.config import PRESETS, Config
from reagent_core.errors import Cancelled
from reagent_core.explain import explain, explain_now
from reagent_core.explanation import Explanation, dump, load
from reagent_core.request import AnswerTokens, GivenText, ModelInfo, Request, Turn, WholeAnswer
from reagent_core.scorers.base import Scorer
from tests.tiny import WORDS, TinyScorer
from tests.tiny_masked import FILLERS, Reader, gpt2_tokenizer, masked_model, masked_tokenizer

FRANCE = "the capital of france is"
SHORT, LONG = 7, 15

TARGETS = {
    "one token": {"target": AnswerTokens()},
    "whole answer": {"target": WholeAnswer()},
    "answer as context": {"target": WholeAnswer(), "attribute_answer": True},
    "foil": {"target": GivenText(text="paris", instead_of="madrid")},
}


def checksum(words: Sequence[str]) -> int:
    return zlib.crc32(" ".join(words).encode())


def asked(steps: int, **options: object) -> Request:
    config = {"probes": 2, "min_steps": steps, "max_steps": steps, "seed": 4}
    config |= {k: options.pop(k) for k in list(options) if k in Config.model_fields}
    return Request(**{"prompt": FRANCE, "max_new_tokens": 3, "config": Config(**config), **options})


def assert_same(found: Explanation, expected: Explanation) -> None:
    """Bit for bit, but for the work and the time it took."""
    for now, then in zip(found.every(), expected.every(), strict=True):
        work = {"counts", "seconds", "explanations", "words"}
        assert now.model_dump(exclude=work) == then.model_dump(exclude=work)


SELECTIONS = ("bernoulli", "exact", "balanced")
UNTIL = ("stop_test", "settled")
REPLACERS = ("causal_lm", "uniform")
# Every target with every selection, every condition and every replacer.
CASES = [
    (selection, until, replacer, list(TARGETS)[(2 * j + k + i) % 4])
    for i, selection in enumerate(SELECTIONS)
    for j, until in enumerate(UNTIL)
    for k, replacer in enumerate(REPLACERS)
]


@pytest.mark.parametrize(("selection", "until", "replacer", "target"), CASES)
def test_more_steps_give_what_they_had_given_at_once(
    selection: str, until: str, replacer: str, target: str
) -> None:
    options = {"selection": selection, "until": until, "replacer": replacer, **TARGETS[target]}
    known = load(dump(explain_now(asked(SHORT, **options), TinyScorer())))
    at_once = explain_now(asked(LONG, **options), TinyScorer())
    scorer = TinyScorer()
    found = explain_now(asked(LONG, **options), scorer, known)
    assert_same(found, at_once)
    forwards = 2 if target == "foil" else 1
    assert found.counts.sequences - known.counts.sequences <= sum(scorer.calls)
    # The original and what only the new steps replaced; then stop tests and facts.
    before = {(s.replaced, s.replacements) for s in known.trace if s.step < SHORT}
    new = {(s.replaced, s.replacements) for s in found.trace} - before
    tests = sum(step.rank is not None for each in found.every() for step in each.trace)
    facts = 8 * 8
    given = 4 if target == "foil" else 0  # the texts are measured, with and without a blank
    assert sum(scorer.calls) <= forwards * (1 + len(new) + tests + facts) + given


def test_only_new_prompts_are_scored() -> None:
    """Each prompt a number of its own, so that none is scored twice by chance."""
    seen: list[tuple[str, ...]] = []

    def rule(words: Sequence[str]) -> dict[str, float]:
        seen.append(tuple(words))
        return {"paris": 0.1 + 0.8 * (checksum(words) % 97) / 97}

    prompt = "a big red green blue one two three"
    options = {"prompt": prompt, "target": GivenText(text="paris"), "max_new_tokens": 1}
    known = explain_now(asked(SHORT, **options), TinyScorer(rule))
    before = set(seen)
    seen.clear()
    found = explain_now(asked(LONG, **options), TinyScorer(rule), known)
    assert len(before) > SHORT and len(known.trace) == 2 * SHORT
    again = [words for words in seen if words in before and list(words) != prompt.split()]
    # Facts and stop tests are few; of the steps none is made again.
    assert len(again) <= 3 * 8 + 2
    assert len(found.trace) == 2 * LONG


def test_a_run_that_was_cancelled_is_gone_on_with() -> None:
    scorer = TinyScorer()
    *_, part = explain(asked(LONG), scorer, cancelled=lambda: len(scorer.calls) > 6)
    assert part.explanation.status == "cancelled" and 0 < part.done < part.total
    fresh = TinyScorer()
    first, *_, last = explain(asked(LONG), fresh, known=part.explanation)
    assert first.done >= part.done
    assert_same(last.explanation, explain_now(asked(LONG), TinyScorer()))


def test_the_first_progress_holds_all_known_steps() -> None:
    known = explain_now(asked(SHORT, target=WholeAnswer()), TinyScorer())
    progress = list(explain(asked(LONG, target=WholeAnswer()), TinyScorer(), known=known))
    assert progress[0].done >= len(known.trace)
    assert progress[0].explanation.seconds >= known.seconds
    assert progress[-1].explanation.counts.forwards > known.counts.forwards


def test_cancelled_before_the_known_steps_are_in_leaves_nothing() -> None:
    known = explain_now(asked(SHORT), TinyScorer())
    asks: Iterator[int] = itertools.count()
    with pytest.raises(Cancelled):
        # The first look is before the original prompt is read; the known steps need no look.
        list(explain(asked(LONG), TinyScorer(), lambda: next(asks) >= 0, known=known))


def test_a_probe_that_had_stopped_goes_on() -> None:
    def rule(words: Sequence[str]) -> dict[str, float]:  # among the first three now and then
        return {"paris": 0.03 + 0.04 * (sum(map(len, words)) % 3), "is": 0.1, "a": 0.1, "of": 0.1}

    options = {"target": GivenText(text="paris"), "selection": "exact", "probes": 3}
    early = asked(1, **options)
    config = early.config.model_copy(update={"max_steps": 30})
    known = explain_now(early.model_copy(update={"config": config}), TinyScorer(rule))
    lengths = {max(s.step for s in known.trace if s.probe == probe) for probe in range(3)}
    assert known.verdict.probes_stopped and len(lengths) > 1
    longer = asked(40, **options)
    assert_same(explain_now(longer, TinyScorer(rule), known), explain_now(longer, TinyScorer(rule)))


def test_stop_tests_that_failed_before_are_not_made_again() -> None:
    """The same least number of steps, and a higher limit."""

    def rule(words: Sequence[str]) -> dict[str, float]:  # never among the first
        return {"paris": 1e-4 + (checksum(words) % 97) * 1e-6}

    options = {"prompt": "a big red green blue one", "target": GivenText(text="paris")}
    short = asked(8, **options)
    known = explain_now(
        short.model_copy(update={"config": short.config.model_copy(update={"max_steps": 14})}),
        TinyScorer(rule),
    )
    ranks = {(s.probe, s.step): s.rank for s in known.trace}
    assert all(ranks[probe, step] for probe in range(2) for step in range(7, 14))
    longer = short.model_copy(update={"config": short.config.model_copy(update={"max_steps": 24})})
    assert_same(explain_now(longer, TinyScorer(rule), known), explain_now(longer, TinyScorer(rule)))


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 5},
        {"ratio": 0.5},
        {"prompt": "the capital of spain is"},
        {"protected": ((0, 3),)},
        {"max_new_tokens": 2},
    ],
    ids=str,
)
def test_another_request_is_made_from_the_start(changed: dict) -> None:
    known = explain_now(asked(SHORT), TinyScorer())
    found = explain_now(asked(LONG, **changed), TinyScorer(), known)
    whole = explain_now(asked(LONG, **changed), TinyScorer())
    unlike = {"seconds", "explanations", "words"}
    assert found.model_dump(exclude=unlike) == whole.model_dump(exclude=unlike)


def test_other_weights_are_asked_from_the_start() -> None:
    known = explain_now(asked(SHORT), TinyScorer())
    newer = TinyScorer()
    newer.info = ModelInfo(id="tiny", revision_or_sha256="1")
    assert explain_now(asked(LONG), newer, known).counts.sequences == sum(newer.calls)
    # The same name, and yet other numbers (half precision, say): nothing is mixed.
    coarser = TinyScorer(lambda words: {"paris": 0.79 if "france" in words else 0.1})
    found = explain_now(asked(LONG), coarser, known)
    whole = explain_now(asked(LONG), TinyScorer(coarser.rule))
    assert found.units == whole.units and found.trace == whole.trace
    assert found.answer_tokens == whole.answer_tokens


def test_what_nobody_asked_for_cannot_be_gone_on_with() -> None:
    known = explain_now(asked(SHORT), TinyScorer()).model_copy(update={"request": None})
    scorer = TinyScorer()
    assert explain_now(asked(LONG), scorer, known).counts.sequences == sum(scorer.calls)


def test_a_masked_model_is_gone_on_with_unless_it_is_another_one(tmp_path: Path) -> None:
    tokenizer = masked_tokenizer("bert")
    masked_model("bert", tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    options = {
        "prompt": f"{FILLERS[0]} the capital of spain is",
        "target": GivenText(text="madrid"),
        "replacer": "masked_lm",
        "replacer_model": str(tmp_path),
        "max_new_tokens": 1,
    }

    def reader() -> Reader:
        scorer = Reader(gpt2_tokenizer())
        scorer.rule, scorer.distribution = None, lambda ids: np.full(600, 1 / 600)
        return scorer

    known = explain_now(asked(3, **options), reader())
    at_once = explain_now(asked(6, **options), reader())
    assert_same(explain_now(asked(6, **options), reader(), known), at_once)
    another = ModelInfo(id=str(tmp_path), revision_or_sha256="another")
    anew = explain_now(
        asked(6, **options), reader(), known.model_copy(update={"replacer_model": another})
    )
    assert anew.counts == at_once.counts


def test_a_step_of_another_prompt_is_no_reading_of_this_one() -> None:
    known = explain_now(asked(SHORT, target=AnswerTokens()), TinyScorer())
    wrong = tuple(
        step.model_copy(update={"replacements": tuple("?" for _ in step.replaced), "value": -1.0})
        if step.replaced
        else step
        for step in known.trace
    )
    found = explain_now(
        asked(LONG, target=AnswerTokens()),
        TinyScorer(),
        known.model_copy(update={"trace": wrong}),
    )
    assert_same(found, explain_now(asked(LONG, target=AnswerTokens()), TinyScorer()))


def test_where_a_long_prompt_matters_is_not_looked_for_again() -> None:
    text = " . ".join(" ".join(WORDS[14:20]) for _ in range(50)) + " . france is"
    options = {"prompt": text, "target": AnswerTokens(), "selection": "balanced"}
    known = explain_now(asked(SHORT, **options), TinyScorer())
    assert any(unit.coarse for unit in known.units)
    at_once = explain_now(asked(LONG, **options), TinyScorer())
    scorer = TinyScorer()
    found = explain_now(asked(LONG, **options), scorer, known)
    assert_same(found, at_once)
    looks = at_once.counts.sequences - known.counts.sequences
    assert sum(scorer.calls) <= looks + 8 + 2 * 3


@pytest.mark.parametrize(("before", "after"), [(20, 1000), (1000, 20), (1000, 1300)])
def test_the_published_procedure_takes_over_no_steps_on_coarse_units(
    before: int, after: int
) -> None:
    """With fewer steps the same options look at a long prompt from coarse to fine."""

    def now_and_then(words: Sequence[str]) -> dict[str, float]:  # among the first three
        return {"paris": 0.9 if checksum(words) % 5 < 2 else 0.01}

    def limited(steps: int) -> Request:
        config = PRESETS["paper"].model_copy(update={"max_steps": steps})
        text = " ".join(WORDS[14:20] * 40)
        return Request(prompt=text, target=GivenText(text="paris"), config=config)

    known = explain_now(limited(before), TinyScorer(now_and_then))
    at_once = explain_now(limited(after), TinyScorer(now_and_then))
    assert any(unit.coarse for unit in at_once.units) == (after == 20)
    found = explain_now(limited(after), TinyScorer(now_and_then), known)
    assert_same(found, at_once)
    taken_over = found.counts.sequences > at_once.counts.sequences
    assert taken_over == (before == 1000 and after == 1300)


def test_a_chat_is_gone_on_with() -> None:
    turns = (Turn(role="system", content="big red"), Turn(role="user", content=FRANCE))
    known = explain_now(asked(SHORT, prompt=turns), TinyScorer())
    assert_same(
        explain_now(asked(LONG, prompt=turns), TinyScorer(), known),
        explain_now(asked(LONG, prompt=turns), TinyScorer()),
    )


@pytest.mark.model
def test_the_real_model_goes_on(bundled: Scorer) -> None:
    options = {"prompt": "The capital of France is", "max_new_tokens": 2}
    known = load(dump(explain_now(asked(3, **options), bundled)))
    found, whole = explain_now(asked(5, **options), bundled, known), asked(5, **options)
    for now, then in zip(found.every(), explain_now(whole, bundled).every(), strict=True):
        for step, again in zip(now.trace, then.trace, strict=True):
            assert (step.replaced, step.replacements) == (again.replaced, again.replacements)
            assert step.value == pytest.approx(again.value, abs=1e-3)  # other batches
