"""The options of one ReAGent run, and the named presets."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reagent_core.errors import InputError

Selection = Literal["bernoulli", "exact", "balanced"]
Init = Literal["zeros", "uniform"]
Weights = Literal["unit", "centered"]
Until = Literal["stop_test", "settled"]
ReplacerName = Literal["causal_lm", "causal_lm_reranked", "masked_lm", "uniform"]
Granularity = Literal["token", "word", "sentence"]
PresetName = Literal["quick", "standard", "thorough", "paper"]

# Of every probe; a run of this many takes hours on a laptop.
MOST_STEPS = 10_000


class Config(BaseModel):
    """Every option of the method (Zhao & Shan 2024, arXiv 2402.00794), with the seed.

    Two runs with equal configs on the same model and prompt draw the same masks and the
    same replacements, whatever the batch size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    selection: Selection = Field(
        "bernoulli",
        description="How the units to replace are drawn: each with probability r (bernoulli), "
        "a random subset of r x n units (exact), or random partitions into sets of that size, so "
        "that every unit is replaced equally often (balanced).",
    )
    init: Init = Field(
        "zeros",
        description="Where the scores start: at zero, or uniformly at random as in the paper "
        "(then the first steps are swamped by the start).",
    )
    weights: Weights = Field(
        "unit",
        description="Weight of one update: 1 for every unit (unit), or 1 - r for a replaced and "
        "r for a kept unit (centered).",
    )
    replacer: ReplacerName = Field(
        "causal_lm",
        description="What stands in for a replaced token: the model's own prediction from what "
        "stands left of it (causal_lm), the same weighed by how well the next tokens follow it "
        "(causal_lm_reranked), the prediction of a masked language model that sees both sides, "
        "as published (masked_lm), or any ordinary token of the vocabulary (uniform).",
    )
    replacer_model: str = Field(
        "FacebookAI/roberta-base",
        min_length=1,
        description="The masked language model of masked_lm: its id on the hub, or the path of a "
        "local folder.",
    )
    until: Until = Field(
        "stop_test",
        description="When a run ends: each probe when its stop test passes (stop_test), or all "
        "when the intervals tell the strongest units from the rest (settled).",
    )
    granularity: Granularity = Field(
        "token", description="What gets one score: a token, a word or a sentence."
    )
    ratio: float = Field(
        0.3, gt=0.0, lt=1.0, description="Share r of the prompt that is replaced in one step."
    )
    top_k: int = Field(
        3, ge=1, le=100,
        description="The stop test passes while the target is among the model's k most likely "
        "tokens.",
    )
    probes: int = Field(3, ge=1, le=64, description="Independent repetitions of the run.")
    min_steps: int = Field(
        64, ge=1, le=MOST_STEPS, description="Steps of every probe before the stop test may end it."
    )
    max_steps: int = Field(
        128, ge=1, le=MOST_STEPS, description="Steps after which a probe ends in any case."
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="Start of the random numbers; equal seeds, equal results."
    )

    @property
    def anchored(self) -> bool:
        """Whether a step is compared with the original prompt, not with the steps that kept a unit.

        Under `balanced` the number of replaced units is fixed: keeping one means replacing others,
        and such a comparison would be off by what these others are worth.
        """
        return self.selection == "balanced"

    @model_validator(mode="after")
    def _steps_in_order(self) -> Config:
        if self.max_steps < self.min_steps:
            raise ValueError(
                f"max_steps ({self.max_steps}) is smaller than min_steps ({self.min_steps})"
            )
        return self


def make_config(**options: object) -> Config:
    """`Config(**options)` with its complaints as one sentence.

    Raises:
        InputError: an option is unknown or out of range (field "settings").
    """
    try:
        return Config.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        where = f"Setting '{name}': " if name else "Settings: "
        raise InputError(f"{where}{reason}. Change it and try again.", "settings") from None


# The first three spend forwards where they tell most (benchmarks/design.py): few units at a time,
# the fewer the more steps there are, and every one equally often. They end when the intervals say
# so; the most steps are no more than twice the fewest, so that one can say before how long a run
# will take.
# `paper` is the published procedure: random start, random subsets, stop test alone.
_FEW = {"selection": "balanced", "until": "settled"}
PRESETS: dict[PresetName, Config] = {
    "quick": Config(**_FEW, ratio=0.04, probes=2, min_steps=16, max_steps=32),
    "standard": Config(**_FEW, ratio=0.02, probes=3, min_steps=40, max_steps=80),
    "thorough": Config(**_FEW, ratio=0.01, probes=5, min_steps=100, max_steps=200),
    "paper": Config(selection="exact", init="uniform", probes=5, min_steps=1, max_steps=1000),
}


def preset_of(config: Config) -> PresetName | None:
    """The preset these options belong to, whatever the seed and the granularity.

    The published procedure sets no limit: gone on with beyond that of `paper`, it is the same.
    """
    for name, preset in PRESETS.items():
        own: dict[str, object] = {"seed": config.seed, "granularity": config.granularity}
        if name == "paper":
            own["max_steps"] = max(config.max_steps, preset.max_steps)
        if preset.model_copy(update=own) == config:
            return name
    return None


def is_published(config: Config) -> bool:
    """Whether this is the published procedure: the preset `paper`, gone on with or not, whatever
    the seed, the granularity and the replacer. The paper's own replacer is `masked_lm`."""
    paper = PRESETS["paper"]
    own = paper.model_dump(include={"replacer", "replacer_model"})
    return preset_of(config.model_copy(update=own)) == "paper"
