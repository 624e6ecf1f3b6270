"""From what a request asks to explain to what the engine measures and a reader is told."""

from __future__ import annotations

import numpy as np

from reagent_core.answer import continuation_of
from reagent_core.errors import InputError
from reagent_core.explanation import AnswerToken, Foil, TargetInfo
from reagent_core.prompt import Prompt
from reagent_core.request import AnswerTokens, GivenText, Request, WholeAnswer
from reagent_core.scorers.base import Scorer
from reagent_core.strip import word_spans
from reagent_core.target import Targets, answer_targets, whole_answer_targets


def asked(
    request: Request,
    prompt: Prompt,
    scorer: Scorer,
    answer: str,
    tokens: tuple[AnswerToken, ...],
) -> tuple[Targets, tuple[TargetInfo, ...]]:
    """What is explained, for the engine and for the reader, in the same order.

    Raises:
        InputError: there is nothing to explain, or no such answer token or continuation.
    """
    choice = request.target
    if isinstance(choice, GivenText):
        this = continuation_of(prompt, choice.text, scorer)
        foil = None
        if choice.instead_of is not None:
            that = continuation_of(prompt, choice.instead_of, scorer)
            if that.token_ids == this.token_ids:
                raise InputError(
                    "The target and what it is compared with are the same text. Change one.",
                    "target",
                )
            foil = Foil(
                text=that.text,
                token_ids=that.token_ids,
                probability=float(np.exp(that.log_probability)),
            )
        info = TargetInfo(
            text=this.text,
            token_ids=this.token_ids,
            probability=float(np.exp(this.log_probability)),
            value=0.0,  # set once it is measured
            instead_of=foil,
        )
        span = (0, len(this.token_ids))
        return Targets(this.token_ids, (span,), foil.token_ids if foil else None), (info,)
    if not tokens:
        raise InputError(
            "The model ends its answer at once, so there is nothing to explain. Change the prompt, "
            "or name a target text of your own.",
            "prompt",
        )
    if isinstance(choice, WholeAnswer):
        targets = whole_answer_targets(tokens, word_spans(answer, tokens))
    else:
        targets = answer_targets(tokens, *_range(choice, tokens))
    infos = tuple(
        TargetInfo(
            text=answer[tokens[start].start : tokens[stop - 1].end],
            token_ids=tuple(token.token_id for token in tokens[start:stop]),
            probability=float(np.prod([token.probability for token in tokens[start:stop]])),
            value=0.0,  # set once it is measured
            answer_start=start,
            answer_stop=stop,
        )
        for start, stop in targets.spans
    )
    return targets, infos


def _range(choice: AnswerTokens, tokens: tuple[AnswerToken, ...]) -> tuple[int, int]:
    if not choice.start < choice.stop <= len(tokens):
        have = f"{len(tokens)} token{'s' if len(tokens) > 1 else ''}"
        raise InputError(
            f"The answer has {have}, counted from 0; there is no token {choice.stop - 1}. Choose "
            f"one from 0 to {len(tokens) - 1}, or ask for a longer answer.",
            "target",
        )
    return choice.start, choice.stop
