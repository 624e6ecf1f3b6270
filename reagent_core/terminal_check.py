"""A check in a terminal: the verdict, the measures at each share, and what they were made with."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reagent_core.check import Check, Curve, Erasure
from reagent_core.check_words import nats, replaced_by, soft_words, work_words
from reagent_core.explanation import Explanation
from reagent_core.sentences import target_name
from reagent_core.terminal import printable
from reagent_core.wording import percent, quoted

_STYLES = {
    "better": "bold green",
    "weak": "bold yellow",
    "chance": "bold red",
    "untestable": "bold yellow",
}


def share_table(check: Check) -> Table:
    """Comprehensiveness and sufficiency at each share of the units, then their mean.

    In nats with the 95% interval, and as what is lost of the target's probability.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("Strongest", no_wrap=True)
    table.add_column("Comprehensiveness", justify="right")
    table.add_column("Lost", justify="right", no_wrap=True)
    table.add_column("Sufficiency", justify="right")
    table.add_column("Lost", justify="right", no_wrap=True)
    for share in check.shares:
        table.add_row(*map(Text, (f"{share.share:.0%} ({share.units})", *_cells(share))))
    table.add_row(*map(Text, ("Mean", *_cells(check.mean))))
    return table


def show_check(console: Console, check: Check, explanation: Explanation) -> None:
    """Print everything a person wants to know about a check of an explanation."""

    def say(text: Text | str, style: str = "") -> None:
        shown = Text(printable(text)) if isinstance(text, str) else text
        shown.stylize(style)
        # Into a file or a pipe lines are not broken: other programs read them.
        console.print(shown, soft_wrap=not console.is_terminal)

    told = f"{target_name(explanation)}, probability {percent(check.target.probability)}"
    say(Text.assemble(("Target  ", "bold"), printable(told)))
    say("")
    say(check.text, _STYLES[check.standing])
    say("")
    console.print(share_table(check))
    say(
        "Comprehensiveness: nats lost when the strongest are replaced (high is good); sufficiency: "
        "when all others are (low is good). Lost: how much of the probability"
        f"{', mean of the tokens' if len(check.target.token_ids) > 1 else ''}.",
        "dim",
    )
    say("")
    say(_areas("Deletion", check.deletion, "low"))
    say(_areas("Insertion", check.insertion, "high"))
    if check.soft is not None:
        say(soft_words(check.soft))
    if check.key is not None:
        rank, count = check.key.rank, check.key.units
        where = f"number {rank} of {count}" if rank else f"not among the {count} ranked"
        say(f"Key {quoted(check.key.text)}: {where}.")
    for note in check.notes:
        say(f"Warning: {note}", "yellow")
    say(f"{check.model.id}, {replaced_by(check)}; {work_words(check)}", "dim")


def _cells(erasure: Erasure) -> tuple[str, str, str, str]:
    return (
        nats(erasure.comprehensiveness),
        percent(erasure.comprehensiveness_relative.mean),
        nats(erasure.sufficiency),
        percent(erasure.sufficiency_relative.mean),
    )


def _areas(name: str, curve: Curve, good: str) -> str:
    band = f"{curve.random_area_low:.3f} to {curve.random_area_high:.3f}"
    return (
        f"{name} area {curve.area:.3f} ({good} is good); random orders {curve.random_area:.3f} "
        f"({band})."
    )
