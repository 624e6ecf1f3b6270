"""Looks that do not fool themselves, and what they are made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import polygamma

from reagent_core.adjustment import adjusted, ridge
from reagent_core.config import PRESETS, Config
from reagent_core.effects import effects
from reagent_core.masks import unit_mask
from reagent_core.meter import Meter
from reagent_core.moderated import moderated
from reagent_core.prompt import build_prompt
from reagent_core.reagent import run
from reagent_core.replacers.uniform import UniformReplacer
from reagent_core.sequential import Looks, error_at, look_steps, separated
from reagent_core.target import Targets
from tests.tiny import WORDS, TinyScorer

PARIS = WORDS.index("paris")
SETTLING = Config(
    selection="balanced", ratio=0.04, until="settled", probes=3, min_steps=20, max_steps=80
)


def test_looks_are_made_from_the_fewest_steps_on_and_at_the_end() -> None:
    assert look_steps(SETTLING) == [20, 32, 44, 56, 68, 80]
    assert look_steps(SETTLING.model_copy(update={"min_steps": 80})) == [80]


@given(st.integers(1, 300), st.integers(0, 300))
def test_the_looks_together_spend_five_percent(fewest: int, more: int) -> None:
    config = Config(min_steps=fewest, max_steps=fewest + more)
    spent = [error_at(step, config) for step in look_steps(config)]
    assert sum(spent) == pytest.approx(0.05)
    assert min(spent) > 0


def test_units_are_told_apart_where_no_interval_reaches_another() -> None:
    mean = np.array([1.0, 9.0, 8.0, 0.5])
    assert separated(mean - 1, mean, mean + 1) == 2
    assert separated(mean - 4, mean, mean + 4) == 0
    half = np.array([0.1, 0.4, 0.4, 0.1])
    assert separated(mean - half, mean, mean + half) == 3  # the most that can be said
    unknown = np.array([0.1, np.nan, 0.4, 0.1])
    assert separated(mean - unknown, mean, mean + unknown) == 0


def settled_at(losses: np.ndarray, seed: int, noise: float = 1.0) -> int | None:
    """The step at which a run on made-up values settles: `losses` [n] nats, replaced alone."""
    config = SETTLING.model_copy(update={"seed": seed})
    rng = np.random.default_rng(seed)
    looks = Looks(config, np.zeros(1), np.ones((1, len(losses)), bool))
    step = 0
    while step < config.max_steps:
        stop = looks.next_after(step)
        places = [(j, k) for k in range(step, stop) for j in range(config.probes)]
        masks = np.stack([unit_mask(len(losses), config, j, k) for j, k in places])
        values = -(masks @ losses) + rng.normal(0, noise, len(places))
        looks.add(masks, values[:, None], [probe for probe, _ in places])
        step = stop
        if looks.all_settled(step):
            return step
    return None


def test_looking_often_does_not_make_equal_units_differ() -> None:
    """Twelve equal units, six looks each: at most one run in twenty may tell any apart."""
    wrong = sum(settled_at(np.full(12, 2.0), seed) is not None for seed in range(200))
    assert wrong <= 18  # 5% are 10; more than 18 have a probability under 1%


def test_a_strong_unit_is_found_early_and_a_close_one_late_or_never() -> None:
    strong = [settled_at(np.array([9.0] + [0.0] * 11), seed) for seed in range(10)]
    close = [settled_at(np.array([1.0] + [0.5] * 11), seed) or 999 for seed in range(10)]
    assert strong == [20] * 10
    assert np.median(close) > 80


def test_a_run_until_settled_stops_at_a_look_and_throws_nothing_away() -> None:
    scorer = TinyScorer()
    prompt = build_prompt("the capital of france is", scorer.tokenizer)
    substitute = UniformReplacer(scorer.tokenizer).prepare(prompt)
    meter = Meter(scorer, Targets((PARIS,), ((0, 1),)))
    config = SETTLING.model_copy(update={"min_steps": 30})
    events = [e for events in run(prompt, substitute, meter, config) for e in events]
    assert {event.step for event in events if event.probe == 0} == set(range(30))
    assert meter.discarded == 0
    # The published stop test is made once, to be looked at.
    tested = [(event.probe, event.step) for event in events if event.ranks[0]]
    assert tested == [(0, 29), (1, 29), (2, 29)]
    assert not any(event.stopped[0] for event in events)


def test_a_run_that_never_settles_ends_at_the_most_steps() -> None:
    scorer = TinyScorer(lambda words: {"paris": 0.5})
    prompt = build_prompt("the capital of france is", scorer.tokenizer)
    substitute = UniformReplacer(scorer.tokenizer).prepare(prompt)
    meter = Meter(scorer, Targets((PARIS,), ((0, 1),)))
    events = [e for events in run(prompt, substitute, meter, SETTLING) for e in events]
    assert len(events) == 3 * SETTLING.max_steps


@pytest.mark.parametrize("name", ["quick", "standard", "thorough"])
def test_how_long_a_preset_takes_can_be_said_within_a_factor_of_one_and_a_half(name: str) -> None:
    config = PRESETS[name]  # type: ignore[index]
    assert config.until == "settled"
    assert config.max_steps <= 2.25 * config.min_steps


# --- Variances of small samples ------------------------------------------------------------------


def test_variances_are_moved_to_the_usual_as_far_as_their_spread_allows() -> None:
    """From variances drawn as the model says (scaled F): prior 8 degrees of freedom around 2."""
    rng = np.random.default_rng(0)
    true = 2 * 8 / rng.chisquare(8, 4000)
    seen = true * rng.chisquare(3, 4000) / 3
    steadied, freedom = moderated(seen, np.full(4000, 3.0))
    assert freedom[0] - 3 == pytest.approx(8, rel=0.15)
    assert steadied == pytest.approx((8 * 2 + 3 * seen) / 11, rel=0.1)
    assert np.mean((np.log(steadied) - np.log(true)) ** 2) < 0.3 * np.mean(
        (np.log(seen) - np.log(true)) ** 2
    )


def test_equal_variances_become_one() -> None:
    rng = np.random.default_rng(1)
    steadied, freedom = moderated(rng.chisquare(4, 500) / 4, np.full(500, 4.0))
    assert np.ptp(steadied) < 0.2 and steadied.mean() == pytest.approx(1, abs=0.1)
    assert freedom.min() > 50


def test_what_is_unknown_stays_unknown() -> None:
    variance = np.array([1.0, 2.0, 0.5, 3.0, np.nan, 0.0])
    freedom = np.array([2.0, 2.0, 2.0, 2.0, 0.0, 2.0])
    steadied, steadied_freedom = moderated(variance, freedom)
    assert np.isnan(steadied[4]) and steadied_freedom[4] == 0
    assert steadied[5] > 0  # no certainty from a few equal values
    few, unchanged = moderated(variance[:3], freedom[:3])
    assert (few == variance[:3]).all() and (unchanged == 2).all()


def test_many_rows_of_variances_are_steadied_each_by_itself() -> None:
    rng = np.random.default_rng(2)
    variance = rng.chisquare(3, (6, 8)) * rng.uniform(0.1, 3, (6, 8)) ** 2
    variance[1, 2:] = np.nan  # too few to tell what is usual
    variance[2, 3], freedom = 0.0, np.full((6, 8), 3.0)
    variance[3] = 1 + variance[3] / 1000  # less spread than chance gives
    freedom[4, 1] = 0.0
    together = np.stack(moderated(variance, freedom))
    alone = np.stack([np.stack(moderated(*each)) for each in zip(variance, freedom, strict=True)])
    np.testing.assert_allclose(together, alone.swapaxes(0, 1), rtol=1e-12)
    np.testing.assert_array_equal(together[0, 1], variance[1])
    assert np.ptp(together[0, 3]) == 0 and (together[1, 3] == 1e6).all()


def test_the_prior_is_the_one_whose_trigamma_is_the_spread_left() -> None:
    """Smyth 2004, section 6.2, for variances with equal freedom."""
    variance = np.random.default_rng(5).chisquare(2, 50) ** 2
    _, freedom = moderated(variance, np.full(50, 4.0))
    left = np.log(variance).var(ddof=1) - float(polygamma(1, 2.0))
    assert polygamma(1, (freedom[0] - 4) / 2) == pytest.approx(left, rel=1e-9)


# --- Noise of the other units --------------------------------------------------------------------


@pytest.mark.parametrize("anchored", [False, True])
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_taking_the_others_out_leaves_a_units_own_effect(anchored: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    losses = np.array([3.0, 2.0, 1.0, 0.0, 0.0, 0.0])
    replaced = rng.random((120, 6)) < 0.3
    values = -(replaced @ losses) + rng.normal(0, 0.05, 120)
    found = effects(replaced, values[:, None], np.zeros(1), anchored=anchored)
    assert found.mean[0] == pytest.approx(losses, abs=0.25)
    # What is left in a unit's own steps is noise, no longer what the others did there.
    columns = adjusted(replaced, values, anchored=anchored)
    assert columns[replaced[:, 5], 5].std() < 0.5 * values[replaced[:, 5]].std()


def test_units_that_are_never_replaced_change_no_slope() -> None:
    """With them there are fewer steps than units, which is solved in another way."""
    rng = np.random.default_rng(3)
    masks = (rng.random((30, 20)) < 0.3).astype(float)
    values = masks @ rng.normal(0, 1, 20) + rng.normal(0, 0.1, 30)
    slopes = ridge(np.hstack([masks, np.zeros((30, 20))]), values, 0)
    assert slopes[:20] == pytest.approx(ridge(masks, values, 0), abs=1e-9)
    assert np.abs(slopes[:20]).max() > 0.5 and not slopes[20:].any()


def test_units_replaced_alone_need_no_adjustment() -> None:
    replaced = np.eye(20, dtype=bool)
    values = -np.arange(20.0)
    assert (adjusted(replaced, values, anchored=True) == values[:, None]).all()


def test_a_balanced_step_is_compared_with_the_original_prompt() -> None:
    """Kept steps replaced other units: against them a unit without effect would seem to harm."""
    replaced = np.tile(np.eye(4, dtype=bool), (3, 1))
    values = -1.0 - replaced @ np.array([4.0, 0.0, 0.0, 0.0])
    found = effects(replaced, values[:, None], np.array([-1.0]), anchored=True)
    assert found.mean[0] == pytest.approx([4.0, 0.0, 0.0, 0.0])
