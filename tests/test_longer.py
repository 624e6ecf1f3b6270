"""What is asked for when a run is to make more steps."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reagent_core import longer as module
from reagent_core.config import PRESETS, Config
from reagent_core.errors import InputError
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation
from reagent_core.headline import headline
from reagent_core.longer import MORE_STEPS, all_stopped, goes_on_to_its_test, longer
from reagent_core.request import AnswerTokens, GivenText, Request
from reagent_core.sentences import main_measure
from tests.examples import make_explanation
from tests.tiny import TinyScorer


def ended(config: Config, stopped: int, steps: int = 1_000) -> Explanation:
    """`stopped` of the probes passed the stop test, and one of them made so many steps."""
    made = make_explanation(config=config)
    last = made.trace[-1].model_copy(update={"step": steps - 1})
    figures = {"probes": config.probes, "probes_stopped": stopped}
    return made.model_copy(
        update={
            "trace": (*made.trace[:-1], last),
            "request": Request(prompt=made.prompt, config=config),
            "verdict": made.verdict.model_copy(update=figures),
        }
    )


def test_a_run_that_ends_by_its_intervals_makes_more_steps() -> None:
    config = longer(ended(PRESETS["quick"], stopped=0, steps=32)).config
    assert (config.min_steps, config.max_steps) == (96, 96)


# With our default replacer, and with the paper's own.
PUBLISHED = [PRESETS["paper"], PRESETS["paper"].model_copy(update={"replacer": "masked_lm"})]


@pytest.mark.parametrize("paper", PUBLISHED, ids=lambda config: config.replacer)
def test_the_published_run_goes_on_as_it_was(paper: Config) -> None:
    run = ended(paper, stopped=4)
    config = longer(run).config
    assert config == paper.model_copy(update={"max_steps": 1064})
    # It is judged by its own test, and read by its own scores, as it was before.
    gone_on = run.model_copy(update={"config": config})
    assert main_measure(run) == main_measure(gone_on) == "score"
    assert headline(gone_on) == headline(run)
    # Cut short, it has steps left.
    assert longer(ended(paper, stopped=4, steps=9)).config == paper


@pytest.mark.parametrize("paper", PUBLISHED, ids=lambda config: config.replacer)
def test_the_published_run_is_over_when_all_have_passed_its_test(paper: Config) -> None:
    with pytest.raises(InputError, match="nothing is left to run"):
        longer(ended(paper, stopped=5))


def test_another_run_whose_probes_have_stopped_makes_steps_of_its_own() -> None:
    config = longer(ended(Config(), stopped=3, steps=64)).config
    assert (config.min_steps, config.max_steps) == (128, 128)


def test_a_target_that_has_not_stopped_is_one_to_go_on_with() -> None:
    done, open_ = ended(PRESETS["paper"], stopped=5), ended(PRESETS["paper"], stopped=3)
    whole = done.model_copy(update={"explanations": (done, open_)})
    assert not all_stopped(whole) and goes_on_to_its_test(whole)
    assert longer(whole).config.max_steps == 1064


def test_what_cannot_be_gone_on_with_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="does not say what was asked for"):
        longer(make_explanation())
    monkeypatch.setattr(module, "MOST_STEPS", 1_050)
    with pytest.raises(InputError, match="at most 1,050 steps"):
        longer(ended(PRESETS["paper"], stopped=0))


def test_the_ranks_of_the_shorter_run_stay_and_so_do_probes_that_stopped() -> None:
    def rule(words: Sequence[str]) -> dict[str, float]:  # among the first three now and then
        return {"paris": 0.03 + 0.04 * (sum(map(len, words)) % 3), "is": 0.1, "a": 0.1, "of": 0.1}

    config = Config(selection="exact", probes=3, min_steps=1, max_steps=2)
    request = Request(prompt="the capital of france is", target=GivenText(text="paris"),
                      max_new_tokens=1, config=config)  # fmt: skip
    short = explain_now(request, TinyScorer(rule))
    assert 0 < short.verdict.probes_stopped < 3
    found = explain_now(longer(short), TinyScorer(rule), short)
    assert found.verdict.probes_stopped == 3
    after = {(step.probe, step.step): step for step in found.trace}
    assert [after[step.probe, step.step] for step in short.trace] == list(short.trace)
    stopped = {step.probe for step in short.trace if step.stopped}
    assert all(max(k for j, k in after if j == probe) <= 1 for probe in stopped)


def test_one_part_alone_is_tested_by_no_stop_test() -> None:
    config = Config(probes=2, min_steps=3, max_steps=9)
    request = Request(prompt="france", target=AnswerTokens(), max_new_tokens=1, config=config)
    config = longer(explain_now(request, TinyScorer())).config
    assert config.min_steps == config.max_steps == 3 + MORE_STEPS
