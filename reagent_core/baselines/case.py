"""What a method is given: the prompt, one target, the model, and how much work it may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from reagent_core.config import Config
from reagent_core.effects import Effects
from reagent_core.explanation import Counts, Explanation
from reagent_core.meter import Meter
from reagent_core.prompt import Prompt
from reagent_core.reagent import token_mask
from reagent_core.replacers.base import Substitute
from reagent_core.request import ModelInfo, Request
from reagent_core.scorers.base import BoolArray, FloatArray, Scorer
from reagent_core.target import Readings, Targets


@dataclass
class Work:
    """What was run beside the meter (see `Counts`)."""

    forwards: int = 0
    sequences: int = 0
    tokens: int = 0
    backwards: int = 0

    def added_to(self, counts: Counts) -> Counts:
        """The whole work."""
        return counts.model_copy(
            update={
                "forwards": counts.forwards + self.forwards,
                "sequences": counts.sequences + self.sequences,
                "tokens": counts.tokens + self.tokens,
                "backwards": self.backwards,
            }
        )


@dataclass
class Case:
    """One target of one prompt.

    `context`: all that is attributed; its free units are the n columns of every array. `targets`
    has one span. `original`: the target's value (nats). `budget`: sequences that a budgeted
    method may score. `find_run`: the ReAGent run of the request, which may have to be made first;
    None where its steps do not tell about every unit, or others are asked for. `work` is only ever
    added to.
    """

    request: Request
    context: Prompt
    targets: Targets
    original: float
    scorer: Scorer
    meter: Meter
    cancelled: Callable[[], bool]
    budget: int
    make_substitute: Callable[[], tuple[Substitute, ModelInfo | None]]
    find_run: Callable[[], Explanation | None]
    work: Work = field(default_factory=Work)

    @property
    def units(self) -> int:
        """How many units are attributed."""
        return len(self.context.free_units)

    def values(self, masks: BoolArray, uniforms: FloatArray, substitute: Substitute) -> Readings:
        """Readings with units `masks` [K, n] replaced; `uniforms` [L] or [K, L] as `Substitute`."""
        drawn = np.broadcast_to(uniforms, (len(masks), len(self.context.token_ids)))
        return self.meter.read(substitute(token_mask(self.context, masks), drawn))


@dataclass(frozen=True)
class Found:
    """What a method found about n units.

    `values` [n]: signed where the method has signs; nats where it tells effects. `intervals`: of
    the values, each [1, n], NaN where unknown. `at_least` [n]: the value is a lower bound.
    `told`: a sentence on how it was computed. `warnings`: sentences on why not to trust it.
    `config`: options of its own that took the place of the request's. `run`: the ReAGent run whose
    steps it was found from, so that its work is that of the run.
    """

    values: FloatArray
    told: str
    low: FloatArray | None = None
    high: FloatArray | None = None
    at_least: BoolArray | None = None
    bounded: int = 0
    replacer_model: ModelInfo | None = None
    warnings: tuple[str, ...] = ()
    config: Config | None = None
    run: Explanation | None = None

    @classmethod
    def of_effects(
        cls,
        effects: Effects,
        told: str,
        *,
        at_least: BoolArray | None = None,
        bounded: int = 0,
        replacer_model: ModelInfo | None = None,
    ) -> Found:
        """What `effects` [1, n] say about one target."""
        return cls(
            effects.mean[0], told, effects.low[0], effects.high[0], at_least, bounded,
            replacer_model,
        )  # fmt: skip


def share(values: FloatArray) -> FloatArray:
    """|values| [n] as shares in [0, 1] that sum to 1; equal ones where all values are 0."""
    total = np.abs(values).sum()
    return np.abs(values) / total if total > 0 else np.full(len(values), 1 / len(values))


def unit_sums(context: Prompt, tokens: FloatArray) -> FloatArray:
    """Sums [n] over the tokens of each free unit of attributions [L]."""
    return np.array([tokens[list(context.units[i].positions)].sum() for i in context.free_units])
