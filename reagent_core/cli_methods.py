"""The command `reagent compare-methods`: ReAGent beside other attribution methods."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from reagent_core import models
from reagent_core.baselines.methods import METHODS, REAGENT, method_named
from reagent_core.cli_options import (
    AnswerLength,
    AnswerToken,
    AsChat,
    Budget,
    CurveDraws,
    Granular,
    InsteadOf,
    JsonFile,
    ModelId,
    PromptText,
    Replacer,
    Seed,
    SystemTurn,
    TargetText,
)
from reagent_core.cli_output import STANDARD, write
from reagent_core.cli_process import ctrl_c, exit_codes, show_what_the_terminal_cannot_encode
from reagent_core.cli_request import read_config, read_prompt, read_target
from reagent_core.config import PresetName
from reagent_core.errors import InputError
from reagent_core.output_files import check_writable
from reagent_core.request import Request

if TYPE_CHECKING:
    from reagent_core.baselines.compared import MethodsCompared


def compare_methods_command(
    prompt: PromptText,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", show_default="all that the model allows",
            help=f"Of these: {', '.join((REAGENT, *(method.name for method in METHODS)))}.",
        ),
    ] = None,
    chat: AsChat = False,
    system: SystemTurn = None,
    model: ModelId = "bundled",
    max_new_tokens: AnswerLength = 16,
    answer_token: AnswerToken = None,
    target: TargetText = None,
    instead_of: InsteadOf = None,
    preset: Annotated[PresetName, typer.Option(help="How thorough ReAGent is.")] = "standard",
    granularity: Granular = None,
    seed: Seed = None,
    replacer: Replacer = None,
    budget: Budget = None,
    draws: CurveDraws = 3,
    json: JsonFile = None,
) -> None:  # fmt: skip
    """Explain one target of PROMPT by several methods: where they agree, how faithful each is, and
    what it costs.

    Faithfulness is the area between insertion and deletion curve, from -1 to 1. For it tokens are
    replaced in another way than by the methods: where these use causal_lm, by causal_lm_reranked,
    which draws the same proposals and weighs them anew. Which replacer it is, and what it has to do
    with theirs, is printed below the table.

    Exit status: 0 done, 1 failed, 2 bad input, 130 cancelled with Ctrl-C.
    """
    show_what_the_terminal_cannot_encode()
    with exit_codes():
        names = read_methods(methods)
        request = Request(
            model=model,
            prompt=read_prompt(prompt, chat=chat, system=system),
            target=read_target(answer_token, False, target, instead_of),
            max_new_tokens=max_new_tokens,
            config=read_config(preset, granularity, seed, replacer),
        )
        if json is not None and json != STANDARD:
            check_writable(json)
        compared = _run(names, request, budget, draws)

        from reagent_core.terminal import dark_background
        from reagent_core.terminal_methods import show_methods

        console = Console(stderr=json == STANDARD, highlight=False)
        show_methods(console, compared, dark=dark_background(os.environ))
        if json is not None:
            write(json, compared.model_dump_json() + "\n")


def read_methods(typed: str | None) -> list[str]:
    """The methods named, separated by commas; all where none are.

    Raises:
        InputError: one is unknown, or none is named (field "settings").
    """
    if typed is None:
        return [REAGENT, *(method.name for method in METHODS)]
    names = [name.strip() for name in typed.split(",") if name.strip()]
    if not names:
        raise InputError("--methods names no method. Leave it out for all.", "settings")
    for name in names:
        if name != REAGENT:
            method_named(name)
    return names


def _run(names: list[str], request: Request, budget: int | None, draws: int) -> MethodsCompared:
    from reagent_core.terminal import progress_bar

    with progress_bar(Console(stderr=True, highlight=False)) as bar:
        task = bar.add_task("Loading the model", total=None)
        scorer = models.load(request.model)

        from reagent_core.baselines.comparison import compare_methods

        with ctrl_c() as cancelled:
            steps = compare_methods(
                names, request, scorer, budget=budget, draws=draws, cancelled=cancelled
            )
            for step in steps:
                bar.update(task, description=step.doing, total=step.total, completed=step.done)
    if step.compared is None:
        raise AssertionError("a comparison ends with its result")
    return step.compared
