"""An explanation as one HTML file that needs nothing else: no server, no network."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from reagent_core.baselines.methods import REAGENT, label_of
from reagent_core.colours import palette_css
from reagent_core.config import preset_of
from reagent_core.explanation import Explanation
from reagent_core.method_words import score_name
from reagent_core.sentences import (
    effect_words,
    fact_sentence,
    main_measure,
    ranking,
    summary,
    unit_names,
)
from reagent_core.strip import answer_strip, answer_words, prompt_strip
from reagent_core.wording import percent

ASSETS = Path(__file__).parent.parent / "assets"
MOST_BARS = 12


def html_report(explanation: Explanation) -> str:
    """The report: sentence, fact, verdict, clickable strips, effects, table, settings, model.

    Token texts reach the page as JSON and enter it through `textContent`; the page forbids itself
    every network access by its content security policy.
    """
    return template("report.html.jinja").render(
        title=summary(explanation),
        data=_data(explanation),
        settings=_settings(explanation),
        score_name=score_name(explanation),
        method=None if explanation.method == REAGENT else label_of(explanation.method),
        odds=explanation.target.instead_of is not None,
        css=asset("token_strip.css") + palette_css() + asset("report.css"),
        script=asset("token_strip.js") + asset("report.js"),
    )


def _data(explanation: Explanation) -> dict[str, Any]:
    """What the page draws: the whole explanation first, then one view a clickable word."""
    words = answer_words(explanation)
    views = [_view(explanation)]
    view_of_word: list[int | None] = []
    for word in words:
        if word.explained is None:
            view_of_word.append(None)
        elif word.explained is explanation:
            view_of_word.append(0)
        else:
            view_of_word.append(len(views))
            views.append(_view(word.explained))
    return {
        "answer": [asdict(token) for token in answer_strip(explanation)],
        "view_of_word": view_of_word,
        "explained_word": view_of_word.index(0) if 0 in view_of_word else None,
        "views": views,
        "measure": main_measure(explanation),
        "score_name": score_name(explanation),
    }


def _view(explanation: Explanation) -> dict[str, Any]:
    order = ranking(explanation)
    names, units = unit_names(explanation.units), explanation.units
    odds = explanation.target.instead_of is not None
    known = [i for i in order if units[i].effect is not None]
    strongest = sorted(known, key=lambda i: -abs(units[i].effect or 0.0))[:MOST_BARS]
    return {
        "sentence": summary(explanation),
        "fact": fact_sentence(explanation),
        "verdict": explanation.verdict.text,
        "warnings": explanation.verdict.warnings,
        "tokens": [asdict(token) for token in prompt_strip(explanation, main_measure(explanation))],
        "bars": [
            {
                "unit": i,
                "name": names[i],
                "effect": units[i].effect,
                "low": units[i].effect_low,
                "high": units[i].effect_high,
                "words": effect_words(units[i], odds=odds),
            }
            for i in known
            if i in strongest
        ],
        "rows": [
            {
                "unit": i,
                "name": names[i],
                "words": effect_words(units[i], odds=odds),
                "effect": units[i].effect,
                "score": units[i].score,
            }
            for i in ranking(explanation, main_measure(explanation))
        ],
    }


def _settings(explanation: Explanation) -> list[tuple[str, str]]:
    """Names and values of the table at the end of the page."""
    target, counts, config = explanation.target, explanation.counts, explanation.config
    rows = [
        ("Target", target.text),
        ("Probability of the target", percent(target.probability)),
    ]
    if target.instead_of is not None:
        foil = target.instead_of
        rows.append(("Rather than", f"{foil.text} ({percent(foil.probability)})"))
    rows += [
        ("Model", explanation.model.id),
        ("Revision or SHA-256", explanation.model.revision_or_sha256),
    ]
    if explanation.replacer_model is not None:
        rows += [
            ("Replacer model", explanation.replacer_model.id),
            ("Its revision or SHA-256", explanation.replacer_model.revision_or_sha256),
        ]
    rows += [
        ("State of the run", explanation.status),
        *([("Why it stopped", explanation.interruption)] if explanation.interruption else []),
        *([("Imported from", explanation.source)] if explanation.source != "reagent" else []),
        _how(explanation),
    ]
    rows += [(name.replace("_", " "), str(value)) for name, value in config]
    rows += [
        ("Forward calls", f"{counts.forwards:,}"),
        ("Sequences", f"{counts.sequences:,}"),
        *([("For probes that had stopped", percent(counts.in_vain))] if counts.in_vain else []),
        ("Tokens", f"{counts.tokens:,}"),
        *([("Of these backwards, too", f"{counts.backwards:,}")] if counts.backwards else []),
        *([("Requests to the server", f"{counts.requests:,}")] if counts.requests else []),
        ("Seconds", f"{explanation.seconds:,.1f}"),
        ("Versions", ", ".join(f"{name} {v}" for name, v in explanation.versions.items())),
    ]
    return rows


def _how(explanation: Explanation) -> tuple[str, str]:
    if explanation.method != REAGENT:
        return "Method", label_of(explanation.method)
    return "Preset", preset_of(explanation.config) or "none: own settings"


@lru_cache
def template(name: str) -> Template:
    """A template of the assets. What it is given is escaped; what it uses must be given."""
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(name)


def asset(name: str) -> str:
    """A text of the assets."""
    return (ASSETS / name).read_text("utf-8")
