"""Hard measures, exactly, on a model that can be computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reagent_core.erasure import (
    PAIRS,
    Erased,
    erased,
    plan,
    points,
    random_points,
    read,
    share_units,
)
from reagent_core.faithfulness import (
    SHARES,
    Faithfulness,
    area,
    estimate,
    faithfulness,
    key_rank,
    left,
    units_to_half,
)
from reagent_core.keys import key_places
from reagent_core.masks import Purpose, generator
from reagent_core.meter import Meter
from reagent_core.prompt import build_prompt
from reagent_core.scorers.base import BoolArray, FloatArray, IntArray
from reagent_core.target import Targets
from tests.examples import make_chat, make_explanation
from tests.tiny import WORDS, TinyScorer

FRANCE = "the capital of france is"
PARIS = Targets((WORDS.index("paris"),), ((0, 1),))


def measured(order: list[int], prompt_text: str = FRANCE, draws: int = 2) -> Faithfulness:
    """An order of the words, each of which is replaced by "a"."""
    scorer = TinyScorer()
    prompt = build_prompt(prompt_text, scorer.tokenizer)

    def substitute(replaced: BoolArray, uniforms: FloatArray) -> IntArray:
        return np.where(replaced, WORDS.index("a"), np.array(prompt.token_ids))

    planned = plan(np.array(order), draws, seed=0)
    meter = Meter(scorer, PARIS)
    parts = list(read(prompt, planned, substitute, meter, seed=0))
    values = np.concatenate([part.values[:, 0] for part in parts])
    assert meter.sequences < 2 ** len(order), "equal prompts are scored once"
    return faithfulness(erased(planned, values), math.log(0.8), PARIS)


def test_the_word_that_matters_first() -> None:
    """France gives Paris 0.8; without it Paris has 0.1, an eighth."""
    found = measured([3, 0, 1, 2, 4])
    assert found.deletion.left == pytest.approx((1, 1 / 8, 1 / 8, 1 / 8, 1 / 8, 1 / 8))
    assert found.insertion.left == pytest.approx((1 / 8, 1, 1, 1, 1, 1))
    assert found.deletion.nats == pytest.approx((0, *[-math.log(8)] * 5), abs=1e-6)
    # Trapezoids of a fifth each.
    assert found.deletion.area == pytest.approx((9 / 16 + 4 / 8) / 5)
    assert found.insertion.area == pytest.approx((9 / 16 + 4) / 5)
    assert [share.units for share in found.shares] == [1, 1, 1, 2]
    for each in (*found.shares, found.mean):
        for told, expected in (
            (each.comprehensiveness, math.log(8)),
            (each.sufficiency, 0.0),
            (each.comprehensiveness_relative, 7 / 8),
            (each.sufficiency_relative, 0.0),
        ):
            assert told.mean == pytest.approx(expected, abs=1e-6)
            assert told.low is told.high is None, "two equal draws are no certainty"
    # Half is left at 4 / 7 of the first step.
    assert found.contest.half == pytest.approx(4 / 7)
    assert found.contest.left_at_end == pytest.approx(1 / 8)


def test_the_word_that_matters_last() -> None:
    found = measured([0, 1, 2, 4, 3])
    assert found.deletion.left == pytest.approx((1, 1, 1, 1, 1, 1 / 8))
    assert [share.comprehensiveness.mean for share in found.shares] == pytest.approx(
        [0] * 4, abs=1e-6
    )
    assert found.mean.sufficiency.mean == pytest.approx(math.log(8))
    assert found.contest.beaten == 0
    assert found.contest.faster < 1


def test_random_orders_lose_it_where_they_come_to_the_word_that_matters() -> None:
    orders = [generator(0, Purpose.CHECK_ORDER, pair).permutation(5) for pair in range(PAIRS)]
    places = [int(np.flatnonzero(order == 3)[0]) for order in orders]
    places += [4 - place for place in places]  # each comes with its reverse
    expected = [[1.0] * (place + 1) + [1 / 8] * (5 - place) for place in places]
    found = measured([3, 0, 1, 2, 4])
    assert found.deletion.random_mean == pytest.approx(np.mean(expected, axis=0))
    assert found.deletion.random_low == pytest.approx(np.quantile(expected, 0.05, axis=0))
    assert found.deletion.random_high == pytest.approx(np.quantile(expected, 0.95, axis=0))
    areas = np.trapezoid(expected, dx=0.2)
    assert found.deletion.random_area == pytest.approx(areas.mean())
    assert found.contest.faster == pytest.approx(areas.mean() / found.deletion.area)
    assert (found.contest.beaten, found.contest.orders) == (sum(place > 0 for place in places), 20)


# --- Where curves are read ------------------------------------------------------------------------


def test_points_are_the_shares_and_what_they_leave() -> None:
    assert points(1).tolist() == [0, 1]
    assert points(5).tolist() == [0, 1, 2, 3, 4, 5]
    assert points(100).tolist() == [0, 5, 10, 20, 30, 50, 70, 80, 90, 95, 100]
    assert random_points(100).tolist() == [0, 5, 20, 50, 80, 95, 100]


@given(st.integers(1, 2000))
def test_points_hold_every_share_and_are_the_same_from_either_end(n: int) -> None:
    at = points(n)
    assert len(at) <= 12 and len(random_points(n)) <= 8
    assert set(random_points(n).tolist()) <= set(at.tolist())
    for some in (random_points(n), at):
        assert (some[0], some[-1]) == (0, n)
        assert (np.diff(some) > 0).all() and (n - some[::-1] == some).all()
    assert {share_units(n, share) for share in SHARES} <= set(at.tolist())


@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 99))
def test_values_are_sorted_by_order_and_point(n: int, draws: int, seed: int) -> None:
    """Any function of a mask will do: each curve is read along its own order."""
    weights = np.random.default_rng(seed).random(n)
    order = np.random.default_rng(seed + 1).permutation(n)
    planned = plan(order, draws, seed)
    found = erased(planned, planned.masks @ weights)

    def along(some_order: IntArray, at: IntArray) -> tuple[list[float], list[float]]:
        lost = [weights[some_order[:k]].sum() for k in at]
        return lost, [weights.sum() - each for each in lost]

    for number in range(draws):
        assert found.deletion[number] == pytest.approx(along(order, points(n))[0])
        assert found.insertion[number] == pytest.approx(along(order, points(n))[1])
    for pair in range(PAIRS):
        first = generator(seed, Purpose.CHECK_ORDER, pair).permutation(n)
        for row, random in ((pair, first), (PAIRS + pair, first[::-1])):
            assert found.random_deletion[row] == pytest.approx(along(random, random_points(n))[0])
            assert found.random_insertion[row] == pytest.approx(along(random, random_points(n))[1])


# --- Scales ---------------------------------------------------------------------------------------


def test_left_is_a_geometric_mean_over_tokens_and_no_more_than_all() -> None:
    values = np.log([0.2, 0.05, 0.8])
    assert left(values, math.log(0.4), tokens=1, foil=False) == pytest.approx([1 / 2, 1 / 8, 1])
    assert left(values, math.log(0.4), tokens=3, foil=False) == pytest.approx(
        [(1 / 2) ** (1 / 3), 1 / 2, 1]
    )


def test_left_against_a_foil_is_of_the_probability_among_the_two() -> None:
    # 0.8 against 0.2 before; even, then one against three.
    values = np.array([0.0, -math.log(3)])
    found = left(values, math.log(4), tokens=2, foil=True)
    assert found == pytest.approx([0.5 / 0.8, 0.25 / 0.8])


def test_left_of_what_underflows() -> None:
    found = left(np.array([-2000.0, -4000.0]), -1000.0, tokens=100, foil=False)
    assert found == pytest.approx([math.exp(-10), math.exp(-30)])


def test_areas_are_over_the_share_of_units() -> None:
    assert area(np.array([1.0, 0.0, 0.0]), np.array([0, 1, 4])) == pytest.approx(1 / 8)
    assert area(np.ones((2, 3)), np.array([0, 1, 4])) == pytest.approx([1, 1])


def test_intervals_are_students() -> None:
    # Mean 2, standard error 1 / sqrt(3); t with 2 degrees of freedom is 4.303.
    found = estimate(np.array([1.0, 2.0, 3.0]), 0.0)
    assert (found.mean, found.low) == (2.0, 0.0), "cut to what is possible"
    assert found.high == pytest.approx(2 + 4.30265 / math.sqrt(3), abs=1e-5)
    assert estimate(np.array([2.0])).low is None
    assert estimate(np.full(4, 2.0)).low is None
    assert estimate(np.full(5, 2.0)).low == 2


@pytest.mark.parametrize(
    ("left_at", "expected"),
    [((1.0, 0.75, 0.25, 0.0), 2.0), ((1.0, 0.9, 0.8, 0.7), None), ((1.0, 0.0, 0.0, 0.0), 0.5),
     ((0.5, 0.0, 0.0, 0.0), 0.0)],
)  # fmt: skip
def test_units_to_half(left_at: tuple[float, ...], expected: float | None) -> None:
    assert units_to_half(left_at, (0, 1, 3, 5)) == (
        None if expected is None else pytest.approx(expected)
    )


def test_the_order_that_is_better_at_both_ends_wins() -> None:
    """Neither curve alone decides: the area between the two does."""
    at = np.array([0, 1, 2, 3, 4, 5])
    falling, rising = np.log([[1, 0.5, 0.25, 0.1, 0.1, 0.1]]), np.log([[0.1, 0.2, 0.5, 1, 1, 1]])
    slow = np.tile(np.log([1, 0.9, 0.8, 0.5, 0.2, 0.1]), (20, 1))
    better = faithfulness(Erased(at, at, falling, rising, slow, slow[:, ::-1]), 0.0, PARIS)
    assert better.contest.beaten == 20
    worse = faithfulness(Erased(at, at, slow[:1], slow[:1, ::-1], np.tile(falling, (20, 1)),
                                np.tile(rising, (20, 1))), 0.0, PARIS)  # fmt: skip
    assert worse.contest.beaten == 0


# --- Where the key is known -----------------------------------------------------------------------


def test_where_a_known_key_stands_in_the_ranking() -> None:
    bangkok = make_explanation()
    keys = ("Thailand", " Thailand ", "capital city", "the capital")
    assert [key_rank(bangkok, key) for key in keys] == [1, 1, 2, 2]
    for absent in ("Peru", "", " ", "thailand", "Thai", "land", "the cap"):
        assert key_rank(bangkok, absent) is None
    assert key_rank(make_chat(), "assistant") is None, "the template is not ranked"


@pytest.mark.parametrize(
    ("text", "key", "places"),
    [
        ("a cat, a dog", "a", [(0, 1), (7, 8)]),
        ("12 + 2 = 2x2", "2", [(5, 6)]),
        ("C++ (a) or c", "(a)", [(4, 7)]),
        ("Ärger, ärgern", "Ärger", [(0, 5)]),
        ("泰国的首都是", "首都", [(3, 5)]),
        ("in Rome\u2019s heart", "Rome", [(3, 7)]),
        ("aa", "a", []),
    ],
)
def test_a_key_is_found_as_a_whole_word(
    text: str, key: str, places: list[tuple[int, int]]
) -> None:
    assert key_places(text, key) == places


@given(st.text("ab ,é1国", max_size=12), st.text("ab ,é1国", max_size=3))
def test_where_a_key_is_found_it_stands(text: str, key: str) -> None:
    assert all(text[start:end] == key.strip() for start, end in key_places(text, key))
    assert bool(key_places(f"{text} ~{key}~", key)) is bool(key.strip())
