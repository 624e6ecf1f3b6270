"""The tables of the long benchmarks: places, ties, resuming."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import coverage, resumed
from benchmarks.faithfulness_tables import HARD, RATHER, SOFT, Done, Judged, table, work
from benchmarks.longra import Example
from reagent_core.check import Erasure, Estimate, SoftMeasures
from reagent_core.explanation import Counts
from tests.test_checker import FRANCE, Homely


def judged(method: str, lost: float, *, soft: bool = True, rank: int = 1) -> Judged:
    """A method by which so many nats are lost when the top goes, and so many less when it stays."""
    told = Estimate(mean=lost)
    left = Estimate(mean=1 - lost / 10)
    return Judged(
        method=method,
        counts=Counts(forwards=1, sequences=10, tokens=100, backwards=2),
        key_rank=rank,
        mean=Erasure(
            comprehensiveness=told,
            sufficiency=Estimate(mean=10 - lost),
            comprehensiveness_relative=Estimate(mean=lost / 10),
            sufficiency_relative=left,
        ),
        soft=SoftMeasures(
            sufficiency=Estimate(mean=lost / 10),
            comprehensiveness=Estimate(mean=lost / 5),
            random_sufficiency=0.1,
            random_comprehensiveness=0.1,
            log_ratio_sufficiency=None,
            log_ratio_comprehensiveness=None,
            draws=5,
        )
        if soft
        else None,
    )


def example(needed: bool = True) -> Example:
    return Example(
        prompt=FRANCE, target="paris", key="france", foil="madrid", kind="capital",
        distracted=False, split="test", key_needed=needed,
    )  # fmt: skip


def parts() -> list[Done]:
    """Shapley is as good as ReAGent but for noise, chance is worse."""
    noise = (0.3, -0.2, 0.1, -0.1, 0.2, -0.2)
    return [
        Done(
            key=str(i),
            example=example(needed=i > 0),
            units=5,
            rather_rank=1 if i else None,
            found={
                each.method: each
                for each in (
                    judged("reagent", 5.0 + 0.1 * i),
                    judged("shapley", 5.0 + 0.1 * i + extra, rank=1 if i < 4 else 2),
                    judged("random", 2.0 + 0.1 * i, soft=i > 0),
                )
            },
        )
        for i, extra in enumerate(noise)
    ]


def test_places_go_by_means_and_ties_by_the_difference_on_equal_prompts() -> None:
    rows = table(parts(), HARD)
    assert [row["method"] for row in rows] == ["Shapley value sampling", "ReAGent", "Random"]
    told = [str(row["comprehensiveness (nats)"]) for row in rows]
    assert [cell.split(", ")[1] for cell in told] == ["1=", "2", "3"]
    assert told[1].startswith("5.25 (5.")
    # Of sufficiency the lowest is best.
    assert [str(row["sufficiency (nats)"]).split(", ")[1] for row in rows] == ["1=", "2", "3"]


def test_soft_ratios_are_of_means() -> None:
    (own, *_) = [row for row in table(parts(), SOFT) if row["method"] == "ReAGent"]
    assert str(own["Soft-NS, log ratio to random"]).startswith("1.66 ")  # log(0.525 / 0.1)
    (chance, *_) = [row for row in table(parts(), SOFT) if row["method"] == "Random"]
    # Where nothing speaks for the target, nothing is kept: 0 is one of the six.
    assert str(chance["Soft-NS"]).startswith("0.192 ")


def test_the_key_counts_where_it_is_needed() -> None:
    own = work(parts(), "reagent")
    # Wilson's interval: five that all hit are no certainty.
    assert str(own["key is strongest"]) == "1.00 (0.57 to 1.00)"
    assert str(own[RATHER]).startswith("1.00 ")  # the one that misses does not need it
    assert str(work(parts(), "shapley")["key is strongest"]).startswith("0.60 ")
    row = work(parts(), "random")
    assert (row["method"], row["sequences"], row["backwards"]) == ("Random", 10, 2)


def test_a_line_that_was_cut_off_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumed, "FOLDER", tmp_path / "bench")
    assert resumed.lines("some", Example) == []
    resumed.append("some", example())
    file = tmp_path / "bench" / "some.jsonl"
    file.write_text(file.read_text("utf-8") + '{"prompt": "the cap', "utf-8")
    assert resumed.lines("some", Example) == [example()]
    resumed.append("some", example(needed=False))
    assert resumed.lines("some", Example) == [example(), example(needed=False)]


def test_the_note_on_coverage_counts_the_prompts_that_meet_the_goal() -> None:
    assert {each.split for each in coverage.chosen(10, Homely())} == {"dev"}
    held = [0.9, 0.92999, 0.93, 0.9704, 0.971, 1.0, 1.0]  # 93.0% and 97.0% in the table
    parts = [
        coverage.Covered(
            key=str(i), prompt=FRANCE, kind="capital", tokens=5, inside=[mean], known=[5], units=5,
            top=[mean], half=[1.0], error=[0.1], steps=[80], sequences=80,
        )
        for i, mean in enumerate(held)
    ]  # fmt: skip
    told = coverage.note(parts, 3)
    assert told.startswith("3 runs of the preset Standard with other seeds on each prompt of the")
    assert "Of 7 prompts 3 lie inside 93% to 97%, 1 below and 3 above." in told


def test_intervals_are_held_against_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"probes": 2, "min_steps": 40, "max_steps": 40}
    monkeypatch.setattr(coverage, "DEFAULT", coverage.DEFAULT.model_copy(update=short))
    monkeypatch.setattr(coverage, "LONG_RUN", coverage.LONG_RUN.model_copy(update=short))
    found = coverage.covered(example(), Homely(), 3, "key")
    assert (found.units, found.tokens, len(found.inside)) == (5, 5, 3)
    # One word decides, whatever stands in its place: every run finds the same.
    assert found.inside == found.top == [1.0] * 3
    assert found.error == pytest.approx([0.0] * 3, abs=1e-6)
    assert found.steps == [80] * 3
