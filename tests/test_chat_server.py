"""A chat endpoint that lists a few alternatives, explained from end to end.

The server is `tests.fake_server`: France makes it Paris (0.8), Spain Madrid (0.7), all else London
(0.5), so that what the bundled model puts in place of "France" makes "Paris" a rare answer.
"""

from __future__ import annotations

import json
import logging
import math

import pytest

from reagent_core.config import Config
from reagent_core.errors import InputError, Interrupted, ModelError
from reagent_core.explain import explain, explain_now
from reagent_core.explanation import Explanation, dump
from reagent_core.request import AnswerTokens, GivenText, Request, Turn, WholeAnswer
from reagent_core.scorers.servers.connect import connect, server_info
from reagent_core.sentences import fact_sentence, ranking, summary
from tests.fake_server import FakeServer, fake_server, spoiled

pytestmark = pytest.mark.model  # the bundled model cuts the text and proposes replacements

PROMPT = "capital of France is"
CONFIG = Config(selection="balanced", ratio=0.2, probes=2, min_steps=12, max_steps=12, top_k=2)


def request(**options: object) -> Request:
    given = {"prompt": PROMPT, "target": AnswerTokens(), "max_new_tokens": 1, "config": CONFIG}
    return Request.model_validate({**given, **options})


def explained(fake: FakeServer, **options: object) -> Explanation:
    return explain_now(request(), connect(fake.entry(**options)))


def top_word(explanation: Explanation) -> str:
    return explanation.units[ranking(explanation)[0]].text


def test_the_word_that_decides_is_found_and_its_effect_is_exact() -> None:
    with fake_server() as fake:
        explanation = explained(fake)
    assert (explanation.answer, explanation.target.probability) == ("Paris", pytest.approx(0.8))
    france = next(unit for unit in explanation.units if "France" in unit.text)
    assert top_word(explanation) == france.text
    # Some replacements may be "Spain"; Paris then and otherwise has probability 0.1.
    assert france.effect == pytest.approx(math.log(0.8 / 0.1), abs=1e-6)
    assert not france.at_least
    # The first request found out what the server can do.
    assert explanation.counts.requests == len(fake.asked) - 1 > explanation.counts.sequences


def test_what_is_not_listed_is_a_bound_and_is_said_to_be() -> None:
    """With two alternatives Paris is listed after France alone; without it Madrid has 0.2."""
    with fake_server() as fake:
        explanation = explained(fake, top=2)
    france = next(unit for unit in explanation.units if "France" in unit.text)
    bounded = [step for step in explanation.trace if step.bounded]
    assert bounded
    assert [step.probability for step in bounded] == pytest.approx([0.2] * len(bounded))
    assert all(explanation.units[i].text == france.text for s in bounded for i in s.replaced)
    assert france.at_least
    assert france.effect == pytest.approx(math.log(0.8 / 0.2), abs=1e-6)
    assert "at least 4 times less likely" in summary(explanation)
    assert "falls from 80% to at most 20%" in (fact_sentence(explanation) or "")
    assert f"In {len(bounded)} of 24 steps the server did not list the target" in (
        explanation.verdict.warnings[0]
    )


def test_a_system_turn_reaches_the_server_and_is_never_replaced() -> None:
    turns = (Turn(role="system", content="Be brief."), Turn(role="user", content=PROMPT))
    with fake_server() as fake:
        explanation = explain_now(request(prompt=turns), connect(fake.entry()))
    chats = [body["messages"] for body in fake.asked[1:]]  # the first one is the probe's
    assert {tuple(message["role"] for message in chat) for chat in chats} == {("system", "user")}
    assert {chat[0]["content"] for chat in chats} == {"Be brief."}
    assert chats[0][1]["content"] == PROMPT
    assert len({chat[1]["content"] for chat in chats}) > 5
    assert top_word(explanation).strip() == "France"


def test_what_a_chat_cannot_give_is_refused_in_words() -> None:
    with fake_server() as fake:
        scorer = connect(fake.entry(top=2))
        assert str(scorer.capabilities) == (
            "Tells the probability of the 2 likeliest tokens; explains the first token of an "
            "answer."
        )
        with pytest.raises(InputError, match="set the length of the answer to 1"):
            explain_now(request(target=WholeAnswer(), max_new_tokens=8), scorer)
        with pytest.raises(InputError, match="name no text of your own"):
            explain_now(request(target=GivenText(text=" Rome")), scorer)
        with pytest.raises(InputError, match=r"ranks up to 2, .* top 3\. Lower top k"):
            explain_now(request(config=CONFIG.model_copy(update={"top_k": 3})), scorer)
        reranked = CONFIG.model_copy(update={"replacer": "causal_lm_reranked"})
        with pytest.raises(InputError, match="Choose causal_lm, masked_lm or uniform") as caught:
            explain_now(request(config=reranked), scorer)
        assert caught.value.field == "settings"
        assert len(fake.asked) == 1  # to find out what it can do: no answer was paid for


def test_a_server_of_no_known_dialect_is_asked_as_a_chat() -> None:
    with fake_server() as fake:
        scorer = connect(fake.entry(dialect="auto"))
        assert scorer.capabilities.first_only
        assert fake.seen == ["/v1/models", "/v1/completions", "/v1/chat/completions"]


def test_a_server_without_alternatives_is_refused() -> None:
    with (
        fake_server(top=0) as fake,
        pytest.raises(ModelError, match="gives no log-probabilities for tiny"),
    ):
        connect(fake.entry())


def test_a_server_lost_in_the_middle_leaves_what_was_found_and_the_run_goes_on_from_there() -> None:
    lost = spoiled(500, "out of cats", Retry_After="0")
    with fake_server() as fake:
        whole = explained(fake)
        needed = whole.counts.requests
    with fake_server() as fake:
        entry = fake.entry(concurrency=1)
        fake.spoil = lambda number: lost if number > needed // 2 else None
        *_, last = explain(request(), connect(entry))
        part = last.explanation
        assert part.status == "interrupted"
        assert "HTTP 500): out of cats" in (part.interruption or "")
        assert 0 < len(part.trace) < len(whole.trace)
        assert part.trace == whole.trace[: len(part.trace)]
        assert Explanation.model_validate_json(dump(part)) == part
        fake.spoil = lambda number: None
        resumed = explain_now(request(), connect(entry))
        assert resumed.trace == whole.trace
        assert resumed.counts.requests <= needed - part.counts.sequences + 2


def test_answers_of_another_process_are_about_the_same_token() -> None:
    """A server's own tokens get their ids in the order they turn up, which is another next time."""
    with fake_server() as fake:
        here = explained(fake)
        spain = request(prompt="capital of Spain is")
        first = explain_now(spain, connect(fake.entry()))  # a new tokenizer: Madrid comes first
        assert first.answer == "Madrid"
        assert first.target.probability == pytest.approx(0.7)
        asked = len(fake.asked)
        again = explain_now(request(), connect(fake.entry()))
        assert again.trace == here.trace
        assert len(fake.asked) - asked <= 2  # the probe and the answer


def test_a_budget_stops_the_run_and_keeps_what_it_has() -> None:
    with fake_server() as fake:
        part = explained(fake, budget_requests=12)
        assert part.status == "interrupted"
        assert part.interruption == (
            "The budget of 12 requests is spent. Raise budget_requests of this server in "
            "models.toml to go on from here."
        )
        assert part.counts.requests == 12
        assert part.trace


def test_no_key_is_found_in_what_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("A_SERVERS_KEY", "sk-planted-0123456789")
    echo = spoiled(500, "Bearer sk-planted-0123456789", Retry_After="0")
    with fake_server() as fake:
        entry = fake.entry(key_env="A_SERVERS_KEY")
        fake.spoil = lambda number: echo if number > 10 else None
        part = explain_now(request(), connect(entry))
        assert set(fake.keys) == {"Bearer sk-planted-0123456789"}
        assert part.status == "interrupted"
        told = dump(part) + repr(server_info(entry)) + json.dumps(entry.model_dump())
        assert "/v1/chat/completions" in caplog.text  # requests are logged
        assert "planted" not in told + caplog.text + " ".join(fake.seen)


def test_a_server_that_is_not_there_is_said_before_anything_is_asked() -> None:
    with fake_server() as fake:
        entry = fake.entry()
    with pytest.raises(Interrupted, match="cannot be reached"):
        server_info(entry)
