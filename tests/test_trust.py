"""The sentence that says whether to trust an explanation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reagent_core.trust import Contest, sentence, standing

# Half is lost after 2.4 of 25 tokens, and no random order is as good.
GOOD = Contest(units=25, beaten=20, orders=20, faster=5.2, half=2.4, left_at_end=0.01)


def said(contest: Contest) -> str:
    return sentence(contest, "“Bangkok”", "token")


def test_clearly_better_than_chance() -> None:
    assert standing(GOOD) == "better"
    assert said(GOOD) == (
        "Replacing its top 3 tokens first destroys “Bangkok” about 5 times faster than a random "
        "order (better than 20 of 20 random orders): trust it."
    )


def test_no_better_than_chance() -> None:
    contest = replace(GOOD, beaten=11, faster=1.3)
    assert standing(contest) == "chance"
    assert said(contest) == (
        "Replacing its top 3 tokens first is no better than chance (better than 11 of 20 random "
        "orders): do not trust it."
    )


def test_what_chance_does_now_and_then_is_no_proof() -> None:
    contest = replace(GOOD, beaten=17, faster=2.34, half=0.6)
    assert standing(contest) == "weak"
    assert said(contest) == (
        "Replacing its top token first destroys “Bangkok” about 2.3 times faster than a random "
        "order (better than 17 of 20 random orders): chance can do that, so do not trust it alone."
    )


@pytest.mark.parametrize(
    ("beaten", "orders", "expected"),
    # (orders - beaten + 1) / (orders + 1) is at most 5%; or four in five are beaten
    [(20, 20, "better"), (19, 20, "weak"), (16, 20, "weak"), (15, 20, "chance"),
     (0, 20, "chance"), (96, 100, "better"), (95, 100, "weak"), (18, 18, "weak")],
)  # fmt: skip
def test_the_level_is_that_of_a_permutation_test(beaten: int, orders: int, expected: str) -> None:
    assert standing(replace(GOOD, beaten=beaten, orders=orders)) == expected


def test_random_orders_pass_one_time_in_twenty() -> None:
    """Against ten random orders and their reverses, whose areas are each other's opposite."""
    random = np.random.default_rng(0)
    own, pairs = random.normal(size=4000), random.normal(size=(4000, 10))
    beaten = (np.concatenate([pairs, -pairs], axis=1) < own[:, None]).sum(1)
    passed = [standing(replace(GOOD, beaten=int(each))) == "better" for each in beaten]
    assert np.mean(passed) == pytest.approx(1 / 22, abs=0.012)


def test_what_destroys_no_faster_is_no_proof() -> None:
    contest = replace(GOOD, faster=1.05, half=None)
    assert standing(contest) == "weak"
    assert said(contest) == (
        "Replacing its top tokens first destroys “Bangkok” no faster than a random order, though "
        "keeping them does better than chance (better than 20 of 20 random orders): do not trust "
        "it alone."
    )


@pytest.mark.parametrize(("units", "told"), [(1, "only one token"), (4, "only 4 tokens")])
def test_so_few_units_cannot_be_checked(units: int, told: str) -> None:
    contest = replace(GOOD, units=units)
    assert standing(contest) == "untestable"
    assert said(contest) == (
        f"This cannot be checked: {told} can be replaced, and chance orders so few right."
    )


def test_where_nothing_is_lost_there_is_nothing_to_explain() -> None:
    contest = replace(GOOD, left_at_end=0.93)
    assert standing(contest) == "untestable"
    assert said(contest) == (
        "This cannot be checked: with all 25 tokens replaced, “Bangkok” keeps 93% of its "
        "probability, so there is nothing to explain."
    )
