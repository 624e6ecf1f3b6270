"""The word-pair prompts that ship are what their generator makes, and the model answers them."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, get_args

import pytest

from benchmarks.longra import Split, evenly, examples
from benchmarks.prompts import PROMPTS
from reagent_core.study.loaders import read_rows, shipped_sets
from scripts.make_longra import (
    MOST,
    Candidate,
    Example,
    Kind,
    Source,
    candidates,
    is_next_word,
    needs_key,
    read_source,
)
from tests.tiny import Homely

if TYPE_CHECKING:
    from reagent_core.scorers.transformers_lm import TransformersScorer

SMALL = Source(
    distractions=("a red green one", "a blue one"),
    kinds={
        "capital": Kind(
            opening="the city in {key}",
            closing="is",
            pairs=(("france", "paris"), ("spain", "madrid"), ("green", "london")),
        )
    },
)


def test_every_pair_makes_a_prompt_without_and_one_with_a_distraction() -> None:
    made = list(candidates(SMALL))
    assert [each.distracted for each in made] == [False, True] * 3
    assert [each.split for each in made] == ["test"] * 2 + ["dev"] * 2 + ["test"] * 2
    by_key = {(each.key, each.distracted): each.prompt for each in made}
    assert by_key["france", False] == "the city in france is"
    assert by_key["green", True] == "the city in green a blue one is"  # the other says green
    assert [each.foil for each in made[::2]] == ["london", "paris", "madrid"]
    assert list(candidates(SMALL)) == made


def test_pairs_that_were_developed_on_are_dev_and_others_stay_together() -> None:
    both = {name: SMALL.kinds["capital"] for name in ("capital", "city")}
    known = SMALL.model_copy(update={"kinds": both, "developed_on": (("france", "paris"),)})
    parts: dict[str, set[str]] = {}
    for each in candidates(known):
        parts.setdefault(each.key, set()).add(each.split)
    assert parts["france"] == {"dev"}
    assert all(len(own) == 1 for own in parts.values())


def test_a_prompt_that_gives_the_answer_away_is_refused() -> None:
    told = SMALL.kinds["capital"].model_copy(update={"closing": "paris is"})
    with pytest.raises(ValueError, match="'green' and 'london' do not fit"):
        list(candidates(SMALL.model_copy(update={"kinds": {"capital": told}})))


def test_only_the_next_word_is_an_answer() -> None:
    assert is_next_word("the city in france is", "paris", Homely())
    assert not is_next_word("the city in france is", "madrid", Homely())


def test_a_key_is_needed_if_no_other_has_the_same_answer() -> None:
    given = list(candidates(SMALL))
    needed = {each.key: needs_key(each, SMALL, Homely()) for each in given if not each.distracted}
    assert needed == {"france": True, "spain": True, "green": True}

    class Parisian(Homely):
        """Without any country it says Paris, too."""

        def __init__(self) -> None:
            super().__init__(lambda words: {"madrid" if "spain" in words else "paris": 0.8})

    assert not needs_key(given[[each.key for each in given].index("france")], SMALL, Parisian())


def test_the_file_is_what_the_generator_makes_of_its_pairs() -> None:
    shipped = [Example(**each.model_dump()) for each in examples()]
    made = [each.model_dump() for each in candidates(read_source())]
    fields = set(Candidate.model_fields)
    places = defaultdict(list)
    for each in shipped:
        places[each.kind, each.split].append(made.index(each.model_dump(include=fields)))
    assert all(own == sorted(set(own)) for own in places.values())
    assert len(shipped) >= 100 and len({each.kind for each in shipped}) >= 8
    known = {*read_source().developed_on}
    others = Counter((e.kind, e.split) for e in shipped if (e.key, e.target) not in known)
    assert max(others.values()) <= MOST
    assert {each.distracted for each in shipped} == {True, False}
    splits = defaultdict(set)
    for each in shipped:
        splits[each.key, each.target].add(each.split)
    assert max(map(len, splits.values())) == 1
    # Nothing is tested on what the method was developed on.
    assert all(splits[pair] <= {"dev"} for pair in known)
    assert not {*PROMPTS} & {each.prompt for each in examples("test")}


@pytest.mark.parametrize("split", get_args(Split))
def test_each_split_is_a_set_of_its_own_whose_first_prompts_are_of_all_kinds(split: Split) -> None:
    every = examples(split)
    assert {each.split for each in every} == {split} and len(every) >= 50
    assert evenly(every, None) == every
    rows = read_rows(shipped_sets()[f"longra-{split}"])
    assert [(row.prompt, row.target, row.key) for row in rows] == [
        (each.prompt, each.target, each.key) for each in every
    ]


def test_prompts_are_chosen_evenly_over_the_kinds() -> None:
    every = sorted(examples("test"), key=lambda each: each.kind)
    kinds = list(dict.fromkeys(each.kind for each in every))
    some = evenly(every, len(kinds) + 1)
    assert [each.kind for each in some] == [*kinds, kinds[0]]
    assert evenly(every, None) != every and len(evenly(every, None)) == len(every)


@pytest.mark.model
def test_the_model_answers_them_right(bundled: TransformersScorer) -> None:
    for each in evenly(examples(), 8):
        assert is_next_word(each.prompt, each.target, bundled), each.prompt
        known = Candidate(**each.model_dump(exclude={"key_needed"}))
        assert needs_key(known, read_source(), bundled) is each.key_needed
