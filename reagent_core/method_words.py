"""What an explanation by another method than ReAGent says, where it tells no effect."""

from __future__ import annotations

from collections.abc import Sequence

from reagent_core.baselines.methods import REAGENT, label_of
from reagent_core.explanation import Explanation, UnitScore

# A second unit is named only if it has at least this share of the strongest one's score.
_WORTH_NAMING = 0.25


def score_name(explanation: Explanation) -> str:
    """What `UnitScore.score` is called: "ReAGent score", "Share of attention"."""
    if explanation.method == REAGENT:
        return "ReAGent score"
    return f"Share by {spoken(label_of(explanation.method))}"


def strength(unit: UnitScore) -> float | None:
    """What a unit without an effect is ranked and coloured by: its attribution with its sign, if
    the method tells one, else its score."""
    return unit.score if unit.attribution is None else unit.attribution


def has_signs(explanation: Explanation) -> bool:
    """Whether some attribution speaks against the target."""
    return any((unit.attribution or 0.0) < 0 for unit in explanation.units)


def finding(explanation: Explanation, order: Sequence[int], names: list[str], target: str) -> str:
    """One sentence: the strongest unit and, if it is worth naming, the next.

    `order`: ranked units, the strongest first; `names` of all units, as spoken; `target`: its name.
    """
    method, units = spoken(label_of(explanation.method)), explanation.units
    if explanation.method == "random":
        return f"Random numbers put {names[order[0]]} first for {target}; that means nothing."
    speaking = [i for i in order if (strength(units[i]) or 0.0) > 0]
    if not speaking:
        return f"By {method}, nothing in the prompt speaks for {target}."
    top, *rest = speaking
    highest = units[top].score or 0.0
    told = f"By {method}, {names[top]} mattered most for {target} ({highest:.0%} of all)"
    if rest and (units[rest[0]].score or 0.0) >= _WORTH_NAMING * highest:
        told += f", then {names[rest[0]]} ({units[rest[0]].score or 0.0:.0%})"
    return f"{told}."


def spoken(label: str) -> str:
    """A method's label inside a sentence: "integrated gradients"; ReAGent keeps its capitals."""
    return label if label.startswith("ReAGent") else label[0].lower() + label[1:]
