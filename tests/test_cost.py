"""What a run is said to cost, against what it then costs."""

from __future__ import annotations

import pytest

from components.cost import cost_words
from reagent_core.config import PRESETS, Config
from reagent_core.cost import Speed, estimate, measure_speed
from reagent_core.explain import explain_now
from reagent_core.prompt import build_prompt
from reagent_core.request import AnswerTokens, Request, WholeAnswer
from tests.tiny import TinyScorer

SPEED = Speed(forward_seconds=0.1, tokens_per_second=500)


def cost_of(request: Request, speed: Speed = SPEED) -> object:
    scorer = TinyScorer()
    return estimate(build_prompt(request.prompt, scorer.tokenizer), request, scorer, speed)


@pytest.mark.parametrize("preset", ["quick", "standard", "thorough"])
@pytest.mark.parametrize("target", [AnswerTokens(), WholeAnswer()])
@pytest.mark.parametrize("words", [8, 20, 60])
def test_the_number_of_forward_passes_is_right_within_a_factor(
    preset: str, target: object, words: int
) -> None:
    text = " ".join(f"the capital of france is {'a big red green one ' * 20}".split()[:words])
    request = Request(prompt=text, target=target, max_new_tokens=4, config=PRESETS[preset])
    said = cost_of(request).sequences
    done = explain_now(request, TinyScorer()).counts.sequences
    # A run on the tiny model settles at its first look, where it is said to go on for a while.
    assert 1 / 1.5 < said / done < 2


def test_a_faster_machine_and_a_shorter_prompt_cost_less() -> None:
    short, long = (Request(prompt=" ".join(["red"] * n), config=PRESETS["quick"]) for n in (5, 50))
    assert cost_of(short).seconds < cost_of(long).seconds
    assert cost_of(long, Speed(0.01, 5000)).seconds < cost_of(long).seconds / 5


def test_the_published_procedure_is_said_to_go_on_to_the_end() -> None:
    config = Config(selection="exact", probes=2, min_steps=1, max_steps=100)
    request = Request(prompt="the capital of france is", target=AnswerTokens(), config=config)
    assert cost_of(request).sequences > 200


def test_the_published_procedure_reads_all_of_a_long_prompt_at_every_step() -> None:
    text = " ".join(["a big red green one"] * 60)
    published, standard = (
        cost_of(Request(prompt=text, target=AnswerTokens(), config=PRESETS[name]))
        for name in ("paper", "standard")
    )
    assert published.sequences >= 5 * 1000 and published.tokens >= 300 * published.sequences
    assert published.seconds > 20 * standard.seconds > 0
    assert standard.tokens < 200 * standard.sequences  # from coarse to fine


@pytest.mark.parametrize("replacer", ["causal_lm_reranked", "masked_lm"])
def test_replacements_that_take_a_model_cost_time(replacer: str) -> None:
    plain, other = (
        Request(prompt="the capital of france is", config=Config(replacer=name))
        for name in ("causal_lm", replacer)
    )
    assert cost_of(other).seconds > cost_of(plain).seconds
    assert cost_of(other).sequences >= cost_of(plain).sequences


def test_the_speed_is_measured() -> None:
    speed = measure_speed(TinyScorer())
    assert speed.forward_seconds >= 0 and speed.tokens_per_second > 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "about 1 s"), (5.6, "about 6 s"), (61, "about 2 min")]
)
def test_cost_in_words(seconds: float, words: str) -> None:
    assert cost_words(seconds) == words
