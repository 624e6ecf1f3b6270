"""Methods side by side: agreement, faithfulness, words and pictures, the command line."""

from __future__ import annotations

import json
import math
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from reagent_core import models
from reagent_core.baselines.attribute import attribute
from reagent_core.baselines.compared import (
    Faithful,
    MethodsCompared,
    full_share,
    shared_strips,
    signed_shares,
)
from reagent_core.baselines.compared_words import places_sentence
from reagent_core.baselines.comparison import agreement, compare_methods, faithful_all
from reagent_core.baselines.methods import METHODS, method_named
from reagent_core.check import Estimate, SoftMeasures
from reagent_core.checker import check_now
from reagent_core.cli import app
from reagent_core.config import PRESETS, Config
from reagent_core.errors import Cancelled, InputError, OutOfMemory
from reagent_core.explanation import Explanation, UnitScore
from reagent_core.export import scores_frame
from reagent_core.method_words import score_name
from reagent_core.report import html_report
from reagent_core.request import AnswerTokens, Request, WholeAnswer
from reagent_core.scorers.transformers_lm import TransformersScorer
from reagent_core.sentences import main_measure, ranking, summary
from reagent_core.strip import prompt_strip
from reagent_core.terminal import legend
from reagent_core.terminal_methods import faithful_table, show_methods
from tests.test_checker import FRANCE, LONG, Homely
from tests.tiny_models import tiny_encoder_decoder_scorer, tiny_scorer

QUICK = Config(probes=2, min_steps=20, max_steps=30)
ANY = ["reagent", "leave_one_out", "shapley", "surrogate", "random"]


def asked(prompt: str = LONG, **options: object) -> Request:
    given = {"config": QUICK, "max_new_tokens": 3, "target": AnswerTokens(), **options}
    return Request(prompt=prompt, **given)


def compared(names: list[str], scorer: Homely | None = None, **options: object) -> MethodsCompared:
    steps = compare_methods(names, asked(), scorer or Homely(), budget=60, **options)
    *_, last = steps
    assert last.compared is not None
    return last.compared


def with_numbers(explanation: Explanation, *numbers: float) -> Explanation:
    """The explanation by input x gradient with these attributions."""
    total = sum(map(abs, numbers))
    units = tuple(
        UnitScore(text=u.text, start=u.start, end=u.end, protected=False, attribution=number,
                  score=abs(number) / total)
        for u, number in zip(explanation.units, numbers, strict=True)
    )  # fmt: skip
    return explanation.model_copy(update={"units": units, "method": "input_x_gradient"})


@pytest.fixture(scope="module")
def by_gradient() -> Explanation:
    found = attribute(method_named("random"), asked(FRANCE), Homely())
    return with_numbers(found, 1.0, -4.0, 0.0, 3.0, 2.0)


# --- Side by side ---------------------------------------------------------------------------------


def test_all_methods_explain_the_same_answer() -> None:
    found = compared(ANY)
    assert [result.method for result in found.results] == ANY
    assert len({result.explanation.target for result in found.results}) == 1
    for result in found.results[:4]:
        first = ranking(result.explanation, main_measure(result.explanation))[0]
        assert result.explanation.units[first].text == " france"
        assert result.faithful is not None and result.faithful.standing == "better"
    assert MethodsCompared.model_validate_json(found.model_dump_json()) == found
    keys = [result.key for result in found.results]
    assert len(set(keys)) == len(ANY)
    assert keys[0] == asked().key(Homely().info)  # where a run by itself is kept


def test_methods_land_one_after_the_other() -> None:
    steps = list(compare_methods(["leave_one_out", "random"], asked(), Homely(), budget=60))
    assert [len(step.found) for step in steps] == [0, 1, 2, 2, 2]
    assert steps[-1].compared is not None and steps[-1].found == steps[-1].compared.results


def test_faithfulness_lands_one_after_the_other() -> None:
    scorer = Homely()
    names, read = ["leave_one_out", "random"], []
    steps = []
    for step in compare_methods(names, asked(), scorer, budget=60):
        steps.append(step)
        read.append(sum(scorer.calls))
    assert [(step.doing, step.done, step.total) for step in steps] == [
        ("Leave-one-out", 0, 4), ("Random", 1, 4), ("Faithfulness of Leave-one-out", 2, 4),
        ("Faithfulness of Random", 3, 4), ("Done", 4, 4),
    ]  # fmt: skip
    known = [[each.faithful is not None for each in step.found] for step in steps[2:]]
    assert known == [[False, False], [True, False], [True, True]]
    assert steps[3].found[0] == steps[4].found[0], "what was shown does not change any more"
    assert read[3] < read[4], "the second is judged after the first was shown"


def test_faithfulness_is_that_of_a_check_and_random_orders_are_read_once() -> None:
    one, other = (result.explanation for result in compared(["leave_one_out", "random"]).results)
    checks = [check_now(each, Homely(), replacer="uniform") for each in (one, other)]
    scorer = Homely()
    both = faithful_all([one, other], scorer, "uniform")
    for told, single in zip(both, checks, strict=True):
        assert told is not None
        assert told.area == pytest.approx(single.insertion.area - single.deletion.area)
        assert (told.beaten, told.standing) == (single.beaten, single.standing)
        assert told.mean == single.mean
        assert told.soft is single.soft is None  # the tiny scorer has no embeddings
        assert told.soft_missing == "not_measurable"
    apart = sum(single.counts.sequences for single in checks)
    assert sum(scorer.calls) < 0.8 * apart


def test_in_a_long_prompt_all_are_compared_on_what_reagent_looked_at() -> None:
    """Its units are others there: most are whole sentences."""
    filler = "the big red city is in a green one ! "
    prompt = f"{filler * 17}{FRANCE} blue two ! {filler * 9}".strip()
    request = asked(prompt, config=PRESETS["quick"])
    *_, last = compare_methods(["leave_one_out", "reagent"], request, Homely(), budget=10, draws=1)
    found = last.compared
    assert found is not None
    alone, own = (result.explanation for result in found.results)
    assert len(alone.units) > 5 * len(own.units)
    for result in found.results:  # france comes first, and all is lost with it
        assert result.faithful is not None
        assert result.faithful.area > result.faithful.random_area + 0.2
        assert result.faithful.area == pytest.approx(
            found.results[0].faithful.area  # type: ignore[union-attr]
        )
    count = sum(unit.stepped for unit in own.units)
    assert found.notes == (
        f"This prompt is long: ReAGent chose {count} of its 268 tokens to look at one by one. "
        f"Faithfulness and agreement of all methods are about these {count}; all else stayed as "
        "it is.",
    )
    start = prompt.index("france") - 1
    assert places_sentence(found.results, start).startswith("“france”: place 1 by Leave-one-out")
    assert places_sentence(found.results, 5).startswith("“big")


def test_agreement_is_kendalls_tau(by_gradient: Explanation) -> None:
    turned = with_numbers(by_gradient, -1.0, 4.0, 0.0, -3.0, -2.0)
    swapped = with_numbers(by_gradient, 1.0, -4.0, 0.0, 2.0, 3.0)  # one of ten pairs
    flat = with_numbers(by_gradient, 1.0, 1.0, 1.0, 1.0, 1.0)
    matrix = agreement([by_gradient, turned, swapped, flat])
    assert matrix[0][:3] == pytest.approx((1.0, -1.0, 0.8))
    assert matrix[1][2] == matrix[2][1] == pytest.approx(-0.8)
    assert set(matrix[3]) == {None}


def test_strips_have_one_scale(by_gradient: Explanation) -> None:
    assert signed_shares(by_gradient) == pytest.approx([0.1, -0.4, 0.0, 0.3, 0.2])
    sharp = with_numbers(by_gradient, 0.0, 0.0, 0.0, 8.0, 0.0)
    one, other = shared_strips([by_gradient, sharp])
    assert [piece.weight for piece in one] == pytest.approx([0.1, -0.4, 0.0, 0.3, 0.2])
    assert [piece.weight for piece in other] == pytest.approx([0, 0, 0, 1, 0])
    assert full_share([by_gradient, by_gradient, sharp]) == pytest.approx(0.4), "not that of one"


def test_what_the_model_does_not_allow_is_left_out_with_the_reason() -> None:
    found = compared(["gradient_norm", "leave_one_out", "attention"])
    assert [result.method for result in found.results] == ["leave_one_out"]
    assert [refused.method for refused in found.refused] == ["gradient_norm", "attention"]
    assert found.agreement == ((pytest.approx(1.0),),)
    with pytest.raises(InputError, match=r"can be used\. Gradient norm looks"):
        compared(["gradient_norm"])


def cramped(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for the attention of one token, not of a prompt."""
    monkeypatch.setattr("reagent_core.scorers.eager.free_bytes", lambda device: 10_000)


def test_a_method_that_does_not_fit_is_left_out_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cramped(monkeypatch)
    request, names = asked("the quick brown fox jumps over"), ["attention", "random"]
    steps = list(compare_methods(names, request, tiny_scorer("gpt2"), draws=1))
    assert [(step.doing, step.done, len(step.found)) for step in steps] == [
        ("Attention", 0, 0), ("Random", 1, 0), ("Faithfulness of Random", 3, 1), ("Done", 4, 1),
    ]  # fmt: skip
    found = steps[-1].compared
    assert found is not None and found.results[0].faithful is not None
    ((refused,), (result,)) = found.refused, found.results
    assert (refused.method, result.method) == ("attention", "random")
    assert "not enough memory for the attention" in refused.reason
    with pytest.raises(OutOfMemory, match="Shorten the prompt"):
        list(compare_methods(["attention"], request, tiny_scorer("gpt2")))


def test_without_room_for_the_soft_measures_the_others_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OutOfMemory("There is not enough memory.")

    monkeypatch.setattr("reagent_core.scorers.transformers_lm.TransformersScorer.next_tokens", full)
    request = asked("the quick brown fox jumps over")
    *_, last = compare_methods(["random"], request, tiny_scorer("gpt2"), draws=1)
    assert last.compared is not None
    (result,) = last.compared.results
    assert result.faithful is not None and result.faithful.soft is None
    assert result.faithful.soft_missing == "not_measurable"
    (note,) = last.compared.notes
    assert note.startswith("There is too little memory for the soft measures")
    assert check_now(result.explanation, tiny_scorer("gpt2"), draws=1).notes == (note,)


def test_a_method_by_which_nothing_speaks_for_the_target_has_no_soft_measures() -> None:
    scorer = tiny_scorer("gpt2")
    *_, last = compare_methods(["random"], asked("the quick brown fox"), scorer, draws=1)
    assert last.compared is not None
    own = last.compared.results[0].explanation
    against = with_numbers(own, *(-1.0 - i for i in range(len(own.units))))
    speaking, silent = faithful_all([own, against], scorer, "uniform", draws=1)
    told = (
        "By input × gradient, nothing in the prompt speaks for the target, so it has no soft "
        "measures."
    )
    assert speaking is not None and speaking.soft is not None and speaking.soft_missing is None
    assert silent is not None and silent.soft is None
    assert silent.soft_missing == "nothing_important"
    assert (speaking.notes, silent.notes) == ((), (told,))
    assert check_now(against, scorer, draws=1).notes == (told,)
    old = silent.model_dump(mode="json", exclude={"soft_missing"})
    assert Faithful.model_validate(old).soft_missing is None, "stored before it was told"


def test_a_model_that_computes_something_else_from_embeddings_has_no_soft_measures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = TransformersScorer.next_tokens

    def flatter(scorer: TransformersScorer, *asked: Any) -> np.ndarray:
        found = exact(scorer, *asked) ** 0.2
        return np.asarray(found / found.sum(-1, keepdims=True))

    monkeypatch.setattr(TransformersScorer, "next_tokens", flatter)
    request, names = asked("the quick brown fox"), ["random", "leave_one_out"]
    *_, last = compare_methods(names, request, tiny_scorer("gpt2"), draws=1)
    assert last.compared is not None
    for result in last.compared.results:
        assert result.faithful is not None and result.faithful.soft is None
        assert result.faithful.soft_missing == "not_measurable"
    (note,) = last.compared.notes
    assert "from embeddings this model computes another probability of the target than from" in note
    checked = check_now(last.compared.results[0].explanation, tiny_scorer("gpt2"), draws=1)
    assert checked.soft is None and checked.notes == (note,)


def test_one_that_cannot_do_what_is_asked_is_left_out_too() -> None:
    scorer = tiny_encoder_decoder_scorer("t5")
    request = asked("the quick brown fox", attribute_answer=True)
    *_, last = compare_methods(["attention", "random"], request, scorer, draws=1)
    assert last.compared is not None
    assert [each.method for each in last.compared.results] == ["random"]
    assert "Leave the answer out" in last.compared.refused[0].reason


def test_one_target_at_a_time() -> None:
    request = asked(target=WholeAnswer())
    with pytest.raises(InputError, match="Choose a part"):
        list(compare_methods(["random"], request, Homely()))


def test_it_stops_when_nobody_waits() -> None:
    scorer = Homely()
    steps = compare_methods(ANY, asked(), scorer, cancelled=lambda: len(scorer.calls) > 2)
    with pytest.raises(Cancelled):
        list(steps)


def test_a_real_model_runs_them_all() -> None:
    request = asked("the quick brown fox", config=QUICK.model_copy(update={"probes": 1}))
    names = [method.name for method in METHODS]
    *_, last = compare_methods(names, request, tiny_scorer("gpt2"), budget=40, draws=1)
    found = last.compared
    assert found is not None and not found.refused
    assert [result.method for result in found.results] == names
    shares = [signed_shares(result.explanation) for result in found.results]
    assert np.abs(np.array(shares)).sum(1) == pytest.approx(np.ones(len(names)), abs=1e-5)
    signed = found.results[names.index("input_x_gradient")]
    check = check_now(signed.explanation, tiny_scorer("gpt2"), replacer=found.replacer, draws=1)
    assert check.soft is not None
    assert signed.faithful is not None and signed.faithful.soft == check.soft


# --- In words and pictures ------------------------------------------------------------------------


def test_an_order_with_signs_puts_what_speaks_for_it_first(by_gradient: Explanation) -> None:
    assert main_measure(by_gradient) == "score"
    assert ranking(by_gradient, "score") == ranking(by_gradient) == [3, 4, 0, 2, 1]
    assert summary(by_gradient) == (
        "By input × gradient, “france” mattered most for “paris” (30% of all), then “is” (20%)."
    )
    assert score_name(by_gradient) == "Share by input × gradient"
    assert legend(by_gradient).startswith("Blue speaks for the target, orange against it")


def test_where_nothing_speaks_for_it(by_gradient: Explanation) -> None:
    against = with_numbers(by_gradient, -1.0, -4.0, 0.0, -3.0, -2.0)
    assert summary(against) == "By input × gradient, nothing in the prompt speaks for “paris”."
    noise = attribute(method_named("random"), asked(FRANCE), Homely())
    assert summary(noise).endswith("for “paris”; that means nothing.")
    assert legend(noise) == "Stronger colour, higher Share by random."


def test_effects_are_told_as_those_of_reagent() -> None:
    found = attribute(method_named("leave_one_out"), asked(FRANCE), Homely(), budget=40)
    assert main_measure(found) == "effect"
    assert summary(found).startswith(
        "“france” mattered most for “paris”: replacing it makes “paris” about 8 times less"
    )


def test_a_strip_has_colours_for_and_against(by_gradient: Explanation) -> None:
    pieces = prompt_strip(by_gradient, "score")
    assert [piece.weight for piece in pieces] == [0.25, -1.0, 0.0, 0.75, 0.5]
    assert pieces[1].lines == (
        "“capital”", "Attribution -4", "Share by input × gradient 0.400", "Place 5 of 5 by score",
    )  # fmt: skip


def test_report_and_table_name_the_method(by_gradient: Explanation) -> None:
    page = html_report(by_gradient)
    assert "<th>Share by input × gradient</th>" in page
    assert "Made by Input × gradient." in page and "Zhao" not in page
    frame = scores_frame(by_gradient)
    assert frame["attribution"].tolist() == [1.0, -4.0, 0.0, 3.0, 2.0]
    assert frame["effect"].isna().all()


# --- The command ----------------------------------------------------------------------------------


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> Homely:
    """What `models.load` gives, whatever it is asked for."""
    tiny = Homely()
    monkeypatch.setattr(models, "load", lambda model_id: tiny)
    monkeypatch.delenv("REAGENT_DEBUG", raising=False)
    return tiny


def reagent(*arguments: str) -> Result:
    options = ("--max-new-tokens", "2", "--preset", "quick")
    return CliRunner().invoke(app, ["compare-methods", *arguments, *options])


def test_the_command_prints_everything(scorer: Homely, tmp_path: Path) -> None:
    file = tmp_path / "methods.json"
    result = reagent(FRANCE, "--methods", "reagent,leave_one_out,attention", "--json", str(file))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "Why “paris”, by 2 methods"
    assert lines[1] == f"1 ReAGent        {FRANCE}"
    assert any("2 Leave-one-out" in line and "“france”" in line for line in lines)
    assert "Left out: Attention. Attention looks inside a model" in result.stdout
    rows = [" ".join(line.split()) for line in lines]
    assert "Method Area random Compr. Suff. log ratio log ratio" in rows
    assert (
        "Faithfulness: units replaced by causal_lm_reranked, which weighs the proposals that made "
        "the explanations in another way; 3 draws."
    ) in lines
    assert "shuffled" not in result.stdout, "the tiny scorer has no soft measures"
    own = next(row for row in rows if row.startswith("2 Leave-one-out 0."))
    assert own.endswith(" 2.08 0.00"), "ln 8 without france, and nothing is lost with it alone"
    found = MethodsCompared.model_validate_json(file.read_text("utf-8"))
    assert [each.method for each in found.results] == ["reagent", "leave_one_out"]
    assert found.results[1].explanation.units[3].effect == pytest.approx(math.log(8))


def test_the_table_has_every_measure() -> None:
    request = asked("the quick brown fox jumps over")
    *_, last = compare_methods(["random"], request, tiny_scorer("gpt2"), draws=1)
    assert last.compared is not None
    found = last.compared.results[0].faithful
    assert found is not None and found.soft is not None
    own = {"sufficiency": Estimate(mean=0.0), "comprehensiveness": Estimate(mean=0.6)}
    ratios = {"log_ratio_sufficiency": None, "log_ratio_comprehensiveness": math.log(0.6 / 0.8)}
    found = found.model_copy(update={"soft": found.soft.model_copy(update=own | ratios)})
    (result,) = last.compared.results
    changed = (result.model_copy(update={"faithful": found}),)
    compared = last.compared.model_copy(update={"results": changed})
    cells = [next(iter(column.cells)) for column in faithful_table(compared).columns[3:]]
    assert list(map(str, cells)) == [
        f"{found.mean.comprehensiveness.mean:.2f}", f"{found.mean.sufficiency.mean:.2f}",
        "0.60 -0.29", "0.00     –",
    ]  # fmt: skip
    console = Console(width=80, record=True, file=StringIO())
    show_methods(console, compared, dark=True)
    shown = " ".join(console.export_text().split())
    assert "their log ratio to the same scores shuffled (– where one of the two is 0)" in shown


def test_eighty_columns_hold_the_table() -> None:
    found = compared(["surrogate"])
    (result,) = found.results
    assert result.faithful is not None
    estimate = Estimate(mean=12.345)
    soft = SoftMeasures(
        sufficiency=Estimate(mean=0.9), comprehensiveness=Estimate(mean=1.01),
        random_sufficiency=0.1, random_comprehensiveness=0.1,
        log_ratio_sufficiency=-2.2, log_ratio_comprehensiveness=2.31, draws=5,
    )  # fmt: skip
    mean = result.faithful.mean.model_copy(
        update={"comprehensiveness": estimate, "sufficiency": estimate}
    )
    widest = result.faithful.model_copy(update={"area": -0.5, "mean": mean, "soft": soft})
    made = result.model_copy(update={"faithful": widest})
    table = faithful_table(found.model_copy(update={"results": (made,) * 13}))
    assert table.__rich_measure__(Console(width=200), Console(width=200).options).maximum <= 80


def test_json_alone_goes_to_standard_output(scorer: Homely) -> None:
    result = reagent(FRANCE, "--methods", "random", "--json", "-")
    assert json.loads(result.stdout)["results"][0]["method"] == "random"
    assert "Why “paris”, by 1 method" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--methods", "magic"), "no method “magic”"),
        (("--methods", ","), "names no method"),
        (("--methods", "random", "--instead-of", "madrid"), "--instead-of needs --target"),
        (("--methods", "random", "--answer-token", "9"), "there is no token 9"),
    ],
)
def test_bad_input_is_told(scorer: Homely, arguments: tuple[str, ...], complaint: str) -> None:
    result = reagent(FRANCE, *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
