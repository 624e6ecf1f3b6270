"""What several commands are told in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reagent_core.config import Granularity, ReplacerName

PromptText = Annotated[
    str, typer.Argument(metavar="PROMPT", help="The prompt; - reads standard input.")
]
AsChat = Annotated[
    bool, typer.Option("--chat", help="Send the prompt as a chat turn, not as plain text.")
]
SystemTurn = Annotated[str | None, typer.Option(metavar="TEXT", help="System turn of the chat.")]
ModelId = Annotated[
    str, typer.Option(metavar="ID", help="See `reagent models`; or a hub id, path or address.")
]
AnswerLength = Annotated[
    int, typer.Option(metavar="N", min=1, max=256, help="Longest answer, in tokens.")
]
AnswerToken = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, show_default="0", help="Explain this token of the answer."),
]
TargetText = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Explain this text in place of the answer.")
]
InsteadOf = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Why the target rather than this text.")
]
Granular = Annotated[
    Granularity | None, typer.Option(show_default="token", help="What gets one score.")
]
Seed = Annotated[
    int | None,
    typer.Option(metavar="N", show_default="0", help="Equal seeds give equal results."),
]
Replacer = Annotated[
    ReplacerName | None,
    typer.Option(show_default="causal_lm", help="What stands in for a replaced token."),
]
JsonFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write everything as JSON (- for standard output)."),
]
Budget = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=100_000, show_default="about as many as Standard",
        help="Sequences that each sampling method may score.",
    ),
]  # fmt: skip
CurveDraws = Annotated[
    int, typer.Option(metavar="N", min=1, max=100, help="Replacements of each faithfulness curve.")
]
