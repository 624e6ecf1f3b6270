"""The connection to a server: retries, limits, and errors as sentences. Nothing here is a model."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from pydantic import TypeAdapter

from reagent_core.errors import Cancelled, Interrupted, ModelError
from reagent_core.scorers.servers import failures
from reagent_core.scorers.servers.answers import Answers
from reagent_core.scorers.servers.client import Ask, Server, Session
from tests.fake_server import FakeServer, Reply, fake_server, spoiled

ANYTHING = TypeAdapter(dict[str, list[object]])
HELLO = Ask(
    "/v1/chat/completions",
    {"messages": [{"role": "user", "content": "capital of france"}], "top_logprobs": 2},
)


def ask(fake: FakeServer, **options: object) -> Session:
    session = Session(Server(fake.entry()), **options)  # type: ignore[arg-type]
    assert session.ask(HELLO, ANYTHING)["choices"]
    return session


def test_a_busy_server_is_asked_again_when_it_says() -> None:
    busy = spoiled(429, Retry_After="0")
    with fake_server(spoil=lambda number: busy if number < 2 else None) as fake:
        assert ask(fake).requests == 3


@pytest.mark.parametrize(
    "broken",
    [Reply('{"choices": [{"logpr'), Reply("[]"), Reply(""), Reply("<html>Welcome</html>")],
)
def test_a_broken_reply_is_asked_for_again(broken: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_backoff", lambda state: 0.0)
    with fake_server(spoil=lambda number: None if number else broken) as fake:
        assert ask(fake).requests == 2


def test_a_server_that_stays_broken_is_named_with_what_it_said() -> None:
    down = spoiled(503, "The cat is on the keyboard", Retry_After="0")
    with fake_server(spoil=lambda number: down) as fake:
        with pytest.raises(Interrupted, match=r"HTTP 503\): The cat is on the keyboard"):
            ask(fake)
        assert len(fake.asked) == 5


def test_what_a_server_refuses_is_not_asked_again() -> None:
    with fake_server(spoil=lambda number: spoiled(400, "max_tokens is too large")) as fake:
        with pytest.raises(ModelError, match=r"refuses the request .*max_tokens is too large\."):
            ask(fake)
        assert len(fake.asked) == 1


def test_nobody_there_is_said_soon_where_somebody_waits() -> None:
    with fake_server() as fake:
        entry = fake.entry()
    session = Session(Server(entry), patience_s=5.0)
    with pytest.raises(Interrupted, match=r"cannot be reached .*Start it, or check its address"):
        session.ask(HELLO, ANYTHING)
    assert session.requests == 2


def test_a_reply_that_drips_is_given_up() -> None:
    with (
        fake_server(spoil=lambda number: Reply(" " * 500, drip=0.05)) as fake,
        pytest.raises(Interrupted, match="has not finished a reply within 1 s"),
    ):
        ask(fake, patience_s=1.0)


def test_a_server_that_was_silent_once_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_backoff", lambda state: 0.0)
    asked_again = threading.Event()

    def silent(number: int) -> None:
        if number:
            asked_again.set()
        else:
            asked_again.wait(30)

    with fake_server(spoil=silent) as fake:
        assert ask(fake, patience_s=2.0).requests == 2


def test_a_server_that_wants_a_long_rest_is_not_asked_before() -> None:
    busy = spoiled(429, "Quota", Retry_After="3600")
    with fake_server(spoil=lambda number: busy) as fake:
        with pytest.raises(Interrupted, match=r"HTTP 429\): Quota\. Try again later"):
            ask(fake)
        assert len(fake.asked) == 1


@pytest.mark.parametrize("value", ["0.5", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_the_rest_may_be_seconds_or_a_date(value: str) -> None:
    busy = spoiled(503, Retry_After=value)
    with fake_server(spoil=lambda number: None if number else busy) as fake:
        assert ask(fake).requests == 2


def test_what_came_beside_a_failure_is_not_lost() -> None:
    refusal = spoiled(400, "not this one")
    taken: list[int] = []
    with fake_server(spoil=lambda number: refusal if number == 1 else None) as fake:
        session = Session(Server(fake.entry(concurrency=4)))
        with pytest.raises(ModelError, match="not this one"):
            session.ask_all([HELLO] * 4, ANYTHING, lambda number, reply: taken.append(number))
    assert len(taken) == 3


def test_a_cancel_ends_the_waiting_and_nothing_is_sent_after_it() -> None:
    wait = spoiled(429, Retry_After="30")
    with fake_server(spoil=lambda number: wait) as fake:
        session = Session(Server(fake.entry()), cancelled=lambda: bool(fake.asked))
        with pytest.raises(Cancelled):
            session.ask_all([HELLO] * 40, ANYTHING)
        time.sleep(0.3)  # those that were on their way arrive
        sent = len(fake.asked)
        assert sent <= fake.entry().concurrency
        time.sleep(0.3)
        assert len(fake.asked) == sent


def test_a_budget_is_kept_to_the_request() -> None:
    with fake_server() as fake:
        session = Session(Server(fake.entry()), budget=10)
        with pytest.raises(Interrupted, match="budget of 10 requests is spent"):
            session.ask_all([HELLO] * 40, ANYTHING)
        assert session.requests == len(fake.asked) == 10


def test_as_many_requests_at_a_time_as_configured() -> None:
    """A wave of four that all wait for each other only ends if they are out together."""
    meeting = threading.Barrier(4, timeout=30)

    def meet(number: int) -> None:
        meeting.wait()

    with fake_server(spoil=meet) as fake:
        replies = Session(Server(fake.entry(concurrency=4))).ask_all([HELLO] * 8, ANYTHING)
    assert len(replies) == 8


SECRET = "sk-planted-0123456789"


def test_the_key_is_sent_and_told_to_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("A_SERVERS_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    refusal = spoiled(401, f"Incorrect API key provided: {SECRET}")
    blunder = spoiled(400, f"Do not send me Bearer {SECRET}, please")
    with fake_server(spoil=lambda number: refusal if number else blunder) as fake:
        server = Server(fake.entry(key_env="A_SERVERS_KEY"))
        told = []
        for _ in range(2):
            with pytest.raises(ModelError) as caught:
                Session(server).ask(HELLO, ANYTHING)
            told += [str(caught.value), repr(caught.value), repr(caught.value.__context__)]
    assert fake.keys == [f"Bearer {SECRET}"] * 2
    assert "Do not send me Bearer ***, please" in told[0]
    assert "A_SERVERS_KEY" in told[3]
    assert SECRET not in "".join([*told, caplog.text, repr(server), repr(server.entry)])


@pytest.mark.parametrize("key", ["sk-planted\x01", "sk-plantéd", "sk-plan\nted"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("A_SERVERS_KEY", key)
    with pytest.raises(ModelError, match="holds characters that no key has") as caught:
        Server(FakeServer("http://127.0.0.1:1").entry(key_env="A_SERVERS_KEY"))
    assert "plan" not in str(caught.value)


def test_a_line_end_behind_a_key_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SERVERS_KEY", f"{SECRET}\r\n")
    with fake_server() as fake:
        Session(Server(fake.entry(key_env="A_SERVERS_KEY"))).ask(HELLO, ANYTHING)
        assert fake.keys == [f"Bearer {SECRET}"]


def test_what_the_environment_holds_for_openai_goes_to_no_other_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Gateway: {SECRET}")
    with fake_server() as fake:
        ask(fake)
        assert SECRET not in "".join(fake.headers)


def test_a_server_that_sends_prompts_elsewhere_is_refused() -> None:
    with fake_server() as other, fake_server() as fake:
        elsewhere = spoiled(307, "over there", Location=f"{other.url}/v1/chat/completions")
        fake.spoil = lambda number: elsewhere
        with pytest.raises(ModelError, match=r"HTTP 307"):
            ask(fake)
        assert other.seen == []


def test_a_key_that_is_not_set_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_SERVERS_KEY", raising=False)
    with pytest.raises(ModelError, match="Set the environment variable A_SERVERS_KEY"):
        Server(FakeServer("http://127.0.0.1:1").entry(key_env="A_SERVERS_KEY"))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://h:1", "http://h:1/v1/models"),
        ("http://h:1/v1", "http://h:1/v1/models"),
        ("https://h/openai/v1", "https://h/openai/v1/models"),
        ("https://h/api/paas/v4", "https://h/api/paas/v4/models"),
    ],
)
def test_an_address_may_end_in_v1_or_name_another_place(url: str, address: str) -> None:
    assert Server(FakeServer(url).entry())._address("/v1/models") == address


def test_answers_outlive_the_process_that_asked(tmp_path) -> None:
    first = Answers("a model", tmp_path)
    keys = [Answers.key([1, 2, i], [7, 8]) for i in range(1200)]
    first.put({key: ((-0.5, 1, False), (-3.0, 21, True)) for key in keys[:-1]})
    second = Answers("a model", tmp_path)
    assert second.get(keys) == {key: ((-0.5, 1, False), (-3.0, 21, True)) for key in keys[:-1]}
    assert Answers("another model", tmp_path).get(keys) == {}


def test_answers_are_kept_in_memory_where_the_disk_takes_none(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    answers = Answers("a model", tmp_path / "file")
    answers.put({"key": ((-0.5, 1, False),)})
    assert answers.get(["key", "other"]) == {"key": ((-0.5, 1, False),)}
