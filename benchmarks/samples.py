"""Replaced prompts and what became of the target, for every design of the study: masks and values.

Drawn once with the bundled model (for a long time, on two cores) and kept in `.bench/samples`, one
file a prompt; `design` and `precision` work on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.prompts import PROMPTS
from reagent_core import models
from reagent_core.config import PRESETS, Config
from reagent_core.masks import replacement_draws, unit_mask
from reagent_core.meter import Meter
from reagent_core.prompt import build_prompt
from reagent_core.reagent import token_mask
from reagent_core.replacers.causal_lm import CausalLMReplacer
from reagent_core.replacers.uniform import UniformReplacer
from reagent_core.scorers.base import BoolArray, FloatArray
from reagent_core.target import Targets

FOLDER = Path(__file__).parent.parent / ".bench" / "samples"
SEEDS = (0, 1)
MOST, FEWER = 96, 48  # steps of the designs that were followed further, and of the others

Masks = Callable[[int, int, int], BoolArray]  # units, steps, seed -> [steps, units]


@dataclass(frozen=True)
class Design:
    """How replaced sets and replacements are drawn; `spread`: the latter evenly, as this does."""

    name: str
    masks: Masks
    uniform: bool = False
    spread: Config | None = None
    anchored: bool = False
    steps: int = FEWER


def engine(config: Config) -> Masks:
    """The engine's own masks."""

    def masks(n: int, steps: int, seed: int) -> BoolArray:
        seeded = config.model_copy(update={"seed": seed})
        return np.stack([unit_mask(n, seeded, 0, k) for k in range(steps)])

    return masks


def dealt(ratio: float) -> Masks:
    """Each unit in exactly round(20 r) of each 20 steps, drawn for each unit alone."""

    def masks(n: int, steps: int, seed: int) -> BoolArray:
        columns = np.tile(np.arange(20) < round(20 * ratio), (n, 1))
        rounds = []
        for number in range(-(-steps // 20)):
            rng = np.random.default_rng([seed, 1, 0, number])
            rounds.append(rng.permuted(columns, axis=1).T)
        return np.concatenate(rounds)[:steps]

    return masks


def antithetic(n: int, steps: int, seed: int) -> BoolArray:
    """Pairs of disjoint sets: u < 0.3, then u > 0.7."""
    uniforms = np.random.default_rng([seed, 77]).random((steps // 2, n))
    return np.stack([uniforms < 0.3, uniforms > 0.7], axis=1).reshape(-1, n)


def partition(n: int, steps: int, seed: int) -> BoolArray:
    """Random partitions into three sets."""
    rng = np.random.default_rng([seed, 77])
    out = np.zeros((steps + 3, n), bool)
    row = 0
    while row < steps:
        for part in np.array_split(rng.permutation(n), min(3, n)):
            out[row, part] = True
            row += 1
    return out[:steps]


def single(n: int, steps: int, seed: int) -> BoolArray:
    """One unit after the other."""
    out = np.zeros((steps, n), bool)
    out[np.arange(steps), np.arange(steps) % n] = True
    return out


# One probe makes all steps here, so that its draws are spread as those of all probes are.
QUICK, STANDARD = (PRESETS[name].model_copy(update={"probes": 1}) for name in ("quick", "standard"))
DESIGNS = (
    Design("bernoulli 0.3", engine(Config())),
    Design("exact 0.3 (paper)", engine(Config(selection="exact"))),
    Design("dealt 0.1", dealt(0.1), steps=MOST),
    Design("dealt 0.2", dealt(0.2), steps=MOST),
    Design("dealt 0.3", dealt(0.3), steps=MOST),
    Design("dealt 0.4", dealt(0.4)),
    Design("dealt 0.3, uniform replacer", dealt(0.3), uniform=True),
    Design("antithetic pairs 0.3", antithetic),
    Design("partitions 0.3", partition),
    Design("single units", single, anchored=True, steps=MOST),
    Design("balanced 0.04 (Quick)", engine(QUICK), spread=QUICK, anchored=True, steps=MOST),
    Design("balanced 0.02 (Standard)", engine(STANDARD), spread=STANDARD, anchored=True,
           steps=MOST),
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """`masks` [K, n]; `values` [K] and `original`: log-probability of the target, nats."""

    masks: BoolArray
    values: FloatArray
    original: float


@dataclass(frozen=True)
class Case:
    """A prompt with its target, the model's next token."""

    token_ids: tuple[int, ...]
    target: int


@cache
def case(place: int) -> Case:
    """The prompt at `place` of `PROMPTS`."""
    scorer = models.load("bundled")
    token_ids = build_prompt(PROMPTS[place], scorer.tokenizer).token_ids
    return Case(token_ids, scorer.generate(token_ids, 1)[0].token_id)


def sample(place: int, design: Design, seed: int) -> Sample:
    """From the file if it is there, else drawn and kept."""
    name = "".join(c if c.isalnum() else "-" for c in design.name)
    file = FOLDER / f"{place}-{name}-{seed}.npz"
    if not file.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        drawn = _draw(place, design, seed)
        np.savez(file, masks=drawn.masks, values=drawn.values, original=drawn.original)
    kept = np.load(file)
    return Sample(kept["masks"], kept["values"], float(kept["original"]))


def _draw(place: int, design: Design, seed: int) -> Sample:
    scorer = models.load("bundled")
    prompt = build_prompt(PROMPTS[place], scorer.tokenizer)
    ids, n = prompt.token_ids, len(prompt.free_units)
    replacer = UniformReplacer(scorer.tokenizer) if design.uniform else CausalLMReplacer(scorer)
    masks = design.masks(n, design.steps, seed)
    config = (design.spread or Config()).model_copy(update={"seed": seed})
    draws = np.stack([replacement_draws(n, len(ids), config, 0, k) for k in range(design.steps)])
    meter = Meter(scorer, Targets((case(place).target,), ((0, 1),)))
    original = meter.read(np.array([ids], np.int64)).values[0, 0]
    contexts = replacer.prepare(prompt)(token_mask(prompt, masks), draws)
    return Sample(masks, meter.read(contexts).values[:, 0], float(original))
