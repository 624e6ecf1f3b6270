"""From an explanation back to what the engine measured: the tokens, the units and the target."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from reagent_core.answer import ANSWER_CONTEXT, continuation_of, text_behind, with_answer
from reagent_core.errors import InputError
from reagent_core.explanation import Explanation
from reagent_core.prompt import Prompt, Tokenizer, Unit, build_prompt, joined
from reagent_core.scorers.base import Scorer
from reagent_core.target import Targets, answer_targets

_OTHER_TOKENS = InputError(
    "This model reads prompt and answer in other pieces than the one that was explained. Check "
    "with the model that was explained.",
    "file",
)


def rebuilt(
    explanation: Explanation, scorer: Scorer, free: Collection[int]
) -> tuple[Prompt, Targets]:
    """The context of an explanation and its one target, as the model behind `scorer` reads them.

    Only the units `free` (indices) may be replaced; the units are those of the explanation, in the
    same order. Its `request` is not needed: all of it that matters here shows in the result.

    Raises:
        InputError: the model's tokenizer is another one (field "file").
    """
    target = explanation.target
    # Units are joined from tokens: where a span was protected, words ended there, too.
    prompt = build_prompt(explanation.messages or explanation.prompt, scorer.tokenizer)
    if target.answer_start is None or target.answer_stop is None:
        if continuation_of(prompt, target.text, scorer).token_ids != target.token_ids:
            raise _OTHER_TOKENS
        foil = target.instead_of.token_ids if target.instead_of else None
        targets = Targets(target.token_ids, ((0, len(target.token_ids)),), foil)
    else:
        if not _says_the_answer(explanation, prompt, scorer.tokenizer):
            raise _OTHER_TOKENS
        targets = answer_targets(explanation.answer_tokens, target.answer_start, target.answer_stop)
        if explanation.units[-1].end > len(explanation.prompt):  # some of the answer is context
            given = explanation.answer_tokens[: target.answer_stop - 1]
            prompt = with_answer(prompt, given, target.answer_start)
            targets = replace(targets, in_context=True)
    return replace(prompt, units=_units(explanation, prompt, free)), targets


def _says_the_answer(explanation: Explanation, prompt: Prompt, tokenizer: Tokenizer) -> bool:
    """Whether the answer's token ids mean to this tokenizer what they meant then."""
    context = () if prompt.closed else prompt.token_ids[-ANSWER_CONTEXT:]
    ids = [token.token_id for token in explanation.answer_tokens]
    try:
        return text_behind(context, ids, tokenizer.decode) == explanation.answer
    except (IndexError, OverflowError):  # ids that this vocabulary does not have
        return False


def _units(explanation: Explanation, prompt: Prompt, free: Collection[int]) -> tuple[Unit, ...]:
    """The units of the explanation with the token positions of the prompt."""
    units: list[Unit] = []
    place = 0
    for index, unit in enumerate(explanation.units):
        begin = place
        while place < len(prompt.units) and prompt.units[place].end <= unit.end:
            place += 1
        own = prompt.units[begin:place]
        if not own or (own[0].start, own[-1].end) != (unit.start, unit.end):
            raise _OTHER_TOKENS
        whole = own[0] if len(own) == 1 else joined(prompt.text, own)
        units.append(replace(whole, protected=index not in free))
    if place < len(prompt.units) or not prompt.text.startswith(explanation.prompt):
        raise _OTHER_TOKENS
    return tuple(units)
