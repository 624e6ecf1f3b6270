"""Which replacer the options of a run name."""

from __future__ import annotations

from collections.abc import Callable

from reagent_core.config import Config
from reagent_core.errors import InputError
from reagent_core.replacers.base import Replacer
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.replacers.uniform import UniformReplacer
from reagent_core.scorers.base import Capabilities, Scorer, never


def make_replacer(
    config: Config, scorer: Scorer, cancelled: Callable[[], bool] = never
) -> Replacer:
    """The replacer of `config` for the model behind `scorer`; a masked model is loaded for it.

    Raises:
        InputError: there is no such masked model, or it cannot be had, or the model behind `scorer`
            cannot tell what this replacer needs (field "settings").
        ModelError: a model cannot be used for this; the sentence says why.
    """
    check_replacer(config, scorer.capabilities)
    if config.replacer == "uniform":
        return UniformReplacer(scorer.tokenizer)
    if config.replacer == "causal_lm":
        return CausalLMReplacer(scorer)
    if config.replacer == "causal_lm_reranked":
        from reagent_core.replacers.reranked import RerankedCausalLMReplacer

        return RerankedCausalLMReplacer(scorer, cancelled)
    from reagent_core.replacers.masked_lm import MaskedLMReplacer
    from reagent_core.replacers.masked_models import load_masked_model

    return MaskedLMReplacer(load_masked_model(config.replacer_model), scorer, cancelled)


def check_replacer(config: Config, can: Capabilities) -> None:
    """Refuse (InputError, field "settings") a replacer that needs what a scorer cannot tell."""
    if config.replacer == "causal_lm_reranked" and can.first_only:
        raise InputError(
            "causal_lm_reranked weighs each proposal by the text behind it, and this server tells "
            "only what the first token of an answer is. Choose causal_lm, masked_lm or uniform as "
            "replacer.",
            "settings",
        )
