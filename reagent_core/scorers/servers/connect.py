"""From a server of `models.toml` to a scorer: which dialect it speaks, found out by asking."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from reagent_core import hub
from reagent_core.catalogue import ServerEntry
from reagent_core.errors import Interrupted, ModelError
from reagent_core.request import ModelInfo
from reagent_core.scorers.base import Capabilities
from reagent_core.scorers.servers.answers import Answers
from reagent_core.scorers.servers.base import ServerScorer
from reagent_core.scorers.servers.client import Ask, Server, Session

Dialect = Literal["vllm", "llama.cpp", "chat"]

# Pages ask for the identity at every click.
_REMEMBERED_S = 60.0

# What is asked before a run is answered at once, or the server is stuck: pages wait for it.
SOON_S = 20.0
_FAR = 2**20  # where a server does not say how much its model reads


class _Meta(TypedDict, total=False):
    n_vocab: int
    n_ctx: int
    n_params: int
    size: int


class Served(TypedDict, total=False):
    """One model that a server lists. `root`: folder or hub id it was loaded from."""

    id: str
    owned_by: str
    root: str | None
    max_model_len: int | None
    meta: _Meta | None


class _Models(TypedDict):
    data: list[Served]


class _Properties(TypedDict):
    default_generation_settings: dict[str, Any]


_MODELS = TypeAdapter(_Models)
_PROPERTIES = TypeAdapter(_Properties)
_ANYTHING = TypeAdapter(dict[str, Any])

_known: dict[ServerEntry, tuple[float, ModelInfo]] = {}


def server_info(entry: ServerEntry) -> ModelInfo:
    """Which model the server has; asked at most once a minute.

    Raises:
        ModelError: it cannot be asked, or has no such model.
    """
    known = _known.get(entry)
    if known is None or time.monotonic() - known[0] > _REMEMBERED_S:
        served = _served(Session(Server(entry), patience_s=SOON_S))
        known = _known[entry] = (time.monotonic(), _info(entry, served))
    return known[1]


def connect(entry: ServerEntry) -> ServerScorer:
    """A scorer for the server's model.

    Raises:
        ModelError: it cannot be reached, or gives nothing to explain from.
    """
    session = Session(Server(entry), patience_s=SOON_S)
    served = _served(session)
    info = _info(entry, served)
    dialect = _dialect(session, served)
    answers = Answers(f"{info.id}\n{info.revision_or_sha256}\n{dialect}\n{entry.top}")
    shared: dict[str, Any] = {"session": session, "info": info, "answers": answers}
    if dialect == "llama.cpp":
        return _llama_cpp(entry, served, shared)
    if dialect == "vllm":
        return _vllm(entry, served, shared)
    return _chat(entry, served, shared)


def _served(session: Session) -> Served:
    """The model that is meant: the one the entry names, else the first listed."""
    entry = session.server.entry
    try:
        listed = session.ask(Ask("/v1/models"), _MODELS)["data"]
    except Interrupted:
        raise
    except ModelError:
        if entry.model and entry.dialect != "auto":  # some services list nothing
            return Served(id=entry.model)
        raise
    for served in listed:
        if entry.model in (None, served.get("id")) and served.get("id"):
            return served
    names = ", ".join(served.get("id", "") for served in listed[:5])
    raise ModelError(
        f"The server at {entry.url} has no model {entry.model!r}; it has: {names}. Correct it in "
        "models.toml."
        if entry.model
        else f"The server at {entry.url} lists no model. Name one as model in models.toml."
    )


def _info(entry: ServerEntry, served: Served) -> ModelInfo:
    """The entry's id, and what tells the model behind it from another."""
    meta = served.get("meta") or _Meta()
    told = [entry.url, entry.dialect, entry.tokenizer, served["id"], served.get("root"),
            meta.get("n_params"), meta.get("size")]  # fmt: skip
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return ModelInfo(id=entry.id, revision_or_sha256=f"server {digest[:32]}")


def _dialect(session: Session, served: Served) -> Dialect:
    entry = session.server.entry
    if entry.dialect != "auto":
        return entry.dialect
    owner = served.get("owned_by")
    if owner == "llamacpp":
        return "llama.cpp"
    if owner == "vllm":
        return "vllm"
    try:  # others speak vLLM's dialect, too
        reply = session.ask(
            Ask(
                "/v1/completions",
                {"model": served["id"], "prompt": [[1, 2]], "max_tokens": 1, "prompt_logprobs": 0},
            ),
            _ANYTHING,
        )
    except Interrupted:  # it may know, and is only busy now
        raise
    except ModelError:
        return "chat"
    found = reply.get("choices") or [{}]
    return "vllm" if isinstance(found[0], dict) and found[0].get("prompt_logprobs") else "chat"


def _llama_cpp(entry: ServerEntry, served: Served, shared: dict[str, Any]) -> ServerScorer:
    from reagent_core.scorers.servers.llama_cpp import DEFAULT_TOP, LlamaCppScorer, forces
    from reagent_core.scorers.servers.llama_tokenizer import LlamaCppTokenizer

    session = shared["session"]
    meta = served.get("meta") or _Meta()
    vocabulary = meta.get("n_vocab", 0)
    if not vocabulary:
        raise ModelError(
            f"The server at {entry.url} does not tell the size of its vocabulary. Use a newer "
            "llama.cpp."
        )
    properties = session.ask(Ask("/props"), _PROPERTIES)["default_generation_settings"]
    try:
        context = TypeAdapter(int).validate_python(properties.get("n_ctx"))
    except ValidationError:
        context = meta.get("n_ctx", _FAR)
    top = min(entry.top or DEFAULT_TOP, vocabulary)
    return LlamaCppScorer(
        **shared,
        tokenizer=_named_tokenizer(entry.tokenizer)
        if entry.tokenizer
        else LlamaCppTokenizer(session, vocabulary),
        context_length=context,
        capabilities=Capabilities(exact=forces(session), top=top),
        vocabulary=vocabulary,
    )


def _vllm(entry: ServerEntry, served: Served, shared: dict[str, Any]) -> ServerScorer:
    from reagent_core.scorers.servers.vllm import MOST_TOP, VLLMScorer, choices, told_of

    name = entry.tokenizer or served.get("root") or served["id"]
    tokenizer = _named_tokenizer(name)
    probe = list(tokenizer.encode("The capital of", add_special_tokens=True).token_ids)
    told_of(probe, choices(shared["session"], served["id"], [probe], prompt_logprobs=0)[0])
    return VLLMScorer(
        **shared,
        tokenizer=tokenizer,
        context_length=(served.get("max_model_len") or _FAR) - 1,  # it insists on one token more
        capabilities=Capabilities(),
        model=served["id"],
        listed=min(entry.top or MOST_TOP, MOST_TOP),
    )


def _chat(entry: ServerEntry, served: Served, shared: dict[str, Any]) -> ServerScorer:
    from reagent_core import models
    from reagent_core.scorers.servers.chat import MOST_TOP, ChatScorer, ChatTokenizer, places

    tokenizer = ChatTokenizer(models.load("bundled").tokenizer)
    top = min(entry.top or MOST_TOP, MOST_TOP)
    hello = [{"role": "user", "content": "Say hello."}]
    found = places(shared["session"], served["id"], [hello], top)[0]
    listed = len(found[0]["top_logprobs"]) if found else 0
    return ChatScorer(
        **shared,
        tokenizer=tokenizer,
        context_length=_FAR,
        capabilities=Capabilities(exact=False, top=min(top, listed or top), first_only=True),
        model=served["id"],
    )


def _named_tokenizer(name: str) -> Any:
    """The tokenizer in a folder, or of a model of the hub.

    Raises:
        ModelError: there is none.
    """
    from transformers import AutoTokenizer

    from reagent_core.scorers.hf_tokenizer import HFTokenizer

    def loaded(**options: bool) -> HFTokenizer:
        return HFTokenizer(AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options))

    try:
        return loaded(local_files_only=True)
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
    try:
        hub.look_up(name, "main")  # within seconds, or a sentence why not
        return loaded()
    except (OSError, ValueError, ModelError) as error:
        if isinstance(error, ModelError):
            reason = str(error).rstrip(".")
        raise ModelError(
            f"The tokenizer of this server's model cannot be loaded from {name}: {reason}. Name a "
            "folder or a hub id as tokenizer in models.toml."
        ) from error
