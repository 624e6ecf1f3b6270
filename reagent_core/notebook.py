"""The file `iterations_data.json` of the published notebook: its format, and writing it.

A JSON list with one object an iteration. The notebook runs one probe. In its fields

- `replaced_indices` counts RoBERTa tokens of `original_input`, special tokens left out;
- `original_probs`, `modified_probs` list for each generated position (usually one) the likeliest
  tokens under the original and the modified prompt, each `{token, prob}`;
- `prob_diff` is d = p_o - p_r of the likeliest original token, p_r = 0 where it is not listed;
- `scaled_delta_p` is (d + 1) / 2, and `scaled_probs_diff_vect` the same for each token with the
  sign of its change: (d + 1) / 2 where it was replaced, (-d + 1) / 2 where it was kept;
- `logit_scores_before_logit_update` and `logit_scores_before_softmax` are the raw scores S before
  and after the iteration, `normalized_scores_after_softmax` their softmax.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import TypeAliasType

from reagent_core.curves import softmax
from reagent_core.errors import InputError
from reagent_core.explanation import Explanation, Step

# An exponential may be rounded to a little more than 1.
_ROUNDING = 1e-6


def _numbers(value: Any) -> Any:
    """One number as a list; a batch of one (`[[...]]`, as a tensor is written) as what is in it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [value]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        return value[0]
    return value


def _positions(value: Any) -> Any:
    """The tokens of a single position as a list of positions."""
    return [value] if isinstance(value, list) and value and isinstance(value[0], dict) else value


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, strict=True)


class TokenProbability(_Row):
    """A token that the model listed, with its probability."""

    token: str
    prob: float = Field(ge=0.0, le=1.0 + _ROUNDING)


# One wrong value is told, not millions collected. Unions need the aliases: FailFast has no hash.
_Vector = TypeAliasType("_Vector", Annotated[list[float], FailFast(), BeforeValidator(_numbers)])
_Indices = TypeAliasType("_Indices", Annotated[list[int], FailFast(), BeforeValidator(_numbers)])
_Position = TypeAliasType("_Position", Annotated[list[TokenProbability], FailFast()])
_Positions = TypeAliasType(
    "_Positions", Annotated[list[_Position], FailFast(), BeforeValidator(_positions)]
)


class Iteration(_Row):
    """One object of the file, as it may be found in one; None where the file does not say."""

    iteration: int | None = None
    original_input: str | None = None
    modified_input: str | None = None
    replaced_indices: _Indices
    original_probs: _Positions | None = None
    modified_probs: _Positions | None = None
    prob_diff: _Vector | None = None
    scaled_delta_p: _Vector | None = None
    scaled_probs_diff_vect: _Vector | None = None
    logit_scores_before_logit_update: _Vector | None = None
    logit_scores_before_softmax: _Vector | None = None
    normalized_scores_after_softmax: _Vector | None = None


_file: TypeAdapter[list[Iteration]] = TypeAdapter(Annotated[list[Iteration], FailFast()])


def refused(place: str, reason: str) -> InputError:
    """The complaint about one place of the file (field "file")."""
    return InputError(f"This notebook file cannot be imported: {place}: {reason}.", "file")


def read_rows(data: list[Any]) -> list[Iteration]:
    """The objects of the file, each value of the right type and every number finite.

    Raises:
        InputError: one is not; the sentence says which, where and why (field "file").
    """
    try:
        return _file.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        index = first["loc"][0] if first["loc"] else 0
        assert isinstance(index, int)
        row = data[index]
        if not isinstance(row, dict):
            raise refused(f"entry {index + 1} of the list", "it is no object") from None
        number = row.get("iteration")
        known = isinstance(number, int) and not isinstance(number, bool) and abs(number) < 10**9
        place = f"iteration {number}" if known else f"entry {index + 1} of the list"
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"][1:])
        reason = "it is missing" if first["type"] == "missing" else first["msg"]
        raise refused(f"{place}, {path.removeprefix('.')}", reason) from None


def notebook_json(explanation: Explanation, probe: int = 0) -> str:
    """The steps of one probe as the notebook writes them, for the target of `explanation` itself.

    Its tokens are the units that steps replace, and `original_input` the text from the first to
    the last of them. Listed are the target, as one token, and the less likely alternatives that
    are known. A step in which the target was not listed lists a token without text that has the
    probability the target has at most. For "this rather than that" the probabilities are those of
    the two texts alone. Probabilities in [0, 1], raw scores as in `Step`.

    Raises:
        InputError: the probe made no steps (field "file").
    """
    steps = [step for step in explanation.trace if step.probe == probe]
    if not steps:
        raise InputError(f"Probe {probe} made no steps, so there is nothing to export.", "file")
    return json.dumps(list(_rows(explanation, steps)), ensure_ascii=False, allow_nan=False)


def _rows(explanation: Explanation, steps: list[Step]) -> Iterator[dict[str, Any]]:
    columns = [i for i, unit in enumerate(explanation.units) if unit.stepped]
    place = {unit: column for column, unit in enumerate(columns)}
    original = _text(explanation, columns, {})
    listed = _listed(explanation, steps[0].change + steps[0].probability)
    before: list[float] | None = None
    for number, step in enumerate(steps):
        replaced = np.zeros(len(columns), bool)
        replaced[[place[unit] for unit in step.replaced]] = True
        signed = (np.where(replaced, step.change, -step.change) + 1) / 2
        scores = np.array(step.scores)
        if before is None:
            before = _start(explanation, step, replaced)
        yield {
            "iteration": number,
            "original_input": original,
            "modified_input": _text(
                explanation, columns, dict(zip(step.replaced, step.replacements, strict=True))
            ),
            "replaced_indices": np.flatnonzero(replaced).tolist(),
            "original_probs": [listed],
            "modified_probs": [_modified(explanation, step)],
            "prob_diff": step.change,
            "scaled_delta_p": (step.change + 1) / 2,
            "scaled_probs_diff_vect": signed.tolist(),
            "logit_scores_before_logit_update": before,
            "logit_scores_before_softmax": scores.tolist(),
            "normalized_scores_after_softmax": softmax(scores).tolist(),
        }
        before = scores.tolist()


def _text(explanation: Explanation, columns: list[int], became: dict[int, str]) -> str:
    """The text from the first to the last of the units, some of them replaced."""
    context, parts, at = explanation.prompt + explanation.answer, [], None
    for i in columns:
        unit = explanation.units[i]
        parts += [context[unit.start if at is None else at : unit.start], became.get(i, unit.text)]
        at = unit.end
    return "".join(parts)


def _listed(explanation: Explanation, probability: float) -> list[dict[str, Any]]:
    """The target and the known alternatives to it: of a foil, or of a single answer token."""
    target = explanation.target
    others: list[tuple[str, float]] = []
    if target.instead_of is not None:
        others = [(target.instead_of.text, 1 - _positive(probability))]
    else:
        probability = target.probability
        start, stop = target.answer_start, target.answer_stop
        if start is not None and stop == start + 1:
            token = explanation.answer_tokens[start]
            others = [(each.text, each.probability) for each in token.alternatives]
    return [
        {"token": target.text, "prob": _positive(probability)},
        # A reader takes the likeliest for the target.
        *({"token": text, "prob": prob} for text, prob in others if 0 < prob < probability),
    ]


def _modified(explanation: Explanation, step: Step) -> list[dict[str, Any]]:
    probability = _positive(step.probability)
    token = "" if step.bounded else explanation.target.text
    listed = [{"token": token, "prob": probability}]
    foil = explanation.target.instead_of
    if foil is not None and not step.bounded:
        listed.append({"token": foil.text, "prob": 1 - probability})
    return listed


def _positive(probability: float) -> float:
    return max(probability, sys.float_info.min)


def _start(explanation: Explanation, first: Step, replaced: np.ndarray) -> list[float]:
    """The raw scores before the first step."""
    if explanation.config.init == "zeros":
        return [0.0] * len(replaced)
    from reagent_core.reagent import update

    added = update(np.array([first.change]), replaced[None], explanation.config)[0]
    start: list[float] = (np.array(first.scores) - added).tolist()
    return start
