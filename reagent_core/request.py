"""What to explain: model, prompt, target and options, with a key that names the result."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from reagent_core.config import Config

# Raise it when the same request would give other numbers than before, so that stored results
# of older versions are no longer answers.
METHOD_VERSION = 4


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Turn(_Record):
    """One chat turn as the user wrote it, before the chat template."""

    role: Literal["system", "user", "assistant"]
    content: str


class ModelInfo(_Record):
    """Which model: its id in the catalogue, and what pins its weights."""

    id: str
    revision_or_sha256: str


class AnswerTokens(_Record):
    """Answer tokens `start` to `stop` (stop excluded): one token, or a span."""

    kind: Literal["answer_tokens"] = "answer_tokens"
    start: int = Field(0, ge=0)
    stop: int = Field(1, ge=1)


class WholeAnswer(_Record):
    """Every token of the answer, from one set of forwards."""

    kind: Literal["whole_answer"] = "whole_answer"


class GivenText(_Record):
    """A text in place of the model's own answer, perhaps rather than another one."""

    kind: Literal["given_text"] = "given_text"
    text: str
    instead_of: str | None = None


TargetChoice = Annotated[AnswerTokens | WholeAnswer | GivenText, Field(discriminator="kind")]


class Request(_Record):
    """One explanation asked for.

    `prompt` is a plain text, or chat turns for the model's chat template. `protected` are
    character spans of the plain prompt (or of the last turn) that are never replaced.
    `attribute_answer`: what the model answered before a target is context that is replaced and
    scored, too; else it stays as it is. A given text has no answer before it.
    """

    model: str = "bundled"
    prompt: str | tuple[Turn, ...]
    target: TargetChoice = WholeAnswer()
    max_new_tokens: int = Field(16, ge=1, le=256)
    attribute_answer: bool = False
    protected: tuple[tuple[int, int], ...] = ()
    config: Config = Config()

    def key(self, model: ModelInfo, replacer_model: ModelInfo | None = None) -> str:
        """SHA-256 (hex) over everything that decides the result, the models' weights included.

        `replacer_model`: the model that makes the replacements, where it is another one.
        """
        unused = set() if self.config.replacer == "masked_lm" else {"replacer_model"}
        parts = {
            "method": METHOD_VERSION,
            "model": model.model_dump(),
            "request": self.model_dump(mode="json", exclude={"model": True, "config": unused}),
        }
        if replacer_model is not None:
            parts["replacer_model"] = replacer_model.model_dump()
        canonical = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
