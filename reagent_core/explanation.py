"""The result of one run: its data model, and its JSON form (schema version 2).

Offsets are characters (Unicode code points) of the text they belong to. Probabilities lie in
[0, 1]; effects and values are in nats (natural logarithms).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, ValidationError, model_validator

from reagent_core.config import Config
from reagent_core.errors import InputError
from reagent_core.request import ModelInfo, Request, Turn

SCHEMA_VERSION: Final = 2

# What version 1 advised where an explanation had not settled.
_MORE_STEPS = re.compile(r"; run \d+ more steps(?=\.$)")

_T = TypeVar("_T")
# The first wrong value is told; a file of millions is not read on to collect them all.
_Many = Annotated[tuple[_T, ...], FailFast()]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Alternative(_Record):
    """Another token the model considered at the same place, with its probability."""

    text: str
    probability: float


class AnswerToken(_Record):
    """One generated token. `start`, `end`: characters of the answer.

    A token that completes no character alone has an empty span; the characters belong to the
    token that completes them.
    """

    text: str
    start: int
    end: int
    token_id: int
    probability: float
    alternatives: _Many[Alternative] = ()


class Foil(_Record):
    """The "that" in "why this rather than that"."""

    text: str
    token_ids: _Many[int]
    probability: float


class TargetInfo(_Record):
    """What is explained.

    `probability`: of all its tokens one after the other, under the original prompt. `value`: its
    logarithm (nats), which stays a number where the probability underflows; against a foil the
    log-odds log p(this) - log p(that).
    `answer_start`, `answer_stop`: the answer tokens it covers, counted from 0, stop excluded;
    None for a text that is not part of the answer.
    """

    text: str
    token_ids: _Many[int]
    probability: float
    value: float
    answer_start: int | None = None
    answer_stop: int | None = None
    instead_of: Foil | None = None


class UnitScore(_Record):
    """One attributed piece of the context: `(prompt + answer)[start:end] == text`.

    Pieces of the answer are among the units only where the request made it context.
    `score`: the published ReAGent score, the softmax over units, in [0, 1], summing to 1; of
    another method the share of the unit in the sum of all absolute attributions.
    `effect`: mean value of the target (log-probability, or log-odds against the foil; nats) over
    the steps that kept the unit minus the mean over the steps that replaced it; `effect_low`,
    `effect_high`: its 95% confidence interval. Positive: the unit speaks for the target.
    All four are None for a protected unit; effects also where too few steps tell.
    `coarse`: part of a long prompt that was only looked at as a whole. It has an effect (what is
    lost when it alone is replaced) but no interval and no score, and no step replaces it.
    `at_least`: a server did not list the target in some step that replaced this unit, so that the
    effect is a lower bound.
    `attribution`: what a method found that tells no effect, signed where the method has signs, in
    its own unit (see `baselines.methods`); None for ReAGent and methods that tell effects.
    """

    text: str
    start: int
    end: int
    protected: bool
    score: float | None = None
    effect: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    coarse: bool = False
    at_least: bool = False
    attribution: float | None = None

    @property
    def stepped(self) -> bool:
        """Whether the steps of the trace replace it and score it."""
        return not self.protected and not self.coarse


class Fact(_Record):
    """What happened when one unit alone was replaced, `draws` times.

    `unit`: index into `units`. `probability`: mean of the target's probability over the draws, or
    what it is `at_most` where a server did not list the target.
    """

    unit: int
    draws: int
    probability: float
    at_most: bool = False


class Verdict(_Record):
    """Whether the result has settled, in words, and the figures behind the words.

    `top`: how many units the verdict looks at. `unchanged_steps`: for how many last steps of
    each probe the set of the `top` strongest has been the same, by effects from which what else a
    step replaced is taken out as all steps tell it. `probes_agreeing`: probes whose
    own strongest units are (nearly) the pooled ones. `probes_stopped`: probes that ended by the
    stop test. `more_steps`: how many further steps to try, 0 when settled or none can be made.
    """

    settled: bool
    text: str
    top: int
    steps: int
    unchanged_steps: int
    probes: int
    probes_agreeing: int
    probes_stopped: int
    more_steps: int
    warnings: _Many[str] = ()


class Counts(_Record):
    """Work of the attribution: forward calls, sequences in them, tokens of those that were run.

    Replaced prompts, stop tests and facts; each distinct prompt once, and what is shared with a
    cached prefix not at all. The answer's generation, the prediction of replacements and the
    prefix itself are not in it.
    `discarded`: sequences computed in vain because a probe had stopped meanwhile. `requests`: all
    that were sent to a server, those for answer and replacements included. `backwards`: of the
    sequences those that a gradient was taken of, which costs about two forwards more each.
    """

    forwards: int
    sequences: int
    tokens: int
    discarded: int = 0
    requests: int = 0
    backwards: int = 0

    @property
    def in_vain(self) -> float:
        """The share of the sequences that were discarded, in [0, 1]."""
        return min(1.0, self.discarded / self.sequences) if self.sequences else 0.0


class Step(_Record):
    """One step of one probe, seen by one target.

    `replaced`: indices of units; `replacements`: what each became, in the same order.
    `probability`: the target's, under the replaced prompt (p_r; against the foil alone for
    "this rather than that"). `value`: its logarithm (nats; log-odds for a foil).
    `change`: d = p_o - p_r, in [-1, 1]. `scores`: the raw scores S after this step, one for each
    unit that is neither protected nor coarse. `rank`: rank of the target (1 = most likely) in the
    stop test, None where no test was due. `stopped`: the test passed here and ended the probe for
    this target. `bounded`: a server did not list the target here, so that probability and value
    are upper bounds and the rank a lower one.
    """

    probe: int
    step: int
    replaced: _Many[int]
    replacements: _Many[str]
    probability: float
    value: float
    change: float
    scores: _Many[float]
    rank: int | None = None
    stopped: bool = False
    bounded: bool = False


class Explanation(_Record):
    """A finished, cancelled or still growing explanation of one target.

    `prompt` is the text the model read: for a chat that is the rendered template, and `messages`
    holds the turns as typed. In whole-answer mode the outer object explains the answer as one
    span, `explanations` holds one for each answer token and `words` one for each word made of
    several tokens; the inner ones leave `explanations` and `words` empty. `replacer_model` made
    the replacements, None where the explained model made them itself, or none did. `interruption`:
    why an interrupted run could not go on, in a sentence. `request`: what was asked for, so that
    it can be asked again; None for the inner ones, and where no request made it (`source`: an
    import of the published notebook's file) or none was recorded (files of version 1). `method`:
    what found it, a name of `baselines.methods` where it is not ReAGent; then there is no trace.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    status: Literal["complete", "cancelled", "interrupted", "running"] = "complete"
    interruption: str | None = None
    source: Literal["reagent", "notebook"] = "reagent"
    method: str = "reagent"
    request: Request | None = None
    prompt: str
    messages: tuple[Turn, ...] | None = None
    answer: str
    answer_tokens: _Many[AnswerToken] = ()
    target: TargetInfo
    units: _Many[UnitScore]
    facts: _Many[Fact] = ()
    verdict: Verdict
    config: Config
    model: ModelInfo
    replacer_model: ModelInfo | None = None
    versions: dict[str, str]
    counts: Counts
    seconds: float
    trace: _Many[Step]
    explanations: tuple[Explanation, ...] | None = None
    words: tuple[Explanation, ...] | None = None

    @model_validator(mode="after")
    def _indices_exist(self) -> Explanation:
        """Every unit named is there, and every unit is the text it claims to be."""
        count = len(self.units)
        for fact in self.facts:
            if not 0 <= fact.unit < count:
                raise ValueError(f"a fact names unit {fact.unit}; there are {count}")
        for step in self.trace:
            if step.replaced and not 0 <= min(step.replaced) <= max(step.replaced) < count:
                raise ValueError(f"step {step.step} replaces a unit that is not there")
            if len(step.replaced) != len(step.replacements):
                raise ValueError(f"step {step.step} has not one replacement for each unit")
        context = self.prompt + self.answer
        for unit in self.units:
            if context[unit.start : unit.end] != unit.text:
                raise ValueError(f"characters {unit.start} to {unit.end} are not {unit.text!r}")
        return self

    def every(self) -> Iterator[Explanation]:
        """This explanation, then the inner ones: answer tokens first, then words."""
        yield self
        yield from self.explanations or ()
        yield from self.words or ()


def dump(explanation: Explanation) -> str:
    """The JSON form: one line, UTF-8 text, every number finite."""
    return json.dumps(
        explanation.model_dump(mode="json", exclude_none=False),
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )


def load(text: str | bytes) -> Explanation:
    """Read what `dump` wrote.

    Raises:
        InputError: not JSON, another schema version, or a field that does not fit; the sentence
            says which and where (field "file").
    """
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"This file is not valid JSON: {error}.", "file") from None
    return from_data(data)


def from_data(data: Any) -> Explanation:
    """The explanation that parsed JSON holds, of any schema version.

    Raises:
        InputError: as `load`.
    """
    if not isinstance(data, dict) or "schema_version" not in data:
        raise InputError(
            "This file is not an explanation: it has no 'schema_version' at its top level.", "file"
        )
    version = data["schema_version"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"This file has schema version {version!r}, which never was one.", "file")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"This file has schema version {version}; this program reads versions up to "
            f"{SCHEMA_VERSION}. Open it with the version of the program that wrote it.",
            "file",
        )
    try:
        return Explanation.model_validate(_from_version_1(data) if version == 1 else data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:200]
        raise InputError(
            f"This file is not a valid explanation: at '{where}': {first['msg']}.", "file"
        ) from None


def _from_version_1(data: dict[str, Any]) -> dict[str, Any]:
    """Version 2 only added fields; the inner explanations carry the version, too."""
    raised = _raised(data)
    for inner in ("explanations", "words"):
        if isinstance(data.get(inner), list):
            raised[inner] = [
                _raised(each) if isinstance(each, dict) else each for each in data[inner]
            ]
    return raised


def _raised(data: dict[str, Any]) -> dict[str, Any]:
    """One explanation as version 2; nothing says what was asked for, so no more steps are advised,
    which nobody could add."""
    raised = {**data, "schema_version": 2}
    verdict = data.get("verdict")
    if isinstance(verdict, dict) and isinstance(verdict.get("text"), str):
        raised["verdict"] = {**verdict, "text": _MORE_STEPS.sub("", verdict["text"])}
    return raised
