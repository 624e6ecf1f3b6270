"""The command `reagent study`: a whole data set by several models and methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from reagent_core import models
from reagent_core.baselines.methods import METHODS, REAGENT
from reagent_core.cli_methods import read_methods
from reagent_core.cli_options import AnswerLength, Budget, CurveDraws, Granular, Replacer, Seed
from reagent_core.cli_process import (
    EXIT_CANCELLED,
    EXIT_FAILED,
    ctrl_c,
    exit_codes,
    show_what_the_terminal_cannot_encode,
)
from reagent_core.cli_request import read_config
from reagent_core.config import PresetName
from reagent_core.errors import InputError, Interrupted, ModelError
from reagent_core.output_files import write_bytes
from reagent_core.wording import quoted

if TYPE_CHECKING:
    from reagent_core.study.cost import StudyCost
    from reagent_core.study.data import Columns
    from reagent_core.study.folder import StudyFolder
    from reagent_core.study.plan import Row, Study, Task
    from reagent_core.study.run import StudyProgress
    from reagent_core.study.work import Engine

Format = Literal["table", "tellmewhy", "wikibio"]
EngineName = Literal["local", "ray"]

_LINE_SECONDS = 60.0


def study_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Prompts: .csv, .tsv, .jsonl, .json, .parquet, .txt; or one of the sets that come "
            "along, longra-dev and longra-test.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where everything is kept; made if new.")
    ],
    form: Annotated[
        Format, typer.Option("--format", help="tellmewhy and wikibio: as these are published.")
    ] = "table",
    prompt_column: Annotated[
        str | None, typer.Option(metavar="NAME", show_default="guessed by its name")
    ] = None,
    target_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default="guessed by its name",
            help="What is explained, in place of the model's own answer; '' for none.",
        ),
    ] = None,
    key_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default="guessed by its name",
            help="A text that the prompt hinges on: its rank is told; '' for none.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N prompts.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID,...", show_default="bundled",
            help="See `reagent models`; several with commas, or the option again.",
        ),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help=f"Of these: {', '.join((REAGENT, *(method.name for method in METHODS)))}; or all. "
            "Others are compared with the first.",
        ),
    ] = REAGENT,
    preset: Annotated[PresetName, typer.Option(help="How thorough ReAGent is.")] = "standard",
    granularity: Granular = None,
    seed: Seed = None,
    replacer: Replacer = None,
    budget: Budget = None,
    draws: CurveDraws = 3,
    chat: Annotated[
        bool, typer.Option("--chat", help="Send each prompt as a chat turn, not as plain text.")
    ] = False,
    max_new_tokens: AnswerLength = 16,
    engine: Annotated[
        EngineName, typer.Option(help="Where it runs: in this process, or on a Ray cluster.")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", show_default="a cluster of this machine's own"),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do again what failed in an earlier run.")
    ] = False,
) -> None:  # fmt: skip
    """Explain every prompt of FILE by several models and methods, and tell how faithful each is.

    DIR gets results.csv, results.parquet and report.html, and all explanations. Ctrl-C pauses; the
    same command goes on where it was, after a crash, too. A prompt that cannot be explained is kept
    with the reason.

    Exit status: 0 done, 1 failed, 2 bad input, 130 paused with Ctrl-C.
    """
    show_what_the_terminal_cannot_encode()
    with exit_codes():
        if ray_address is not None and engine != "ray":
            raise InputError("--ray-address needs --engine ray.", "settings")
        rows, read_from = _rows(file, form, (prompt_column, target_column, key_column), limit)

        from reagent_core.study.plan import Study

        study = Study(
            name=file.stem,
            rows=rows,
            models=_models(model),
            methods=tuple(dict.fromkeys(read_methods(None if methods == "all" else methods))),
            config=read_config(preset, granularity, seed, replacer),
            chat=chat,
            max_new_tokens=max_new_tokens,
            budget=budget,
            draws=draws,
        )
        for name in study.models:
            models.resolve(name)

        from reagent_core.study.folder import StudyFolder

        try:
            folder = StudyFolder.create(out, study)
        except InputError as error:
            raise InputError(str(error), "output folder") from None
        from reagent_core.terminal import printable

        if folder.study.name != study.name:
            read_from += f" {out} holds this study already, as {quoted(folder.study.name)}."
        if read_from:
            line = Text(printable(read_from.strip()), "dim")
            Console(stderr=True, highlight=False).print(line, soft_wrap=True)
        going_on = f"What is done is kept in {out}; the same command goes on with the rest."
        try:
            last = _run(folder, engine, ray_address, retry_failed)
        except Interrupted as error:
            _show(folder)
            raise Interrupted(f"{error} {going_on}") from None
        found = _show(folder)
        if last.done < last.total:
            told = f"Paused: {last.done:,} of {last.total:,} tasks are done. {going_on}"
            Console(stderr=True, highlight=False).print(Text(told, "bold yellow"), soft_wrap=True)
            raise typer.Exit(EXIT_CANCELLED)
        if not found:
            raise typer.Exit(EXIT_FAILED)


def _rows(
    file: Path, form: Format, named: tuple[str | None, str | None, str | None], limit: int | None
) -> tuple[tuple[Row, ...], str]:
    """The prompts, and of a table which of its columns were read; a complaint about them is one
    about the data set."""
    from reagent_core.study.data import columns_of, read_table, rows_of
    from reagent_core.study.loaders import read_rows, shipped_sets

    path = file if file.exists() else shipped_sets().get(str(file), file)
    try:
        if form != "table":
            if any(name is not None for name in named):
                raise InputError(f"With --format {form} no columns can be named.", "file")
            return read_rows(path, form, limit=limit), ""
        frame = read_table(path.name, path)
        columns = _named(columns_of(frame), *named)
        return rows_of(frame, columns, limit), _told(columns)
    except InputError as error:
        raise InputError(str(error), "data set") from None


def _named(guessed: Columns, prompt: str | None, target: str | None, key: str | None) -> Columns:
    """The guessed columns, but for those that are named; '' is none."""
    from reagent_core.study.data import Columns

    return Columns(
        guessed.prompt if prompt is None else prompt,
        guessed.target if target is None else target or None,
        guessed.key if key is None else key or None,
    )


def _told(columns: Columns) -> str:
    """Which columns are read: their names may have been guessed."""
    target = f"column {quoted(columns.target)}" if columns.target else "the model's own answers"
    key = f"column {quoted(columns.key)}" if columns.key else "none"
    return f"Prompts: column {quoted(columns.prompt)}. Targets: {target}. Keys: {key}."


def _models(typed: list[str] | None) -> tuple[str, ...]:
    names = [name.strip() for given in typed or ["bundled"] for name in given.split(",")]
    known = tuple(dict.fromkeys(name for name in names if name))
    if not known:
        raise InputError("--model names no model. Leave it out for the bundled one.", "model")
    return known


def _engine(name: EngineName, address: str | None) -> Engine | Literal["local"]:
    """What runs the tasks."""
    if name == "local":
        return "local"
    from reagent_core.study import ray_engine

    return partial(ray_engine.run, address=address)


def _run(
    folder: StudyFolder, engine: EngineName, address: str | None, retry_failed: bool
) -> StudyProgress:
    """Do what is not done; returns how far it came. Where no terminal shows the progress, there is
    a line a minute."""
    from reagent_core.study.plan import made_before
    from reagent_core.study.run import run_study
    from reagent_core.study.words import again_words, duration
    from reagent_core.terminal import printable, progress_bar

    console = Console(stderr=True, highlight=False)
    work, told = _engine(engine, address), 0.0
    known = [each for each in folder.outcomes() if each.status == "done" or not retry_failed]
    again = made_before(folder.study, known)
    if again:
        console.print(again_words(len(again)), soft_wrap=True)
    ended = {outcome.task for outcome in known} - again
    to_do = [task for task in folder.study.tasks if task not in ended]
    with progress_bar(console) as bar:
        task = bar.add_task("Reading the study", total=None)
        with ctrl_c() as cancelled:
            _announce(folder.study, to_do, engine, console, cancelled)
            for step in run_study(folder, work, cancelled, retry_failed=retry_failed):
                left = "" if step.left_s is None else f", about {duration(step.left_s)} left"
                line = printable(f"{step.doing} ({step.done} of {step.total} done{left})")
                bar.update(task, description=line, total=step.total, completed=step.done)
                if not console.is_terminal and step.seconds - told >= _LINE_SECONDS:
                    told = step.seconds
                    console.print(Text(line), soft_wrap=True)
    return step


def _announce(
    study: Study,
    tasks: Sequence[Task],
    engine: EngineName,
    console: Console,
    cancelled: Callable[[], bool],
) -> None:
    """Say what tasks will cost. A model that cannot be loaded costs nothing: its tasks will fail.
    For machines of a cluster no time is said, and no weights are loaded: here there may be no room
    for them."""
    from reagent_core.cost import measure_speed
    from reagent_core.study.cost import study_cost
    from reagent_core.study.words import cost_sentence, size_words

    waiting = Counter(task.model for task in tasks)
    costs: list[StudyCost] = []
    # The last one is still in memory when it begins: that is the first of the run.
    for model, count in reversed(list(waiting.items())):
        if cancelled():
            return
        try:
            scorer = models.load(model) if engine == "local" else models.outline(model)
        except ModelError:
            continue
        if scorer is None:
            continue
        server = bool(scorer.requests_for(1, 1))
        speed = None if server or engine == "ray" else measure_speed(scorer)
        # Which methods a model allows is found out by running a part of it.
        refused = () if engine == "ray" and not server else None
        costs.append(study_cost(study, model, scorer, speed, count, refused))
        del scorer  # it would be held while there has to be room for the next one
    told = [size_words(study)] if waiting and engine == "ray" else []
    if costs:
        told.append(cost_sentence(reduce(add, costs)))
    if (missing := len(waiting) - len(costs)) and (costs or engine == "ray"):
        why = ": not to be had on this machine" if engine == "ray" else ""
        told.append(f"{missing} of {len(waiting)} models not counted{why}.")
    if told:
        console.print(" ".join(told), soft_wrap=True)


def _show(folder: StudyFolder) -> bool:
    """Write the files and print the summary; returns whether anything was found."""
    from reagent_core.study.export import results_csv, results_frame, results_parquet
    from reagent_core.study.report import study_report
    from reagent_core.study.summary import summary
    from reagent_core.study.terminal import show_study
    from reagent_core.terminal import printable

    results = results_frame(folder.study, folder.outcomes())
    means = summary(folder.study, results)  # once: its intervals take a while
    files = {
        "results.csv": results_csv(results).encode(),
        "results.parquet": results_parquet(results),
        "report.html": study_report(folder, results, means).encode(),
    }
    for name, content in files.items():
        write_bytes(folder.path / name, content)
    console = Console(highlight=False)
    show_study(console, folder.study, results, means)
    written = ", ".join(str(folder.path / name) for name in files)
    console.print(Text(printable(f"Written: {written}"), "dim"), soft_wrap=True)
    return bool((results["status"] == "done").any())
