"""An explanation as the lines of Python that make it again."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from reagent_core.baselines.methods import REAGENT
from reagent_core.config import Config
from reagent_core.explanation import Explanation
from reagent_core.request import Request, Turn

# These are said even where they have their default: the reader will want to change them.
_ALWAYS = {Request: ("model", "prompt", "target", "max_new_tokens"), Config: ("seed",)}

# What stands in comments is a literal, too, so that no line break ends them.
_SCRIPT = """\
# Made with reagent-dashboard {version!r} from the model {model!r};
# equal numbers need the same weights: {weights!r}
from reagent_core import models
{imports}
from reagent_core.request import {used}

request = {request}
explanation = {call}
print(explanation.verdict.text)
for unit in explanation.units:
    print(repr(unit.text), unit.effect, (unit.effect_low, unit.effect_high), {last})
"""

_REAGENT = {
    "imports": "from reagent_core.config import Config\n"
    "from reagent_core.explain import explain_now",
    "call": "explain_now(request, models.load(request.model))",
    "last": "unit.score",
}
_OTHER = {
    "imports": "from reagent_core.baselines.attribute import attribute\n"
    "from reagent_core.baselines.methods import method_named\n"
    "from reagent_core.config import Config",
    "call": "attribute(method_named({name!r}), request, models.load(request.model))",
    "last": "unit.attribution",
}


def snippet(explanation: Explanation) -> str | None:
    """A script for `reagent_core` that asks for the same again; None where nothing says what was
    asked for (see `Explanation.request`).

    Every option that is not the default is in it, and the seed. All that was typed by somebody,
    prompt and model included, stands in it as a Python literal and cannot be code. Of another
    method than ReAGent it has the usual budget.
    """
    request = explanation.request
    if request is None:
        return None
    name = explanation.method
    parts = _REAGENT if name == REAGENT else {k: v.format(name=name) for k, v in _OTHER.items()}
    return _SCRIPT.format(
        **parts,
        version=explanation.versions.get("reagent-dashboard", "unknown"),
        model=explanation.model.id,
        weights=explanation.model.revision_or_sha256,
        used=", ".join(sorted({type(part).__name__ for part in _parts(request)} - {"Config"})),
        request=_call(request),
    )


def _parts(value: Any) -> list[BaseModel]:
    """The models that the literal of a value is made of."""
    if isinstance(value, BaseModel):
        return [value, *(part for name in _named(value) for part in _parts(getattr(value, name)))]
    return [part for each in value for part in _parts(each)] if isinstance(value, tuple) else []


def _named(value: BaseModel) -> list[str]:
    """The fields a call must name: all of a small part, but for what it is called (`kind`)."""
    fields = {n: field for n, field in type(value).model_fields.items() if n != "kind"}
    always = _ALWAYS.get(type(value), tuple(fields))
    return [
        name
        for name, field in fields.items()
        if name in always or getattr(value, name) != field.default
    ]


def _call(value: Any, indent: int = 0) -> str:
    """A value as Python: long ones one argument a line."""
    inner = indent + 4
    if isinstance(value, BaseModel):
        name = type(value).__name__
        arguments = [f"{each}={_call(getattr(value, each), inner)}" for each in _named(value)]
        if isinstance(value, Request | Config):
            lines = "".join(f"{' ' * inner}{argument},\n" for argument in arguments)
            return f"{name}(\n{lines}{' ' * indent})"
        return f"{name}({', '.join(arguments)})"
    if isinstance(value, tuple) and any(isinstance(each, Turn) for each in value):
        lines = "".join(f"{' ' * inner}{_call(each, inner)},\n" for each in value)
        return f"(\n{lines}{' ' * indent})"
    return repr(value)
