"""What a comparison of methods would cost, about, beside the button that starts it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from components import loaded_models
from components.cost import cost_words
from components.methods_jobs import Asked
from reagent_core.baselines.methods import REAGENT, method_named
from reagent_core.check import another_replacer
from reagent_core.config import PRESETS
from reagent_core.errors import ReagentError

# Points of the two curves of one draw, as `erasure` reads them; of all random orders together.
_CURVES, _RANDOM = 24, 160
# The soft measures of one method: four a draw, the prompt itself and nothing of it.
_SOFT = 22
# Prompts of a method that looks inside the model, a gradient counting as two more.
_INSIDE = {"gradient_norm": 3, "input_x_gradient": 3, "integrated_gradients": 150,
           "gradient_shap": 150}  # fmt: skip


def draw_cost(asked: Callable[[], Asked]) -> None:
    """One line: "about 2 min"; nothing while the model is not in memory, or is behind a server."""
    if not loaded_models.models_ready():
        return
    try:
        wanted = asked()
        seconds = _seconds(wanted) if wanted.methods else None
    except ReagentError:
        return  # what is wrong is said when the button is pressed
    if seconds is not None:
        st.caption(cost_words(seconds))


def _seconds(wanted: Asked) -> float | None:
    """About how long it takes; None where the speed of the model is not known."""
    request, found = wanted.request, loaded_models.measured(wanted.request.model)
    own = loaded_models.cost_of(request)
    same = {"granularity": request.config.granularity, "replacer": request.config.replacer}
    standard = loaded_models.cost_of(
        request.model_copy(update={"config": PRESETS["standard"].model_copy(update=same)})
    )
    if found is None or own is None or own.seconds is None or standard is None:
        return None
    from reagent_core.coarse import goes_coarse_to_fine
    from reagent_core.prompt import build_prompt
    from reagent_core.replacers.reranked import FOLLOWING, LOOKED_AT
    from reagent_core.soft import EmbeddingScorer

    scorer, speed = found
    config = request.config
    prompt = build_prompt(request.prompt, scorer.tokenizer, config.granularity, request.protected)
    prompts = prompts_read(
        wanted, own.sequences, standard.sequences, len(prompt.free_units),
        soft=isinstance(scorer, EmbeddingScorer),
        long=goes_coarse_to_fine(len(prompt.free_units), config),
    )  # fmt: skip
    seconds = own.seconds * prompts / max(1, own.sequences)
    if speed is not None and not prompt.closed:
        a_place = speed.forward_seconds + LOOKED_AT * FOLLOWING / speed.tokens_per_second
        seconds += a_place * len(prompt.free_positions) * _rerankings(wanted)
    return seconds


def _rerankings(wanted: Asked) -> int:
    """How often proposals for all places are weighed by what follows them: by each method that
    replaces and by the faithfulness, where they do. (ReAGent's own cost has its.)"""
    config = wanted.request.config
    checked = another_replacer(config.replacer, plain=False) == "causal_lm_reranked"
    if config.replacer != "causal_lm_reranked":
        return int(checked)
    methods = [name for name in wanted.methods if name != REAGENT]
    return checked + sum(method_named(name).needs == "forwards" for name in methods)


def prompts_read(
    wanted: Asked, reagents: int, budget: int, units: int, *, soft: bool, long: bool = False
) -> int:
    """How many prompts the model reads, about.

    `reagents`: for ReAGent's own run; `budget`: for each method that samples where none is asked
    for; `units`: that are attributed; `soft`: whether the model has soft measures; `long`: whether
    ReAGent looks at parts of the prompt as a whole.
    """
    made = 0
    given = wanted.budget or budget
    least = {"leave_one_out": units, "shapley": 2 * units}
    for name in wanted.methods:
        if name == REAGENT:
            made += reagents
        elif name == "surrogate" and wanted.budget is None and not long:
            made += 0 if REAGENT in wanted.methods else reagents  # of the same run
        elif method_named(name).budgeted:
            made += max(given, least.get(name, 0))
        else:
            made += _INSIDE.get(name, 1)
    each = wanted.draws * _CURVES + (_SOFT if soft else 0)
    return made + len(wanted.methods) * each + _RANDOM
