"""Copy as Python: what is copied runs, and gives the same."""

from __future__ import annotations

from typing import Any

import pytest

from reagent_core import models
from reagent_core.baselines.attribute import attribute
from reagent_core.baselines.methods import method_named
from reagent_core.config import PRESETS, Config
from reagent_core.errors import InputError
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation
from reagent_core.request import (
    AnswerTokens,
    GivenText,
    ModelInfo,
    Request,
    TargetChoice,
    Turn,
    WholeAnswer,
)
from reagent_core.snippet import snippet
from tests.examples import make_explanation
from tests.tiny import TinyScorer

FRANCE = "the capital of france is"
SHORT = {"probes": 2, "min_steps": 3, "max_steps": 5}
REQUESTS = [
    Request(prompt=FRANCE, target=AnswerTokens(start=1, stop=2), config=Config(**SHORT, seed=7)),
    Request(
        prompt='the "big"\n\'red\' \\ 🙂 \u202e {city} """ france is\\',
        target=WholeAnswer(),
        max_new_tokens=2,
        attribute_answer=True,
        config=Config(**SHORT, selection="balanced", until="settled", granularity="word"),
    ),
    Request(
        prompt=(Turn(role="system", content="a\\n"), Turn(role="user", content=FRANCE)),
        target=GivenText(text="paris", instead_of="madrid"),
        protected=((0, 3), (12, 14)),
        config=Config(**SHORT, replacer="uniform", init="uniform", ratio=0.5, top_k=1),
    ),
    Request(prompt=FRANCE, target=GivenText(text=" paris"), config=Config(**SHORT)),
]


def run(script: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the names of a script stand for after it has run on the tiny model."""
    monkeypatch.setattr(models, "load", lambda _: TinyScorer())
    names: dict[str, Any] = {}
    exec(compile(script, "copied", "exec"), names)
    return names


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.target.kind)
def test_what_is_copied_gives_the_same(
    request_: Request, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    explanation = explain_now(request_, TinyScorer())
    script = snippet(explanation)
    assert script is not None and "seed=" in script
    names = run(script, monkeypatch)
    again: Explanation = names["explanation"]
    assert names["request"] == request_
    for one, other in zip(explanation.every(), again.every(), strict=True):
        assert (one.units, one.trace, one.facts) == (other.units, other.trace, other.facts)
    assert explanation.verdict.text in capsys.readouterr().out


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("target", [WholeAnswer(), AnswerTokens()])
def test_every_preset_is_asked_for_again(preset: str, target: TargetChoice) -> None:
    request = Request(model="hub/name", prompt=FRANCE, target=target, config=PRESETS[preset])
    script = snippet(make_explanation().model_copy(update={"request": request}))
    assert script is not None
    names: dict[str, Any] = {}
    exec(script.partition("explanation = ")[0], names)
    assert names["request"] == request


def test_nothing_that_was_typed_becomes_code(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "x'\nraise SystemExit\n\"\"\"\u2028raise SystemExit #\r\n"
    request = REQUESTS[0].model_copy(update={"model": evil})
    explanation = explain_now(request, TinyScorer()).model_copy(
        update={
            "model": ModelInfo(id=evil, revision_or_sha256=evil),
            "versions": {"reagent-dashboard": evil},
        }
    )
    script = snippet(explanation)
    assert script is not None
    assert run(script, monkeypatch)["request"] == request


def test_another_method_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    request = REQUESTS[0].model_copy(update={"target": AnswerTokens()})
    found = attribute(method_named("leave_one_out"), request, TinyScorer())
    script = snippet(found)
    assert script is not None
    assert run(script, monkeypatch)["explanation"].units == found.units
    evil = snippet(found.model_copy(update={"method": "x'); raise SystemExit\n{imports}"}))
    with pytest.raises(InputError, match="no method"):
        run(evil or "", monkeypatch)


def test_what_nobody_asked_for_has_no_script() -> None:
    assert snippet(make_explanation()) is None
