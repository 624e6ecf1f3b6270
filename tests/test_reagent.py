"""The method: exact numbers on a model one can compute by hand, and the plain loop as judge."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from reagent_core.config import PRESETS, Config, PresetName
from reagent_core.errors import Cancelled
from reagent_core.masks import unit_mask
from reagent_core.meter import Meter
from reagent_core.prompt import build_prompt
from reagent_core.reagent import (
    StepEvent,
    chunk_size,
    rationale_complement,
    run,
    times_larger,
    update,
)
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.replacers.uniform import UniformReplacer
from reagent_core.scorers.base import FORWARD_TOKENS, Scorer
from reagent_core.sequential import look_steps
from reagent_core.target import Targets
from tests.reference import reference
from tests.tiny import WORDS, Rule, TinyScorer, capital

PARIS = WORDS.index("paris")
FRANCE = "the capital of france is"


def events_of(
    config: Config,
    text: str = FRANCE,
    target: tuple[int, ...] = (PARIS,),
    scorer: Scorer | None = None,
    batch_size: int | None = None,
    chunk: int | None = None,
) -> list[StepEvent]:
    scorer = scorer or TinyScorer()
    prompt = build_prompt(text, scorer.tokenizer)
    substitute = UniformReplacer(scorer.tokenizer).prepare(prompt)
    meter = Meter(scorer, Targets(target, ((0, len(target)),)), batch_size=batch_size)
    return [event for events in run(prompt, substitute, meter, config, chunk) for event in events]


def test_a_drop_raises_what_was_replaced_and_lowers_what_was_kept() -> None:
    # p falls from 0.8 to 0.2: d = 0.6, (d + 1) / 2 = 0.8, logit(0.8) = log 4.
    raised = update(np.array([0.6]), np.array([True, False]), Config())
    assert raised == pytest.approx(np.array([[math.log(4), -math.log(4)]]))


def test_centered_weights_count_a_replaced_unit_for_what_is_rare() -> None:
    raised = update(np.array([0.6]), np.array([True, False]), Config(weights="centered"))
    assert raised == pytest.approx(np.array([[0.7 * math.log(4), -0.3 * math.log(4)]]))


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=3),
    st.lists(st.booleans(), min_size=1, max_size=5),
    st.sampled_from(["unit", "centered"]),
)
def test_an_update_is_finite_and_has_the_sign_of_the_evidence(
    change: list[float], replaced: list[bool], weights: str
) -> None:
    raised = update(np.array(change), np.array(replaced), Config(weights=weights))
    assert np.isfinite(raised).all()
    assert np.abs(raised).max() <= 13.82  # logit(1 - 1e-6)
    signs = np.where(replaced, 1, -1) * np.sign(change)[:, None]
    assert (raised * signs >= 0).all()


def test_the_stop_test_keeps_the_top_three_tenths() -> None:
    scores = np.array([0.1, 3.0, 0.2, 2.0, 0.3, 0.4, 1.0, 0.5, 0.6, 0.7])
    assert np.flatnonzero(~rationale_complement(scores)).tolist() == [1, 3, 6]


def test_the_stop_test_always_keeps_one_unit_and_replaces_one() -> None:
    assert rationale_complement(np.array([1.0, 0.0])).tolist() == [False, True]
    assert rationale_complement(np.array([0.0, 0.0, 0.0])).tolist() == [False, True, True]


def test_one_step_by_hand() -> None:
    config = Config(selection="exact", probes=1, min_steps=1, max_steps=1)
    (event,) = events_of(config)
    mask = unit_mask(5, config, 0, 0)
    gone = mask[3]  # france
    p_r = event.probabilities[0]
    assert event.replaced.tolist() == mask.tolist()
    if not gone:
        assert p_r == pytest.approx(0.8)
    step = math.log((1.8 - p_r) / (0.2 + p_r))  # logit((d + 1) / 2) with d = 0.8 - p_r
    assert event.change[0] == pytest.approx(0.8 - p_r)
    assert event.scores[0] == pytest.approx(np.where(mask, step, -step))


def test_france_ends_on_top_and_the_probe_stops_when_it_alone_is_enough() -> None:
    events = events_of(Config(probes=3, min_steps=30, max_steps=60))
    for probe in range(3):
        own = [event for event in events if event.probe == probe]
        assert own[-1].stopped[0] and own[-1].ranks[0] <= 3
        assert not any(event.stopped[0] for event in own[:-1])
        assert len(own) >= 30
        assert softmax(own[-1].scores[0]).argmax() == 3


CONFIGS = [
    Config(probes=2, min_steps=3, max_steps=23),
    Config(probes=3, min_steps=5, max_steps=20, selection="exact", seed=7),
    Config(probes=3, min_steps=2, max_steps=25, selection="balanced", weights="centered"),
    Config(probes=2, min_steps=1, max_steps=25, init="uniform", top_k=1, seed=3),
]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("chunk", [None, 1, 7])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.selection}-{c.init}-{c.weights}")
@pytest.mark.parametrize("text", [FRANCE, "france", "of france", "a big city in spain is"])
def test_the_fast_core_equals_the_plain_loop(
    text: str, config: Config, chunk: int | None, batch_size: int
) -> None:
    scorer = TinyScorer()
    prompt = build_prompt(text, scorer.tokenizer)
    substitute = CausalLMReplacer(scorer).prepare(prompt)
    expected = reference(scorer, prompt, substitute, [PARIS], config)
    meter = Meter(scorer, Targets((PARIS,), ((0, 1),)), batch_size=batch_size)
    found = [e for events in run(prompt, substitute, meter, config, chunk) for e in events]
    found.sort(key=lambda event: event.probe)  # the plain loop goes probe by probe
    assert len(found) == len(expected)
    for event, step in zip(found, expected, strict=True):
        assert (event.probe, event.step) == (step.probe, step.step)
        assert np.flatnonzero(event.replaced).tolist() == step.replaced
        assert event.probabilities[0] == step.probability
        assert event.change[0] == step.change
        assert event.scores[0] == pytest.approx(step.scores, abs=1e-12)
        assert (event.ranks[0] or None) == step.rank
        assert event.stopped[0] == step.stopped


def rarely(words: Sequence[str]) -> dict[str, float]:
    """Among the first three after one prompt in eight."""
    return {"paris": 0.01 if zlib.crc32(" ".join(words).encode()) % 8 else 0.9}


class Small(TinyScorer):
    """Takes as much at once as a processor."""

    def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
        return FORWARD_TOKENS // length


class Large(TinyScorer):
    """Takes as much at once as a GPU."""

    def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
        return 32_768 // length


SETTLING = Config(
    selection="balanced", until="settled", ratio=0.04, probes=2, min_steps=20, max_steps=60
)


@pytest.mark.parametrize("config", [SETTLING, CONFIGS[1], PRESETS["paper"]])
def test_a_device_that_takes_much_at_once_gets_it_and_finds_the_same(config: Config) -> None:
    text, large, small = "a big red green blue city in spain is", Large(rarely), Small(rarely)
    same = ("scores", "values", "ranks", "stopped", "token_ids")
    for one, other in zip(
        events_of(config, text, scorer=large), events_of(config, text, scorer=small), strict=True
    ):
        assert (one.probe, one.step) == (other.probe, other.step)
        assert all((getattr(one, name) == getattr(other, name)).all() for name in same)
    assert len(large.calls) < len(small.calls)


def test_chunks_grow_with_the_device_but_never_past_a_look() -> None:
    scorer = Large(lambda words: {"paris": 0.5})  # never settles
    prompt = build_prompt("a big red green blue city in spain is", scorer.tokenizer)
    substitute = UniformReplacer(scorer.tokenizer).prepare(prompt)
    meter = Meter(scorer, Targets((PARIS,), ((0, 1),)))
    ends = [part[-1].step + 1 for part in run(prompt, substitute, meter, SETTLING)]
    assert ends == look_steps(SETTLING)
    assert max(chunk_size(start, SETTLING) for start in range(100)) == 16
    assert times_larger(scorer, 1024 // 9, 9) == 1  # a processor's forward


@pytest.mark.parametrize("chunk", [None, 1, 7])
@pytest.mark.parametrize("name", ["quick", "standard"])
@pytest.mark.parametrize("text", [FRANCE, "a big city in spain is"])
def test_a_run_until_settled_equals_the_plain_loop_as_far_as_it_goes(
    text: str, name: PresetName, chunk: int | None
) -> None:
    config, scorer = PRESETS[name], TinyScorer()
    prompt = build_prompt(text, scorer.tokenizer)
    substitute = CausalLMReplacer(scorer).prepare(prompt)
    meter = Meter(scorer, Targets((PARIS,), ((0, 1),)))
    found = [e for events in run(prompt, substitute, meter, config, chunk) for e in events]
    last = 1 + max(event.step for event in found)
    assert last in look_steps(config)
    plainly = {"until": "stop_test", "min_steps": last, "max_steps": last}
    expected = reference(scorer, prompt, substitute, [PARIS], config.model_copy(update=plainly))
    found.sort(key=lambda event: event.probe)
    assert len(found) == len(expected) == config.probes * last
    for event, step in zip(found, expected, strict=True):
        assert (event.probe, event.step) == (step.probe, step.step)
        assert np.flatnonzero(event.replaced).tolist() == step.replaced
        assert event.probabilities[0] == step.probability
        assert event.scores[0] == pytest.approx(step.scores, abs=1e-12)
        assert (event.ranks[0] or None) == step.rank


def test_stop_tests_of_several_targets_take_turns_and_end_each_by_itself() -> None:
    """Which word is the likeliest depends on the prompt alone, by chance."""
    answer = ("paris", "is", "big")

    def rule(words: Sequence[str]) -> dict[str, float]:
        return {(*answer, "london")[zlib.crc32(" ".join(words).encode()) % 4]: 0.6}

    scorer = TinyScorer(rule)
    prompt = build_prompt("a big red green blue city in spain is", scorer.tokenizer)
    substitute = UniformReplacer(scorer.tokenizer).prepare(prompt)
    ids = tuple(map(WORDS.index, answer))
    meter = Meter(scorer, Targets(ids, ((0, 3), (0, 1), (1, 2), (2, 3))))
    config = Config(probes=3, min_steps=4, max_steps=40, top_k=1)
    events = [e for part in run(prompt, substitute, meter, config) for e in part]
    went_on = 0
    for probe in range(3):
        own = [event for event in events if event.probe == probe]
        assert sum(int((event.ranks > 0).sum()) for event in own) <= len(own)
        assert all((event.step + 1) % 4 == 0 for event in own if event.ranks.any())
        for target in range(4):
            stops = [i for i, event in enumerate(own) if event.stopped[target]]
            assert len(stops) <= 1
            if not stops:
                assert len(own) == config.max_steps
                continue
            frozen, later = own[stops[0]].scores, own[stops[0] + 1 :]
            assert all((event.scores[target] == frozen[target]).all() for event in later)
            assert not any(event.ranks[target] for event in later)
            went_on += bool(later) and bool((later[-1].scores != frozen).any())
    assert went_on, "no target outlived another"


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**62), st.integers(1, 9), st.sampled_from(["bernoulli", "exact", "balanced"])
)
def test_more_steps_continue_the_same_run(seed: int, n: int, selection: str) -> None:
    text = " ".join(WORDS[2 : 2 + n])
    short = Config(seed=seed, selection=selection, probes=2, min_steps=4, max_steps=4)
    long = short.model_copy(update={"min_steps": 9, "max_steps": 9})
    first, whole = events_of(short, text), events_of(long, text)
    for event, again in zip(first, whole[: len(first)], strict=True):
        assert (event.scores == again.scores).all()
        assert (event.token_ids == again.token_ids).all()


def test_certain_drops_stay_finite() -> None:
    """The target goes from certain to impossible and back: d = 1 and d = -1."""
    scorer = TinyScorer(lambda words: {"paris": 1 - 1e-15 if "france" in words else 1e-15})
    for text in ("france", "france is", FRANCE):
        for event in events_of(Config(probes=1, min_steps=8, max_steps=8), text, scorer=scorer):
            assert np.isfinite(event.scores).all()


def test_one_free_unit_has_no_stop_test_and_ends_at_min_steps() -> None:
    events = events_of(Config(probes=2, min_steps=5, max_steps=50), "france")
    assert len(events) == 10
    assert not any(event.ranks[0] or event.stopped[0] for event in events)


def test_equal_prompts_are_scored_once() -> None:
    scorer = TinyScorer()
    prompt = build_prompt("of france", scorer.tokenizer)
    substitute = UniformReplacer(scorer.tokenizer).prepare(prompt)
    meter = Meter(scorer, Targets((PARIS,), ((0, 1),)))
    config = Config(probes=3, min_steps=1, max_steps=200, top_k=1)
    seen = {
        event.token_ids.tobytes() for events in run(prompt, substitute, meter, config)
        for event in events
    }  # fmt: skip
    assert meter.counts().sequences == sum(scorer.calls) <= len(seen) + 1 + 3 * 2
    assert meter.counts().tokens == 2 * meter.counts().sequences


@pytest.mark.parametrize("rule", [capital, rarely])
@pytest.mark.parametrize(
    "config", [Config(min_steps=10, max_steps=100), PRESETS["paper"]], ids=["own", "paper"]
)
def test_little_is_computed_for_nothing_when_probes_stop(config: Config, rule: Rule) -> None:
    scorer = TinyScorer(rule)
    prompt = build_prompt("a big red green blue city in france is", scorer.tokenizer)
    substitute = UniformReplacer(scorer.tokenizer).prepare(prompt)
    discarded = 0
    for seed in range(5):
        meter = Meter(scorer, Targets((PARIS,), ((0, 1),)))
        seeded = config.model_copy(update={"seed": seed})
        events = [e for part in run(prompt, substitute, meter, seeded) for e in part]
        kept = len(events) + sum(int(event.ranks[0] > 0) for event in events)  # stop tests, too
        assert meter.discarded / (kept + meter.discarded) < 0.25
        discarded += meter.discarded
    assert discarded or rule is capital, "nothing was at stake"


def test_a_span_needs_all_its_tokens_and_a_foil_needs_to_be_beaten() -> None:
    scorer = TinyScorer()
    london = WORDS.index("london")
    prompt = build_prompt(FRANCE, scorer.tokenizer)
    original = np.array([prompt.token_ids])
    span = Meter(scorer, Targets((PARIS, london), ((0, 2),))).read(original)
    rest = (1 - 0.81) / (len(WORDS) - 2)
    assert span.probabilities[0, 0] == pytest.approx(0.8 * rest)
    foil = Meter(scorer, Targets((PARIS,), ((0, 1),), (london,))).read(original)
    assert foil.values[0, 0] == pytest.approx(math.log(0.8 / rest))
    assert foil.probabilities[0, 0] == pytest.approx(0.8 / (0.8 + rest))
    assert foil.ranks[0, 0] == 1
    turned = Meter(scorer, Targets((london,), ((0, 1),), (PARIS,))).read(original)
    assert turned.ranks[0, 0] == 2 > Targets((1,), ((0, 1),), (2,)).passing_rank(3)


def test_each_answer_token_gets_what_it_would_get_alone() -> None:
    """One set of forwards over [prompt | answer]: same steps, same numbers."""
    config = Config(probes=2, min_steps=12, max_steps=12)
    answer = (PARIS, WORDS.index("is"), WORDS.index("big"))
    scorer = TinyScorer()
    prompt = build_prompt(FRANCE, scorer.tokenizer)
    substitute = UniformReplacer(scorer.tokenizer).prepare(prompt)
    together = Meter(scorer, Targets(answer, ((0, 3), (0, 1), (1, 2), (2, 3))))
    whole = [e for events in run(prompt, substitute, together, config) for e in events]
    for i in range(3):
        alone = Meter(scorer, Targets(answer[: i + 1], ((i, i + 1),)))
        single = [e for events in run(prompt, substitute, alone, config) for e in events]
        for one, many in zip(single, whole, strict=True):
            assert (one.token_ids == many.token_ids).all()
            assert many.values[1 + i] == pytest.approx(one.values[0], abs=1e-12)
            assert many.scores[1 + i] == pytest.approx(one.scores[0], abs=1e-9)


def test_cancel_ends_between_two_forwards() -> None:
    scorer = TinyScorer()
    prompt = build_prompt(FRANCE, scorer.tokenizer)
    substitute = UniformReplacer(scorer.tokenizer).prepare(prompt)
    meter = Meter(scorer, Targets((PARIS,), ((0, 1),)), cancelled=lambda: len(scorer.calls) > 3)
    kept = []
    with pytest.raises(Cancelled):
        for events in run(prompt, substitute, meter, Config(min_steps=50, max_steps=50)):
            kept += events
    assert kept and len(scorer.calls) == 4
