"""An explanation in a terminal: coloured prompt tokens, sentences, tables, progress.

Token texts are data: they become `rich` texts piece by piece, never markup, and what a terminal
would obey (control characters, escape sequences, direction marks) is shown as its code point.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.style import Style
from rich.table import Table
from rich.text import Text

from reagent_core.baselines.methods import REAGENT
from reagent_core.colours import level, swatch
from reagent_core.config import preset_of
from reagent_core.explanation import Explanation, UnitScore
from reagent_core.method_words import has_signs, score_name
from reagent_core.sentences import (
    Measure,
    fact_sentence,
    interval_words,
    main_measure,
    ranking,
    summary,
    target_name,
    unit_names,
)
from reagent_core.strip import StripToken, answer_words, prompt_strip
from reagent_core.wording import change, factor, percent, quoted, visible

MOST_ROWS = 10
TOKENS_A_WORD = 3
LEGENDS: dict[Measure, str] = {
    "effect": "Blue speaks for the target, orange against it; stronger colour, larger effect.",
    "score": "Stronger colour, higher ReAGent score.",
}


def legend(explanation: Explanation) -> str:
    """What the colours of its strip mean."""
    measure = main_measure(explanation)
    if has_signs(explanation):
        return "Blue speaks for the target, orange against it; stronger colour, larger share."
    return LEGENDS[measure].replace("ReAGent score", score_name(explanation))


def printable(text: str) -> str:
    """`text` with blanks and line ends as they are and all other invisible characters shown."""
    return "".join(character if character in " \n" else visible(character) for character in text)


def dark_background(environment: Mapping[str, str]) -> bool:
    """Whether the terminal is dark, by the variable COLORFGBG that many set; most are."""
    return environment.get("COLORFGBG", "").rpartition(";")[2] not in ("7", "15")


def prompt_text(explanation: Explanation, *, dark: bool) -> Text:
    """The prompt, each unit on a background as strong as its effect against the strongest.

    Under the `paper` preset colours follow the published score. Folded template parts are named.
    """
    return strip_text(prompt_strip(explanation, main_measure(explanation)), dark=dark)


def strip_text(pieces: Iterable[StripToken], *, dark: bool) -> Text:
    """A strip with its colours; folded parts are named."""
    shown = Text()
    for piece in pieces:
        if piece.fold is not None:
            shown.append(f"‹{piece.fold}›", Style(dim=True))
            continue
        style = Style(dim=True) if piece.muted else Style()
        if piece.weight is not None and level(piece.weight):
            colours = swatch(piece.weight, dark=dark)
            style = Style(color=colours.text, bgcolor=colours.background)
        # A line end is marked, and then ends the line.
        for i, line in enumerate(piece.text.split("\n")):
            shown.append("↵\n" if i else "", Style(dim=True))
            shown.append(printable(line), style)
    return shown


def answer_text(explanation: Explanation) -> Text:
    """The answer; the words that are explained are bold and underlined, unless all are."""
    marked = Style(bold=True, underline=True)
    shown = Text()
    for word in answer_words(explanation):
        own = word.explained is explanation
        shown.append(printable(word.text), marked if own else Style())
    return shown


def unit_table(explanation: Explanation) -> Table:
    """The strongest units: score, effect as a factor, 95% interval."""
    odds = explanation.target.instead_of is not None
    units, names = explanation.units, unit_names(explanation.units)
    order = ranking(explanation, main_measure(explanation))
    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column(explanation.config.granularity.capitalize(), overflow="fold")
    table.add_column("Score", justify="right", no_wrap=True)
    table.add_column("Without it")
    table.add_column("95% interval")
    for place, i in enumerate(order[:MOST_ROWS], start=1):
        unit = units[i]
        table.add_row(
            Text(str(place)),
            Text(names[i]),
            Text("" if unit.score is None else f"{unit.score:.3f}"),
            Text(
                _without_effect(unit)
                if unit.effect is None
                else change(unit.effect, odds=odds, at_least=unit.at_least)
            ),
            Text(interval_words(unit, odds=odds) or ""),
        )
    return table


def _without_effect(unit: UnitScore) -> str:
    """What stands in place of an effect."""
    return "not known" if unit.attribution is None else f"attribution {unit.attribution:.3g}"


def word_table(explanation: Explanation) -> Table:
    """Whole-answer mode: each word of the answer with the units that speak most for it."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Word", overflow="fold")
    table.add_column("Strongest for it, and how many times less likely without")
    for word in answer_words(explanation):
        if word.explained is None:
            continue
        units, names = word.explained.units, unit_names(word.explained.units)
        strongest = [
            f"{quoted(names[i])} ({factor(effect, at_least=units[i].at_least)})"
            for i in ranking(word.explained)[:TOKENS_A_WORD]
            if (effect := units[i].effect) is not None and effect > 0
        ]
        table.add_row(Text(quoted(word.text)), Text(", ".join(strongest) or "none"))
    return table


def show(console: Console, explanation: Explanation, *, dark: bool, stored: bool) -> None:
    """Print everything a person wants to know about the result."""

    def say(text: Text | str, style: str = "") -> None:
        # Into a file or a pipe lines are not broken: other programs read them.
        shown = Text(printable(text)) if isinstance(text, str) else text.copy()
        shown.stylize(style)
        console.print(shown, soft_wrap=not console.is_terminal)

    target = explanation.target
    if explanation.status == "cancelled":
        say("Cancelled: this is what was found until then.", "bold yellow")
    if explanation.interruption:
        say(f"{explanation.interruption} This is what was found until then.", "bold yellow")
    say(Text.assemble(("Prompt  ", "bold"), prompt_text(explanation, dark=dark)))
    say(Text.assemble(("Answer  ", "bold"), answer_text(explanation)))
    told = f"{target_name(explanation)}, probability {percent(target.probability)}"
    if target.instead_of is not None:
        told += f" against {percent(target.instead_of.probability)}"
    say(Text.assemble(("Target  ", "bold"), printable(told)))
    if console.is_terminal and not console.no_color:
        say(legend(explanation), "dim")
    say("")
    say(summary(explanation), "bold")
    if fact := fact_sentence(explanation):
        say(fact)
    say("")
    console.print(unit_table(explanation))
    if explanation.explanations:
        say("")
        console.print(word_table(explanation))
    say("")
    say(explanation.verdict.text)
    for warning in explanation.verdict.warnings:
        say(f"Warning: {warning}", "yellow")
    say(_origin(explanation, stored=stored), "dim")


def progress_bar(console: Console) -> Progress:
    """A bar that leaves no trace; nothing at all where `console` is no terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _origin(explanation: Explanation, *, stored: bool) -> str:
    config, counts = explanation.config, explanation.counts
    work = f"{counts.sequences:,} sequences in {explanation.seconds:,.1f} s"
    if counts.in_vain:
        work += f", {percent(counts.in_vain)} of them for probes that had stopped"
    if counts.requests:
        work += f", {counts.requests:,} requests, {counts.tokens:,} tokens"
    helper = explanation.replacer_model
    how = f"preset {preset_of(config) or 'none'}"
    if explanation.method != REAGENT:
        how = f"method {explanation.method}"
    if counts.backwards:
        work += f", {counts.backwards:,} of them backwards, too"
    return (
        f"{explanation.model.id}{f', replacements by {helper.id}' if helper else ''}, "
        f"{how}, seed {config.seed}, {work}"
        f"{', from the store' if stored else ''}"
    )
