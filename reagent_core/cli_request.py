"""From what was typed on the command line to the parts of a request, or a sentence why not."""

from __future__ import annotations

import typer

from reagent_core.config import (
    PRESETS,
    Config,
    Granularity,
    PresetName,
    ReplacerName,
    make_config,
)
from reagent_core.errors import InputError
from reagent_core.prompt import check_text
from reagent_core.request import AnswerTokens, GivenText, TargetChoice, Turn, WholeAnswer


def read_prompt(prompt: str, *, chat: bool, system: str | None) -> str | tuple[Turn, ...]:
    """The prompt as a plain text or as chat turns; `-` is all of standard input.

    Raises:
        InputError: empty, NUL, not UTF-8, or a system turn without a chat.
    """
    text = _checked(_standard_input() if prompt == "-" else prompt, "prompt")
    if not chat:
        if system is not None:
            raise InputError("--system needs --chat. Add it, or leave both out.", "system")
        return text
    user = Turn(role="user", content=text)
    if system is None:
        return (user,)
    return (Turn(role="system", content=_checked(system, "system")), user)


def _standard_input() -> str:
    """All of standard input without the one line end that `echo` and editors add."""
    try:
        text = typer.get_binary_stream("stdin").read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"Standard input is not valid UTF-8 at byte {error.start + 1}. Convert it to UTF-8.",
            "prompt",
        ) from None
    except (OSError, RuntimeError):
        raise InputError(
            "Standard input cannot be read. Pipe a text in, or give the prompt itself.", "prompt"
        ) from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _checked(text: str, field: str) -> str:
    """`text`, if a model can read it. Python turns bad bytes of an argument into surrogates."""
    for place, character in enumerate(text, start=1):
        if "\udc80" <= character <= "\udcff":
            raise InputError(f"Character {place} is not valid UTF-8. Type it as UTF-8.", field)
    check_text(text, field)
    return text


def read_target(
    answer_token: int | None, whole_answer: bool, text: str | None, instead_of: str | None
) -> TargetChoice:
    """What to explain: answer token 0 where nothing is said.

    Raises:
        InputError: options that exclude each other, or a text no model can read.
    """
    if (answer_token is not None) + whole_answer + (text is not None) > 1:
        raise InputError(
            "--answer-token, --whole-answer and --target exclude each other. Keep one of them.",
            "target",
        )
    if text is not None:
        foil = None if instead_of is None else _checked(instead_of, "target")
        return GivenText(text=_checked(text, "target"), instead_of=foil)
    if instead_of is not None:
        raise InputError("--instead-of needs --target, the text to compare with it.", "target")
    if whole_answer:
        return WholeAnswer()
    start = answer_token or 0
    return AnswerTokens(start=start, stop=start + 1)


def read_config(
    preset: PresetName,
    granularity: Granularity | None,
    seed: int | None,
    replacer: ReplacerName | None = None,
    replacer_model: str | None = None,
) -> Config:
    """The preset's options with others in place of its own, where given.

    Raises:
        InputError: one is out of range, or names a model that nothing uses (field "settings").
    """
    if replacer_model is not None and replacer != "masked_lm":
        raise InputError("--replacer-model needs --replacer masked_lm.", "settings")
    given = {
        "granularity": granularity,
        "seed": seed,
        "replacer": replacer,
        "replacer_model": replacer_model,
    }
    own = {name: value for name, value in given.items() if value is not None}
    return make_config(**PRESETS[preset].model_dump() | own)
