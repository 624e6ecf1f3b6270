"""What a study says as a whole: table, means with intervals, sentences, report, cost."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from reagent_core.check import Erasure, Estimate, SoftMeasures, SoftMissing
from reagent_core.config import ReplacerName
from reagent_core.cost import Speed
from reagent_core.scorers.base import FloatArray
from reagent_core.study import intervals
from reagent_core.study.cost import StudyCost, study_cost
from reagent_core.study.export import COLUMNS, results_csv, results_frame, results_parquet
from reagent_core.study.folder import StudyFolder
from reagent_core.study.intervals import bootstrap_ends
from reagent_core.study.plan import MethodFound, Outcome, Row, Study, Task
from reagent_core.study.report import shown_prompts, study_report
from reagent_core.study.run import run_study
from reagent_core.study.summary import best_method, counts, finding, summary
from reagent_core.study.terminal import show_study
from reagent_core.study.words import (
    cost_sentence,
    duration,
    judged_words,
    missing_keys_words,
    note_lines,
)
from reagent_core.study.work import Worked, failed, work_on
from tests.test_study_run import STUDY, scorer  # noqa: F401
from tests.tiny import Homely

# Areas by prompt: the second is ahead by 0.2 everywhere, the third about as good as the first.
AREAS = {
    "reagent": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    "shapley": [0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
    "random": [0.2, 0.1, 0.4, 0.3, 0.6, 0.44],
}
SIX = Study(
    name="six",
    rows=tuple(Row(index=i, prompt=f"=prompt {i} a", key="a" if i < 4 else None) for i in range(6)),
    models=("tiny", "other"),
    methods=tuple(AREAS),
)


def found(method: str, area: float | None, key_rank: int | None = None) -> MethodFound:
    sure = Estimate(mean=area or 0.0)
    erasure = Erasure(
        comprehensiveness=sure, sufficiency=sure, comprehensiveness_relative=sure,
        sufficiency_relative=sure,
    )  # fmt: skip
    soft = SoftMeasures(
        sufficiency=Estimate(mean=0.0), comprehensiveness=sure, random_sufficiency=0.1,
        random_comprehensiveness=0.1, log_ratio_sufficiency=None, log_ratio_comprehensiveness=1.5,
        draws=5,
    )  # fmt: skip
    return MethodFound(
        method=method, explanation="0" * 64, units=9, top=("a", "b"), key_rank=key_rank, area=area,
        random_area=0.0, standing="weak", mean=None if area is None else erasure,
        soft=None if area is None else soft, tokens=10, sequences=5, forwards=2, backwards=0,
        seconds=1.5,
    )  # fmt: skip


def outcome(row: int) -> Outcome:
    return Outcome(
        task=Task(model="tiny", row=row),
        status="done",
        answer="yes",
        target="yes",
        value=-0.5,
        found=tuple(
            found(method, areas[row], key_rank=1 + (row == 3)) for method, areas in AREAS.items()
        ),
        replacer="uniform",
        seconds=2.0,
    )


@pytest.fixture
def results() -> pd.DataFrame:
    return results_frame(SIX, [outcome(row) for row in range(6)])


def mean_of(means: pd.DataFrame, method: str, measure: str) -> pd.Series:
    (row,) = (
        mean
        for _, mean in means.iterrows()
        if (mean["method"], mean["measure"]) == (method, measure)
    )
    return row


# --- The table ------------------------------------------------------------------------------------


def test_a_row_for_each_prompt_model_and_method() -> None:
    left_out = outcome(1).model_copy(
        update={"found": outcome(1).found[:2], "refused": (("random", "Not with this model."),)}
    )
    frame = results_frame(SIX, [left_out, failed(Task(model="tiny", row=0), "No.").outcome])
    assert list(frame.columns) == COLUMNS
    assert frame[["row", "method", "status"]].fillna("").values.tolist() == [
        [1, "", "failed"], [2, "reagent", "done"], [2, "shapley", "done"], [2, "random", "refused"],
    ]  # fmt: skip
    assert frame["reason"].fillna("").tolist() == ["No.", "", "", "Not with this model."]
    assert frame.loc[1, ["area", "soft_nc", "soft_nc_log_ratio", "key_first"]].tolist() == [
        0.2, 0.2, 1.5, True,
    ]  # fmt: skip
    assert frame.loc[1, "soft_ns_log_ratio"] is pd.NA or np.isnan(frame.loc[1, "soft_ns_log_ratio"])


def test_it_can_be_read_again(results: pd.DataFrame) -> None:
    again = pd.read_parquet(io.BytesIO(results_parquet(results)))
    assert again["top"][0].tolist() == ["a", "b"]
    pd.testing.assert_frame_equal(again.drop(columns="top"), results.drop(columns="top"))
    table = pd.read_csv(io.StringIO(results_csv(results)))
    assert list(table.columns) == COLUMNS
    assert table["prompt"][0] == "'=prompt 0 a", "no spreadsheet runs it"
    assert json.loads(table["top"][0]) == ["a", "b"]
    assert table["area"].tolist() == results["area"].tolist()
    assert len(pd.read_csv(io.StringIO(results_csv(results_frame(SIX, []))))) == 0


# --- Means ----------------------------------------------------------------------------------------


def test_means_with_intervals_and_paired_differences(results: pd.DataFrame) -> None:
    means = summary(SIX, results)
    assert set(means["model"]) == {"tiny"}
    area = mean_of(means, "reagent", "area")
    assert (area["n"], area["mean"]) == (6, pytest.approx(0.35))
    # The bootstrap of a mean comes to about the normal interval, a little narrower for few values.
    reach = 1.96 * np.std(AREAS["reagent"]) / np.sqrt(6)
    assert area["low"] == pytest.approx(0.35 - reach, abs=0.02)
    assert area["high"] == pytest.approx(0.35 + reach, abs=0.02)
    assert np.isnan(area["difference"])
    ahead = mean_of(means, "shapley", "area")
    assert (ahead["difference"], ahead["pairs"]) == (pytest.approx(0.2), 6)
    assert np.isnan(ahead["difference_low"]), "all differences are equal: nothing has varied"
    level = mean_of(means, "random", "area")
    assert level["difference"] == pytest.approx(-0.01)
    assert level["difference_low"] < 0 < level["difference_high"]
    pd.testing.assert_frame_equal(means, summary(SIX, results))


def test_the_hit_rate_has_the_wilson_interval(results: pd.DataFrame) -> None:
    hits = mean_of(summary(SIX, results), "reagent", "key_first")
    assert (hits["n"], hits["mean"]) == (4, 0.75), "two of the prompts have no key"
    assert (hits["low"], hits["high"]) == (pytest.approx(0.301, abs=1e-3),
                                           pytest.approx(0.954, abs=1e-3))  # fmt: skip


def test_a_key_that_is_not_in_the_prompt_is_no_miss() -> None:
    """“a” is in “=prompt 0 a” alone, not in “ban” or, with another case, in “A”; in Chinese no
    space is between words."""
    texts = ("=prompt 0 a", "ban", "A", "=prompt", "b", "我住在泰国。")
    keys = ("a ", "a", "a", "b", None, "泰国")
    rows = [Row(index=i, prompt=texts[i], key=keys[i]) for i in range(6)]
    study = SIX.model_copy(update={"rows": tuple(rows)})
    assert [row.lacks_its_key for row in rows] == [False, True, True, True, False, False]
    frame = results_frame(study, [outcome(row) for row in range(4)])
    own = frame[frame["method"] == "reagent"]["key_first"]
    assert own.tolist() == [True, pd.NA, pd.NA, pd.NA]
    assert mean_of(summary(study, frame), "reagent", "key_first")["n"] == 1
    assert missing_keys_words(study).startswith("Keys that are not in their prompts")
    assert "whole words: 3 of 5." in missing_keys_words(study)
    assert missing_keys_words(STUDY).endswith("1 of 3. “Key first” leaves these prompts out.")


def test_few_prompts_have_no_interval_and_what_is_missing_is_left_out() -> None:
    some = [outcome(row) for row in range(3)]
    some.append(outcome(3).model_copy(update={"found": (found("reagent", None),)}))
    means = summary(SIX, results_frame(SIX, some))
    area = mean_of(means, "reagent", "area")
    assert (area["n"], area["mean"]) == (3, pytest.approx(0.2))
    assert np.isnan(area["low"]) and np.isnan(area["high"])
    assert mean_of(means, "reagent", "seconds")["n"] == 4
    assert np.isnan(mean_of(means, "reagent", "soft_ns_log_ratio")["mean"]), "log 0"
    assert summary(SIX, results_frame(SIX, [])).empty


def test_log_ratios_are_those_of_means_so_that_no_prompt_with_a_zero_is_left_out() -> None:
    """Soft-NC 0, 0.1, ... 0.5 beside 0.1 of random scores: of the first there is no log ratio."""
    zero = [
        outcome(row).model_copy(
            update={"found": (found("reagent", row / 10), found("shapley", (row + 1) / 10))}
        )
        for row in range(6)
    ]
    means = summary(SIX, results_frame(SIX, zero))
    ratio = mean_of(means, "reagent", "soft_nc_log_ratio")
    assert (ratio["n"], ratio["mean"]) == (6, pytest.approx(np.log(0.25 / 0.1)))
    # The interval of the logarithm is that of the mean: random scores do not vary here.
    plain = mean_of(means, "reagent", "soft_nc")
    assert [ratio["low"], ratio["high"]] == pytest.approx(
        np.log([plain["low"] / 0.1, plain["high"] / 0.1])
    )
    ahead = mean_of(means, "shapley", "soft_nc_log_ratio")
    assert (ahead["difference"], ahead["pairs"]) == (pytest.approx(np.log(0.35 / 0.25)), 6)
    assert 0 < ahead["difference_low"] < np.log(0.35 / 0.25) < ahead["difference_high"]


def test_where_nothing_speaks_for_the_target_the_soft_measures_are_0() -> None:
    """The first method has none on the rows 0 and 5. Where it found nothing there they count, so
    that it is compared over all rows; where they cannot be measured they do not."""

    def by(row: int, missing: SoftMissing | None) -> Outcome:
        own = found("reagent", row / 10)
        silent = own.model_copy(update={"soft": None, "soft_missing": missing})
        first = silent if row in (0, 5) else own
        return outcome(row).model_copy(update={"found": (first, found("shapley", row / 10 + 0.1))})

    def ratio(missing: SoftMissing | None) -> list[float]:
        results = results_frame(SIX, [by(row, missing) for row in range(6)])
        means = summary(SIX, results)
        assert mean_of(means, "reagent", "area")["n"] == 6
        plain, told = (mean_of(means, "reagent", f"soft_nc{each}") for each in ("", "_log_ratio"))
        pairs = mean_of(means, "shapley", "soft_nc_log_ratio")["pairs"]
        assert plain["n"] == told["n"] == pairs
        return [pairs, plain["mean"], told["mean"]]

    # Soft-NC of the rows 1 to 4 is 0.1 to 0.4, that of random scores 0.1 each.
    assert ratio("nothing_important") == pytest.approx([6, 1 / 6, np.log(1.0 / 0.4)])
    for missing in ("not_measurable", None):
        assert ratio(missing) == pytest.approx([4, 0.25, np.log(1.0 / 0.4)])


def test_of_many_prompts_groups_are_drawn_which_vary_as_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(1)
    values = np.stack([draw.exponential(1.0, 2003), draw.normal(5.0, 2.0, 2003)], axis=1)
    monkeypatch.setattr(intervals, "MOST", 500)
    seen = []

    def statistic(means: FloatArray) -> FloatArray:
        seen.append(len(means))
        return np.stack([means[:, 0], means[:, 1], np.log(means[:, 0] / means[:, 1])], axis=1)

    low, high = bootstrap_ends(values, statistic)
    assert sum(seen) >= 2000
    own, other = values.mean(0)
    error = np.sqrt(np.var(values, axis=0) / 2003)
    ratio = np.std(values[:, 0] / own - values[:, 1] / other) / np.sqrt(2003)  # delta method
    width = 2 * 1.96 * np.array([*error, ratio])
    assert high - low == pytest.approx(width, rel=0.15)
    assert (low + high) / 2 == pytest.approx([own, other, np.log(own / other)], abs=0.01)


def test_how_many_prompts_a_mean_is_over_is_said_where_not_all_have_it(
    results: pd.DataFrame,
) -> None:
    some = results.copy()
    some.loc[(some["method"] == "random") & (some["row"] == 2), ["soft_nc", "soft_nc_random"]] = (
        np.nan
    )
    means = summary(SIX, some)
    console = Console(file=io.StringIO(), width=200)
    show_study(console, SIX, some, means)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert told.count("over 5 prompts") == 1 and told.count("over 4 prompts") == 3, "of the key"


def test_the_terminal_compares_soft_measures_with_random_scores(results: pd.DataFrame) -> None:
    """As they are they favour flat scores, whatever these say."""

    def shown(results: pd.DataFrame) -> str:
        console = Console(file=io.StringIO(), width=200)
        show_study(console, SIX, results, summary(SIX, results))
        return str(console.file.getvalue())  # type: ignore[attr-defined]

    told = shown(results)
    (header,) = (line for line in told.splitlines() if "Comprehensiveness" in line)
    assert header.split("  ")[-1] == "Soft-NC, log ratio ↑", "of Soft-NS it is not known here"
    first, _ = (line for line in told.splitlines() if line.startswith("ReAGent  "))
    assert first.split()[-1] == f"{np.log(0.35 / 0.1):.2f}"
    line = "Log ratios: to the same scores dealt out at random; 0 is no better."
    assert line in told
    assert line not in shown(results.assign(soft_nc=np.nan))


def test_prompts_are_counted(results: pd.DataFrame) -> None:
    gone = failed(Task(model="other", row=2), "No.").outcome
    both = results_frame(SIX, [*(outcome(row) for row in range(6)), gone])
    assert counts(SIX, both).values.tolist() == [["tiny", 6, 0, 0], ["other", 0, 1, 5]]


def test_a_sentence_says_who_is_ahead(
    results: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finding(SIX, results, "tiny") == (
        "Shapley value sampling has the largest area on 6 prompts: too few to tell it from the "
        "others."
    )
    monkeypatch.setattr("reagent_core.study.summary.ENOUGH", 6)
    assert finding(SIX, results, "tiny") == (
        "Shapley value sampling orders the tokens most faithfully on 6 prompts; ReAGent cannot be "
        "told from it."
    ), "of equal differences chance cannot be told"
    assert best_method(results, "tiny") == "shapley"
    assert finding(SIX, results, "other") == "Nothing is known of the faithfulness yet."
    varied = results.assign(area=results["area"] + np.tile([0, 1, 0], 6) * np.repeat(
        [0, 0.01, 0, 0.02, 0, 0.03], 3))  # fmt: skip
    assert finding(SIX, varied, "tiny").endswith("ahead of every other method beyond chance.")
    two = results[results["method"] != "shapley"]
    assert finding(SIX, two, "tiny") == (
        "On 6 prompts no method is clearly ahead; ReAGent has the largest area."
    )
    alone = results[results["method"] == "random"]
    assert finding(SIX, alone, "tiny") == "Random has a mean area of 0.34 on 6 prompts."


def test_methods_that_are_alike_are_seldom_told_apart() -> None:
    """A true null: the share of studies that see a difference is no larger than 5%, about."""
    draw = np.random.default_rng(0)
    names = [f"method{i}" for i in range(9)]
    told = 0
    for _ in range(100):
        results = pd.DataFrame(
            [("done", "tiny", row, name, draw.normal(0.5, 0.2)) for row in range(10)
             for name in names], columns=["status", "model", "row", "method", "area"],
        )  # fmt: skip
        told += "no method is clearly ahead" not in finding(SIX, results, "tiny")
    assert told <= 10


# --- What it was judged with ----------------------------------------------------------------------


def judged(replacer: ReplacerName, *methods: str) -> str:
    """What is said of a study by these methods that was judged with `replacer`."""
    study = SIX.model_copy(update={"methods": methods or SIX.methods})
    one = outcome(0).model_copy(update={"replacer": replacer})
    return judged_words(study, results_frame(study, [one]))


def test_what_judged_is_told_with_its_kin(results: pd.DataFrame) -> None:
    lead = "The faithfulness is judged with replacements by"
    assert judged("causal_lm_reranked", "reagent", "shapley") == (
        f"{lead} causal_lm_reranked, which weighs the proposals that made the explanation in "
        "another way."
    )
    assert judged("causal_lm_reranked", "reagent", "random").endswith(
        "in another way (some methods replace nothing)."
    )
    assert judged("causal_lm_reranked", "random") == (
        f"{lead} causal_lm_reranked, which did not make the explanation."
    )
    assert judged("uniform") == f"{lead} uniform, which did not make the explanation."
    assert judged_words(SIX, results_frame(SIX, [])) == "", "nothing is done"
    console = Console(file=io.StringIO(), width=200)
    show_study(console, SIX, results, summary(SIX, results))
    assert judged("uniform") in console.file.getvalue()  # type: ignore[attr-defined]


def test_models_may_be_judged_with_different_replacers() -> None:
    other = outcome(0).model_copy(
        update={"task": Task(model="other", row=0), "replacer": "causal_lm_reranked"}
    )
    told = judged_words(SIX, results_frame(SIX, [outcome(0), other]))
    assert told.startswith("With tiny the faithfulness is judged with replacements by uniform, ")
    assert " With other the faithfulness is judged with replacements by causal_lm_rer" in told


# --- The report -----------------------------------------------------------------------------------


def test_the_report_holds_everything_and_loads_nothing(tmp_path: Path) -> None:
    nasty = "</script><img src=x onerror=alert(1)> the capital of france is"
    rows = (*STUDY.rows, Row(index=4, prompt=nasty, target="paris", key="<b>"))
    study = STUDY.model_copy(update={"rows": rows, "name": "<i>capitals</i>"})
    folder = StudyFolder.create(tmp_path / "study", study)
    list(run_study(folder))
    results = results_frame(study, folder.outcomes())
    page = study_report(folder, results, summary(study, results))
    assert '<h1 dir="auto">&lt;i&gt;capitals&lt;/i&gt;</h1>' in page
    assert "<img" not in page and "https://" not in page
    assert re.findall(r"<th scope=\"row\">(ReAGent|Leave-one-out|Random)</th>", page)
    assert "This is empty" in page, "the reason of the row that failed"
    assert "by causal_lm_reranked, which weighs the proposals that made the explanation" in page
    assert "4 prompts done, 1 failed" in page
    assert "Gradient norm was left out: Gradient norm looks inside a model" in page
    assert "whole words: 2 of 4." in page and page.count("not in the prompt") == 6
    (picture,) = re.findall(r'<svg role="img".*?</svg>', page, re.S)
    assert picture.count("<circle") == 3 and "Area against seconds a prompt" in picture
    assert 'class="sure apart"' not in page, "four prompts are too few to tell methods apart"
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert data is not None
    strips = json.loads(data[1])
    assert [strip is None for strip in strips] == [False, False, True, False, False]
    assert "".join(token["text"] for token in strips[4]["tokens"]) == nasty
    folder.close()


def test_the_report_lists_the_same_rows_of_each_model_and_all_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reagent_core.study.report.MOST_PROMPTS", 4)
    outcomes = [outcome(row) for row in range(6)]  # in the order they ended
    other = [each.task.model_copy(update={"model": "other"}) for each in outcomes]
    outcomes += [outcome(task.row).model_copy(update={"task": task}) for task in other]
    outcomes[9] = failed(other[3], "No.").outcome
    outcomes[11] = failed(other[5], "No.").outcome
    shown = [(each.task.row, each.task.model, each.status) for each in shown_prompts(SIX, outcomes)]
    assert shown == [
        (0, "tiny", "done"), (0, "other", "done"), (1, "tiny", "done"), (1, "other", "done"),
        (3, "other", "failed"), (5, "other", "failed"),
    ]  # fmt: skip


def test_what_to_know_before_comparing_is_in_table_report_and_terminal(tmp_path: Path) -> None:
    note = "Only a <part> was looked at."
    study = STUDY.model_copy(update={"methods": ("random", "leave_one_out")})
    folder = StudyFolder.create(tmp_path / "study", study)
    for task in study.tasks[:2]:
        worked = work_on(task, study, Homely())
        noted = worked.outcome.model_copy(update={"notes": (note,)})
        folder.keep(Worked(noted if task.row else worked.outcome, worked.explanations))
    results = results_frame(study, folder.outcomes())
    assert results["notes"].fillna("").tolist() == ["", "", note, note]
    assert pd.read_csv(io.StringIO(results_csv(results)))["notes"].dropna().tolist() == [note] * 2
    means = summary(study, results)
    page = study_report(folder, results, means)
    assert page.count("Only a &lt;part&gt; was looked at.") == 2, "of the model, and of the row"
    console = Console(file=io.StringIO(), width=200)
    show_study(console, study, results, means)
    assert f"Of 1 prompt: {note}" in console.file.getvalue()  # type: ignore[attr-defined]
    folder.close()


def noted(*notes: tuple[str, ...]) -> pd.DataFrame:
    """The results of prompts with these notes."""
    return results_frame(
        SIX, [outcome(row).model_copy(update={"notes": own}) for row, own in enumerate(notes)]
    )


def test_equal_notes_are_told_once_whatever_their_numbers() -> None:
    def budget(tokens: int) -> str:
        return f"Leave-one-out: More than 40 sequences: there are {tokens:,} tokens of gpt2."

    def gap(gained: float) -> str:
        return f"Integrated gradients: They should add up to {gained:.2f} nats."

    assert note_lines(noted((budget(1_045), gap(-0.5)), (budget(61),), (), (gap(12.0),))) == [
        f"Of 2 prompts (numbers of the first): {budget(1_045)}",
        f"Of 2 prompts (numbers of the first): {gap(-0.5)}",
    ]
    both = noted((budget(61),), (budget(61), budget(61).replace("gpt2", "gpt3")), (gap(1),))
    assert note_lines(both) == [
        f"Of 2 prompts: {budget(61)}",
        f"Of 1 prompt: {budget(61).replace('gpt2', 'gpt3')}",
        f"Of 1 prompt: {gap(1)}",
    ]
    many = noted(*(tuple(f"Note {own}{letter}." for letter in "uvwx") for own in "aba"))
    assert note_lines(many)[4:] == [
        "Of 1 prompt: Note bu.",
        "Of 1 prompt there are other notes: beside each, and in the tables.",
    ]
    assert note_lines(noted((), ())) == []


def test_the_report_of_a_study_that_has_not_begun(tmp_path: Path) -> None:
    folder = StudyFolder.create(tmp_path / "study", STUDY)
    results = results_frame(STUDY, [])
    page = study_report(folder, results, summary(STUDY, results))
    assert "0 of 4 tasks have ended" in page and "4 not done yet" in page


# --- The cost -------------------------------------------------------------------------------------


def test_the_cost_is_about_what_it_then_takes() -> None:
    done = 0
    for task in (STUDY.tasks[0], STUDY.tasks[1]):
        own = Homely()
        work_on(task, STUDY, own)
        done += sum(own.calls)
    said = study_cost(STUDY, "tiny", Homely(), Speed(0.1, 500))
    assert (said.tasks, said.unread) == (4, 1)
    assert 1 / 2 < said.sequences * 2 / 3 / done < 2, "one of the four cannot be explained"
    assert said.seconds == pytest.approx(said.tokens / 500, rel=0.5)
    half = study_cost(STUDY, "tiny", Homely(), None, tasks=2)
    assert half.seconds is None and half.sequences == pytest.approx(said.sequences / 2, abs=1)
    assert (said + half).seconds is None and (said + half).tasks == 6


@pytest.mark.parametrize(("method", "least"), [("leave_one_out", 1), ("shapley", 2)])
def test_the_cost_of_a_method_that_exceeds_a_small_budget(method: str, least: int) -> None:
    study = STUDY.model_copy(
        update={"rows": STUDY.rows[:1], "methods": (method, "random"), "budget": 1}
    )
    units = least * 8

    def said(budget: int) -> int:
        asked = study.model_copy(update={"budget": budget})
        return study_cost(asked, "tiny", Homely(), None).sequences

    assert said(1) == said(units) == said(units + 5) - 5
    took = work_on(study.tasks[0], study, Homely()).outcome.found[0].sequences
    assert 1 < took <= units + 1, "the original, and equal prompts once"


def test_the_surrogate_costs_what_reagents_run_does_once() -> None:
    def said(*methods: str, budget: int | None = None) -> int:
        study = STUDY.model_copy(update={"methods": methods, "budget": budget})
        return study_cost(study, "tiny", Homely(), None).sequences

    run, curves = said("reagent") - said("random"), said("reagent", "random") - said("reagent")
    assert said("reagent", "surrogate") == said("reagent") + curves
    assert said("surrogate") == said("reagent") == said("random") + run
    drawn = said("surrogate", "random", budget=40) - said("random") - curves
    assert drawn == 3 * 40, "of the three prompts that can be explained"


def test_costs_in_words() -> None:
    cost = StudyCost(tasks=40, sequences=51_729, tokens=1_400_321, requests=0, seconds=725.0)
    assert cost_sentence(cost) == "About 13 min: 40 tasks, 52,000 sequences, 1,400,000 tokens."
    server = StudyCost(1, 99, 500, 120, None, unread=1)
    assert cost_sentence(server) == (
        "About 1 task, 120 requests to the server, 99 sequences, 500 tokens. 1 of the prompts "
        "looked at cannot be explained."
    )
    told = [duration(seconds) for seconds in (0.2, 59, 60, 3_600, 8_000, 50_000, 300_000)]
    assert told == ["1 s", "59 s", "1 min", "1 h", "2 h 14 min", "14 h", "3 days"]
