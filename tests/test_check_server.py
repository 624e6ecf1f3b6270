"""A check of what a server said that lists only a few alternatives."""

from __future__ import annotations

import math

import pytest

from reagent_core.checker import check_now
from reagent_core.config import Config
from reagent_core.explain import explain_now
from reagent_core.request import AnswerTokens, Request
from reagent_core.scorers.servers.connect import connect
from tests.fake_server import fake_server

pytestmark = pytest.mark.model  # the bundled model cuts the text and proposes replacements

CONFIG = Config(selection="balanced", ratio=0.2, probes=2, min_steps=12, max_steps=12, top_k=2)


def test_a_server_is_asked_for_the_curves_and_its_bounds_are_told() -> None:
    request = Request(
        prompt="I am told that the capital of France is", target=AnswerTokens(), max_new_tokens=1,
        config=CONFIG,
    )  # fmt: skip
    with fake_server(top=2) as fake:
        scorer = connect(fake.entry())
        explanation = explain_now(request, scorer)
        asked = len(fake.asked)
        found = check_now(explanation, scorer, draws=1)
    assert explanation.units[found.order[0]].text.strip() == "France"
    assert (found.replacer, found.soft) == ("uniform", None)
    assert found.counts.requests == len(fake.asked) - asked > 0
    # Without France, Paris has 0.1 and is not listed: Madrid, the second, has 0.2.
    assert found.deletion.left[1:] == pytest.approx([0.2 / 0.8] * (len(found.points) - 1))
    assert found.mean.comprehensiveness.mean == pytest.approx(math.log(0.8 / 0.2))
    (note,) = found.notes
    assert note.startswith("After ") and "did not list the target" in note
