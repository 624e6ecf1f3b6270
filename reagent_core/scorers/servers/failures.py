"""What went wrong with a request: whether to try again, after how long, and how to say it."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx2
import openai
import tenacity

from reagent_core.errors import Interrupted, ModelError

if TYPE_CHECKING:
    from reagent_core.scorers.servers.client import Server

LONGEST_WAIT_S = 60.0  # between two attempts


class BadReply(Exception):
    """A reply that is not what was asked for; the next one may be."""


def may_pass(error: BaseException) -> bool:
    """Whether it is worth trying again."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code in (408, 409, 429) or error.status_code >= 500
    # Nobody there at all will not change within seconds; a reply that broke off may.
    if isinstance(error, openai.APITimeoutError):
        return not isinstance(error.__cause__, httpx2.ConnectTimeout)
    return isinstance(error, openai.APIConnectionError | openai.APIResponseValidationError
                      | BadReply)  # fmt: skip


_backoff = tenacity.wait_random_exponential(multiplier=1, max=LONGEST_WAIT_S)


def wait(state: tenacity.RetryCallState) -> float:
    """What the server asks for in Retry-After (seconds), else longer from time to time."""
    asked = asked_to_wait(state.outcome.exception() if state.outcome else None)
    return _backoff(state) if asked is None else asked


def asked_to_wait(error: BaseException | None) -> float | None:
    """Seconds in the header Retry-After, which may also be a date."""
    if not isinstance(error, openai.APIStatusError):
        return None
    text = error.response.headers.get("retry-after", "")
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def told(error: BaseException, server: Server) -> BaseException:
    """The error as a sentence of ours."""
    entry = server.entry
    where = f"The server at {entry.url}"
    if isinstance(error, openai.APITimeoutError):
        return Interrupted(f"{where} does not answer in time. Look whether it is busy or stuck.")
    if isinstance(error, openai.APIConnectionError):
        # Other causes may quote the headers, and with them the key.
        cause = error.__cause__ if isinstance(error.__cause__, httpx2.NetworkError) else error
        reason = server.clean(str(cause)).rstrip(".")
        return Interrupted(f"{where} cannot be reached ({reason}). Start it, or check its address.")
    if isinstance(error, openai.APIStatusError):
        said = server.clean(_message(error))
        code = error.status_code
        if code in (401, 403):
            advice = (
                f"Check the key in the environment variable {entry.key_env}."
                if entry.key_env
                else "Name the environment variable that holds its key as key_env in models.toml."
            )
            return ModelError(f"{where} refuses access (HTTP {code}). {advice}")
        if code == 429 or code >= 500:
            return Interrupted(f"{where} fails or is busy (HTTP {code}): {said}. Try again later.")
        return ModelError(f"{where} refuses the request (HTTP {code}): {said}.")
    if isinstance(error, BadReply | openai.APIError):
        said = server.clean(str(error)).rstrip(".")
        return Interrupted(
            f"{where} sent a reply that cannot be read ({said}). Check that it is a server of "
            "language models, and try again."
        )
    return error


def _message(error: openai.APIStatusError) -> str:
    """The sentence in an error's body, wherever the server has put it."""
    body = error.body
    while isinstance(body, dict):
        body = body.get("error") or body.get("message") or body.get("detail") or ""
    return str(body or error.message).rstrip(".")
