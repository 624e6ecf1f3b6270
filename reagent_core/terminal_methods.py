"""Methods side by side in a terminal: strips, findings, cost, agreement."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reagent_core.baselines.compared import MethodsCompared, shared_strips
from reagent_core.baselines.compared_words import judged_by
from reagent_core.check import Estimate
from reagent_core.sentences import main_measure, ranking, target_name, unit_names
from reagent_core.terminal import printable, strip_text
from reagent_core.wording import quoted

_NAMED = 3
_HARD = ("comprehensiveness", "sufficiency")
_SOFT = ("soft_comprehensiveness", "soft_sufficiency")


def show_methods(console: Console, compared: MethodsCompared, *, dark: bool) -> None:
    """Print everything a person wants to know about the comparison."""

    def say(text: Text | str, style: str = "") -> None:
        shown = Text(printable(text)) if isinstance(text, str) else text.copy()
        shown.stylize(style)
        console.print(shown, soft_wrap=not console.is_terminal)

    explanations = [result.explanation for result in compared.results]
    count = len(explanations)
    methods = f"{count} method{'' if count == 1 else 's'}"
    say(f"Why {target_name(explanations[0])}, by {methods}", "bold")
    names = _numbered(compared)
    width = max(map(len, names))
    for name, strip in zip(names, shared_strips(explanations), strict=True):
        say(Text.assemble((f"{name:<{width}}  ", "dim"), strip_text(strip, dark=dark)))
    if console.is_terminal and not console.no_color:
        say("Blue speaks for the target, orange against it; all strips have one scale.", "dim")
    say("")
    console.print(finding_table(compared))
    if any(result.faithful for result in compared.results):
        say("")
        console.print(faithful_table(compared))
        say(judged_by(compared), "dim")
        say(
            "Area between insertion and deletion curve, comprehensiveness and the soft measures: "
            "high is good; sufficiency: low is good. Comprehensiveness and sufficiency in nats.",
            "dim",
        )
        if any(each.faithful and each.faithful.soft for each in compared.results):
            say(
                "Soft-NC and Soft-NS as they are, then their log ratio to the same scores shuffled "
                "(– where one of the two is 0): compare by that, for flat scores, even random "
                "ones, raise them as they are.",
                "dim",
            )
    say("")
    console.print(cost_table(compared))
    if count > 1:
        say("")
        say("Agreement of the orders (Kendall's tau: 1 the same, 0 none, -1 reversed)", "bold")
        console.print(agreement_table(compared))
    for note in compared.notes:
        say(note, "yellow")
    for result in compared.results:
        for warning in result.explanation.verdict.warnings:
            say(f"{result.label}: {warning}", "yellow")
    for refused in compared.refused:
        say(f"Left out: {refused.label}. {refused.reason}", "dim")


def finding_table(compared: MethodsCompared) -> Table:
    """What each method put first."""
    unit = compared.results[0].explanation.config.granularity
    table = Table(box=None, pad_edge=False)
    table.add_column("Method", no_wrap=True)
    table.add_column(f"Strongest {unit}s", overflow="fold")
    for name, result in zip(_numbered(compared), compared.results, strict=True):
        explanation = result.explanation
        names = unit_names(explanation.units)
        top = ranking(explanation, main_measure(explanation))[:_NAMED]
        table.add_row(Text(name), Text(", ".join(quoted(names[i]) for i in top)))
    return table


def faithful_table(compared: MethodsCompared) -> Table:
    """How faithful the order of each method is, by every measure, of the soft ones with the log
    ratio; empty where one is not known."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Method", no_wrap=True)
    # So narrow that 80 columns hold it.
    for title in (
        "Area", "Beats\nrandom", "Compr.", "Suff.", "Soft-NC,\nlog ratio", "Soft-NS,\nlog ratio"
    ):  # fmt: skip
        table.add_column(title, justify="right", no_wrap=True)
    for name, result in zip(_numbered(compared), compared.results, strict=True):
        faithful = result.faithful
        if faithful is None:
            continue
        known, ratios = faithful.estimates(), faithful.log_ratios()
        hard = [_number(known[measure]) for measure in _HARD]
        soft = [_with_ratio(known[each], ratios[f"{each}_log_ratio"]) for each in _SOFT]
        beats = f"{faithful.beaten}/{faithful.orders}"
        table.add_row(*map(Text, (name, f"{faithful.area:.2f}", beats, *hard, *soft)))
    return table


def _number(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.mean:.2f}"


def _with_ratio(estimate: Estimate | None, log_ratio: float | None) -> str:
    """ "0.83 +0.37"; a line where there is no log ratio."""
    if estimate is None:
        return ""
    return f"{_number(estimate)} {'–' if log_ratio is None else f'{log_ratio:+.2f}':>5}"


def cost_table(compared: MethodsCompared) -> Table:
    """What each method cost."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Method", no_wrap=True)
    for title in ("Seconds", "Sequences", "Forward calls", "Backwards"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, result in zip(_numbered(compared), compared.results, strict=True):
        counts = result.explanation.counts
        numbers = (counts.sequences, counts.forwards, counts.backwards)
        seconds = f"{result.explanation.seconds:,.1f}"
        table.add_row(Text(name), Text(seconds), *(Text(f"{number:,}") for number in numbers))
    return table


def agreement_table(compared: MethodsCompared) -> Table:
    """Kendall's tau of each method with each, by their numbers."""
    count = len(compared.results)
    table = Table(box=None, pad_edge=False)
    for title in ("", *map(str, range(1, count + 1))):
        table.add_column(title, justify="right", no_wrap=True)
    for i, row in enumerate(compared.agreement):
        cells = ["–" if tau is None else f"{tau:.2f}".replace("0.", ".") for tau in row]
        table.add_row(str(i + 1), *map(Text, cells))
    return table


def _numbered(compared: MethodsCompared) -> list[str]:
    """ " 1 ReAGent": the labels, with the numbers they have in the matrix."""
    width = len(str(len(compared.results)))
    return [f"{i:>{width}} {each.label}" for i, each in enumerate(compared.results, start=1)]
