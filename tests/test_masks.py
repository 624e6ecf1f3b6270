"""Which units are replaced at each step: by (seed, probe, step) alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reagent_core.config import Config, Selection
from reagent_core.masks import (
    Purpose,
    generator,
    initial_scores,
    replacement_draws,
    stop_test_draws,
    unit_mask,
)

SELECTIONS: tuple[Selection, ...] = ("bernoulli", "exact", "balanced")

counts = st.integers(1, 60)
ratios = st.floats(0.01, 0.99)
places = st.integers(0, 500)
seeds = st.integers(0, 2**63 - 1)
some = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize("selection", SELECTIONS)
@some
@given(n=counts, ratio=ratios, seed=seeds, probe=places, step=places)
def test_a_mask_depends_on_seed_probe_and_step_alone(
    selection: Selection, n: int, ratio: float, seed: int, probe: int, step: int
) -> None:
    config = Config(selection=selection, ratio=ratio, seed=seed)
    mask = unit_mask(n, config, probe, step)
    assert mask.shape == (n,)
    assert mask.dtype == bool
    unit_mask(n, config, probe + 1, step)  # whatever is drawn in between
    other = config.model_copy(
        update={
            "probes": 7,
            "max_steps": 5000,
            "top_k": 9,
            "init": "uniform",
            "weights": "centered",
        }
    )
    assert (unit_mask(n, other, probe, step) == mask).all()


@pytest.mark.parametrize("selection", SELECTIONS)
def test_seeds_probes_and_steps_give_masks_of_their_own(selection: Selection) -> None:
    drawn = {
        unit_mask(200, Config(selection=selection, seed=seed), probe, step).tobytes()
        for seed in (0, 1, 2**63 - 1)
        for probe in range(4)
        for step in range(6)
    }
    assert len(drawn) == 3 * 4 * 6


@some
@given(n=counts, ratio=ratios, probe=places, step=places)
def test_exact_replaces_a_share_of_r_and_at_least_one(
    n: int, ratio: float, probe: int, step: int
) -> None:
    mask = unit_mask(n, Config(selection="exact", ratio=ratio), probe, step)
    assert mask.sum() == max(1, round(ratio * n))


@pytest.mark.parametrize(("n", "replaced"), [(1, 1), (2, 1), (5, 2), (10, 3), (11, 3)])
def test_exact_counts_at_r_0_3(n: int, replaced: int) -> None:
    assert unit_mask(n, Config(selection="exact"), 0, 0).sum() == replaced


def test_exact_draws_every_pair_equally_often() -> None:
    config = Config(selection="exact", ratio=0.5)
    pairs = [tuple(np.flatnonzero(unit_mask(4, config, 0, step))) for step in range(3000)]
    shares = [pairs.count(pair) / 3000 for pair in sorted(set(pairs))]
    assert len(shares) == 6
    assert shares == pytest.approx([1 / 6] * 6, abs=0.03)  # more than four standard deviations


@some
@given(n=counts, twentieths=st.integers(1, 19), probe=places, number=st.integers(0, 50))
def test_balanced_replaces_every_unit_equally_often_in_each_round(
    n: int, twentieths: int, probe: int, number: int
) -> None:
    config = Config(selection="balanced", ratio=twentieths / 20)
    deal = [unit_mask(n, config, probe, number * 20 + place) for place in range(20)]
    assert (np.sum(deal, axis=0) == twentieths).all()


@pytest.mark.parametrize("ratio", [0.001, 0.999])
def test_balanced_keeps_and_replaces_every_unit_however_extreme_r_is(ratio: float) -> None:
    masks = [unit_mask(9, Config(selection="balanced", ratio=ratio), 0, k) for k in range(20)]
    assert set(np.sum(masks, axis=0)) <= {1, 19}


def test_balanced_replaces_units_independently_of_each_other() -> None:
    """Otherwise keeping one means replacing others, and every effect is off by their mean."""
    masks = np.stack([unit_mask(5, Config(selection="balanced"), 0, k) for k in range(6000)])
    shares = np.corrcoef(masks.T.astype(float))
    assert np.abs(shares - np.eye(5)).max() < 0.05  # a fixed number of two in five gives -0.25


def test_balanced_deals_anew_in_every_round() -> None:
    config = Config(selection="balanced")
    rounds = {unit_mask(30, config, 0, 3 * number).tobytes() for number in range(20)}
    assert len(rounds) == 20


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.8])
def test_bernoulli_replaces_each_unit_with_probability_r(ratio: float) -> None:
    config = Config(selection="bernoulli", ratio=ratio)
    masks = np.array([unit_mask(20, config, 0, step) for step in range(2000)])
    assert masks.mean(0) == pytest.approx(np.full(20, ratio), abs=0.05)  # over four deviations
    pair = (masks[:, 0] & masks[:, 1]).mean()  # units are drawn one by one
    assert pair == pytest.approx(ratio**2, abs=0.05)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("n", [1, 2])
def test_the_shortest_prompts_have_every_unit_replaced_and_kept_some_time(
    selection: Selection, n: int
) -> None:
    masks = np.array([unit_mask(n, Config(selection=selection), 0, step) for step in range(60)])
    assert masks.any(0).all()
    if (selection, n) != ("exact", 1):  # at least one of one is always that one
        assert not masks.all(0).any()


def test_other_random_numbers_depend_on_their_place_and_purpose_alone() -> None:
    config = Config(seed=5, init="uniform")
    assert (replacement_draws(9, config, 1, 2) == replacement_draws(9, config, 1, 2)).all()
    streams = {
        replacement_draws(9, config, 1, 2).tobytes(),
        replacement_draws(9, config, 2, 1).tobytes(),
        stop_test_draws(9, config, 1).tobytes(),
        initial_scores(9, config, 1).tobytes(),
        initial_scores(9, config, 2).tobytes(),
        generator(5, Purpose.MASK, 1, 2).random(9).tobytes(),
        generator(5, Purpose.FACT, 1).random(9).tobytes(),
    }
    assert len(streams) == 7
    for draws in (replacement_draws(999, config, 0, 0), stop_test_draws(999, config, 0)):
        assert draws.min() >= 0
        assert draws.max() < 1
        assert draws.mean() == pytest.approx(0.5, abs=0.05)


def test_scores_start_at_zero_or_at_random() -> None:
    assert initial_scores(3, Config(), 0).tolist() == [0.0, 0.0, 0.0]
    start = initial_scores(1000, Config(init="uniform"), 0)
    assert start.min() >= 0
    assert start.max() < 1
    assert start.mean() == pytest.approx(0.5, abs=0.05)
