"""ReAGent as published, as one of the methods compared."""

from __future__ import annotations

import math

import pytest

from reagent_core.baselines.attribute import attribute
from reagent_core.baselines.methods import PUBLISHED, method_named
from reagent_core.baselines.published import paper_config
from reagent_core.config import PRESETS, Config
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation
from reagent_core.method_words import score_name
from reagent_core.request import AnswerTokens, Request
from reagent_core.sentences import main_measure, summary
from tests.test_checker import FRANCE, LONG, Homely

OWN = Config(seed=4, replacer="uniform", granularity="word")


def asked(prompt: str = LONG, config: Config = OWN) -> Request:
    return Request(prompt=prompt, target=AnswerTokens(), max_new_tokens=1, config=config)


def published(
    prompt: str = LONG, scorer: Homely | None = None, budget: int = 100, config: Config = OWN
) -> Explanation:
    method = method_named(PUBLISHED)
    return attribute(method, asked(prompt, config), scorer or Homely(), budget=budget)


def test_what_is_the_same_for_all_methods_stays() -> None:
    paper = PRESETS["paper"]
    config = paper_config(OWN)
    assert (config.seed, config.replacer, config.granularity) == (4, "uniform", "word")
    assert config.model_copy(update={"seed": 0, "replacer": "causal_lm", "granularity": "token"}) \
        == paper  # fmt: skip
    assert published().config == config


def test_the_first_probes_are_those_of_the_preset() -> None:
    preset = explain_now(asked(config=paper_config(OWN)), Homely())
    assert preset.verdict.probes_stopped == 5
    # A budget that these probes use up: all that they read, but for what chunks read in vain, and
    # the facts, of which the method makes none.
    found = published(budget=len(preset.trace))
    assert "5 probes made" in found.verdict.text
    assert [unit.score for unit in found.units] == pytest.approx(
        [unit.score for unit in preset.units], abs=1e-6
    )


@pytest.mark.parametrize("budget", [1, 30, 300])
def test_it_does_as_much_as_it_may(budget: int) -> None:
    found = published(budget=budget)
    # A step of each of five probes with its stop test is begun; the prompt itself is read, too.
    assert budget <= found.counts.sequences <= budget + 11
    assert published(budget=budget).units == found.units
    assert found.verdict.settled and found.trace == ()
    assert f"within a budget of {budget} sequences, with replacements by uniform" in (
        found.verdict.text
    )


def test_of_a_short_prompt_the_steps_count() -> None:
    """There are fewer versions of it than the budget has sequences."""
    found = published("of france", budget=100, config=Config())
    assert found.counts.sequences < 100
    assert sum(unit.score for unit in found.units) == pytest.approx(1)


def test_where_no_probe_passes_it_is_said() -> None:
    """Paris is lost with any word, and then 21 words are likelier."""
    whole = LONG.split()

    def rule(words: list[str]) -> dict[str, float]:
        return {"paris": 0.9} if words == whole else {"paris": 1e-6}

    found = published(scorer=Homely(rule))
    assert "0 of them passed the stop test" in found.verdict.text
    assert found.verdict.warnings == (
        "No probe passed the published stop test; the scores are the mean over all probes.",
    )


def test_it_is_told_as_shares() -> None:
    found = published(FRANCE, budget=400, config=Config())
    assert main_measure(found) == "score"
    assert max(found.units, key=lambda unit: unit.score).text == " france"
    assert math.isclose(sum(unit.attribution for unit in found.units), 1, abs_tol=1e-6)
    assert summary(found).startswith("By ReAGent as published, “france” mattered most for “paris”")
    assert score_name(found) == "Share by ReAGent as published"
