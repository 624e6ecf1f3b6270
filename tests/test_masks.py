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
    round_steps,
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
@given(n=counts, ratio=ratios, probe=places, number=st.integers(0, 50))
def test_balanced_replaces_every_unit_once_in_each_round(
    n: int, ratio: float, probe: int, number: int
) -> None:
    config = Config(selection="balanced", ratio=ratio)
    steps = round_steps(n, config)
    deal = [unit_mask(n, config, probe, number * steps + place) for place in range(steps)]
    assert (np.sum(deal, axis=0) == 1).all()
    sizes = np.sum(deal, axis=1)
    assert max(sizes) <= max(1, round(ratio * n)) and max(sizes) - min(sizes) <= 1


def test_balanced_makes_another_partition_in_every_round() -> None:
    config = Config(selection="balanced")
    steps = round_steps(30, config)
    assert steps == 4  # sets of nine at most
    rounds = {unit_mask(30, config, 0, steps * number).tobytes() for number in range(20)}
    assert len(rounds) == 20


def test_the_few_replacements_of_a_place_are_spread_evenly() -> None:
    """Six draws (two rounds of three probes): no gap half as wide again as evenly."""
    config = Config(selection="balanced", ratio=0.1)
    steps = round_steps(10, config)
    draws = [replacement_draws(10, 50, config, probe, steps * number)
             for probe in range(3) for number in range(2)]  # fmt: skip
    ordered = np.sort(draws, axis=0)
    gaps = np.diff(np.concatenate([ordered, ordered[:1] + 1]), axis=0)
    assert gaps.min() > 0.09 and gaps.max() < 0.24  # evenly: 1/6
    starts = np.sort(draws[0])
    assert np.diff(starts).max() < 0.2  # where a place starts is random


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
    if n > 1 or selection == "bernoulli":  # at least one of one is always that one
        assert not masks.all(0).any()


def test_other_random_numbers_depend_on_their_place_and_purpose_alone() -> None:
    config = Config(seed=5, init="uniform")
    assert (replacement_draws(4, 9, config, 1, 2) == replacement_draws(4, 9, config, 1, 2)).all()
    streams = {
        replacement_draws(4, 9, config, 1, 2).tobytes(),
        replacement_draws(4, 9, config, 2, 1).tobytes(),
        stop_test_draws(9, config, 1).tobytes(),
        initial_scores(9, config, 1).tobytes(),
        initial_scores(9, config, 2).tobytes(),
        generator(5, Purpose.MASK, 1, 2).random(9).tobytes(),
        generator(5, Purpose.FACT, 1).random(9).tobytes(),
    }
    assert len(streams) == 7
    for draws in (replacement_draws(4, 999, config, 0, 0), stop_test_draws(999, config, 0)):
        assert draws.min() >= 0
        assert draws.max() < 1
        assert draws.mean() == pytest.approx(0.5, abs=0.05)


def test_scores_start_at_zero_or_at_random() -> None:
    assert initial_scores(3, Config(), 0).tolist() == [0.0, 0.0, 0.0]
    start = initial_scores(1000, Config(init="uniform"), 0)
    assert start.min() >= 0
    assert start.max() < 1
    assert start.mean() == pytest.approx(0.5, abs=0.05)
