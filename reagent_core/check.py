"""The result of a check of an explanation: its data model, and its JSON form.

Two scales are used throughout:

- *nats*: the change of the target's value (log-probability, or log-odds against a foil).
- *left*: the share of its probability that is left, p / p0, of a target of m tokens the geometric
  mean (p / p0) ** (1 / m), because the probability of many tokens together is always next to
  nothing after a change. In [0, 1]: a target that became likelier has all of it left.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict

from reagent_core.baselines.methods import replaces
from reagent_core.config import ReplacerName
from reagent_core.explanation import Counts, Explanation, TargetInfo
from reagent_core.request import ModelInfo
from reagent_core.sentences import Measure
from reagent_core.trust import Standing

# Replacements of the explanation's order: enough for an interval.
DRAWS = 3

# Raise it when the same check would give other numbers than before.
_CHECK_VERSION = 2


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(_Record):
    """A mean over draws with its 95% interval (Student's t); None where there is one draw, or a
    few equal ones."""

    mean: float
    low: float | None = None
    high: float | None = None


class Erasure(_Record):
    """What is lost when the strongest units are replaced, and when only they are kept.

    `comprehensiveness`: nats lost when they are replaced; the higher the better.
    `sufficiency`: nats lost when all others are; the lower the better.
    `comprehensiveness_relative`, `sufficiency_relative`: the same as 1 - left, in [0, 1].
    """

    comprehensiveness: Estimate
    sufficiency: Estimate
    comprehensiveness_relative: Estimate
    sufficiency_relative: Estimate


class ShareErasure(Erasure):
    """The same for the strongest `share` of the units, that is `units` of them."""

    share: float
    units: int


class Curve(_Record):
    """What is left at each point, for the order that is checked and for random ones.

    `left`: in [0, 1], mean over the draws. `nats`: change of the value, mean over the draws; below
    0 where the target became less likely. `random_mean`, `random_low`, `random_high`: left of the
    random orders, their mean and the band that holds all but the lowest and highest 5%; they are
    read at some of the points, and between these on straight lines.
    `area`: under `left` by the trapezoidal rule, over the share of units, so that it lies in
    [0, 1] (Petsiuk et al. 2018), at the points where random orders were read; `random_area` and
    its band likewise.
    """

    left: tuple[float, ...]
    nats: tuple[float, ...]
    random_mean: tuple[float, ...]
    random_low: tuple[float, ...]
    random_high: tuple[float, ...]
    area: float
    random_area: float
    random_area_low: float
    random_area_high: float


class SoftMeasures(_Record):
    """Soft-NS and Soft-NC over several draws, the same of random scores, and log(own / random).

    Random scores are the explanation's own ones, dealt out to the units at random (see `soft`).
    `sufficiency` in [0, 1]; `comprehensiveness` at least 0, about 1 where all is lost. The higher
    the better, both. A log ratio is None where one of the two is zero.
    """

    sufficiency: Estimate
    comprehensiveness: Estimate
    random_sufficiency: float
    random_comprehensiveness: float
    log_ratio_sufficiency: float | None
    log_ratio_comprehensiveness: float | None
    draws: int


# `nothing_important`: no unit speaks for the target, where others could be measured.
# `not_measurable`: whatever the scores, by this model on this prompt.
SoftMissing = Literal["nothing_important", "not_measurable"]


class KeyFound(_Record):
    """Where a text that the prompt is known to hinge on stands: `rank` 1 is the strongest of
    `units`, None not among them."""

    text: str
    rank: int | None
    units: int


class Check(_Record):
    """What a check found. Scales (nats, left) are those of `faithfulness`.

    `text`: the verdict in a sentence, `standing` in a word. `order`: indices of the explanation's
    units, strongest first by `measure`, ties in a random order; other units stayed as they are.
    `points`: how many of them each place of the curves stands for. `beaten`: how many of `orders`
    random orders have a smaller area between insertion and deletion curve. `faster`: their mean
    area under the deletion curve over this one's. `half`: units replaced until half is left.
    `shares` and `mean`: hard measures. `soft`: None where the model's embeddings cannot be changed,
    or tell nothing, or memory is too little. `replacer`: what replaced the units; `same_replacer`:
    it made the explanation, too; `same_proposals`: it draws from the same proposals as what made it
    (see `kinship`). `draws`: replacements of the order; random orders have one each. `notes`: what
    to know before trusting the check.
    """

    schema_version: Literal[1] = 1
    text: str
    standing: Standing
    target: TargetInfo
    measure: Measure
    order: tuple[int, ...]
    points: tuple[int, ...]
    deletion: Curve
    insertion: Curve
    beaten: int
    orders: int
    faster: float
    half: float | None
    shares: tuple[ShareErasure, ...]
    mean: Erasure
    soft: SoftMeasures | None
    key: KeyFound | None
    replacer: ReplacerName
    replacer_model: ModelInfo | None
    same_replacer: bool
    same_proposals: bool = False
    model: ModelInfo
    draws: int
    seed: int
    notes: tuple[str, ...]
    counts: Counts
    seconds: float


def check_key(
    explanation_key: str,
    target: TargetInfo,
    replacer: ReplacerName | None,
    draws: int = DRAWS,
    seed: int = 0,
) -> str:
    """SHA-256 (hex) over everything that decides a check of the explanation of this key.

    `target`: which of its targets is checked; `replacer`: None for the one chosen by the check.
    """
    span = [target.answer_start, target.answer_stop, list(target.token_ids)]
    parts = [_CHECK_VERSION, explanation_key, span, replacer, draws, seed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def replacer_of(explanation: Explanation) -> ReplacerName | None:
    """What stood in for units when the explanation was made, None where its method replaces
    none."""
    return explanation.config.replacer if replaces(explanation.method) else None


# `same`: one replacer; `proposals`: both draw from what the model itself proposes from the left,
# the one as it is, the other weighed by the text behind; `other`: nothing in common.
Kinship = Literal["same", "proposals", "other"]


def kinship(made: ReplacerName | None, checking: ReplacerName) -> Kinship:
    """What the replacer of a check has in common with what made the explanation (None: nothing
    was replaced)."""
    if made == checking:
        return "same"
    return "proposals" if {made, checking} == {"causal_lm", "causal_lm_reranked"} else "other"


def another_replacer(own: ReplacerName, *, plain: bool) -> ReplacerName:
    """What a check replaces with unless told otherwise: not what made the explanation, `own`.

    An order found with one replacer looks good under it, whatever it owes to that replacer. Of the
    others, the model's proposals that fit both sides (`causal_lm_reranked`) disturb a prompt least:
    what is lost then was in the words that went, not in the garbage that came. Beside `causal_lm`
    they are the same proposals weighed in another way, not others; who wants others has `masked_lm`
    and `uniform`. Where they cost a request for each of 20 proposals a token (servers), or are
    those of `causal_lm` (the source of an encoder-decoder), `plain`, it is `uniform`, which
    replaces with garbage in random orders just as well.
    """
    if plain:
        return "causal_lm" if own == "uniform" else "uniform"
    return "causal_lm" if own == "causal_lm_reranked" else "causal_lm_reranked"
