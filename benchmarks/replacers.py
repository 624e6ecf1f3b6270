"""Which replacer keeps a prompt likely, and what it costs: `python -m benchmarks.replacers`.

Replaced versions of up to twenty prompts, 30% of the tokens replaced at random, the same ones by
each replacer; how likely the explained model finds the replaced text, and the kept text inside it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from benchmarks.prompts import PROMPTS
from benchmarks.record import Row, save
from reagent_core import models
from reagent_core.config import Config, ReplacerName
from reagent_core.masks import replacement_draws, unit_mask
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.reagent import token_mask
from reagent_core.replacers.base import Replacer
from reagent_core.replacers.choose import make_replacer
from reagent_core.replacers.masked_models import load_masked_model
from reagent_core.scorers.base import BoolArray, FloatArray
from reagent_core.scorers.transformers_lm import TransformersScorer

RATIO = 0.3
VERSIONS = 8

# A version is said to keep the text likely within so many nats a token.
WITHIN = 1.0


@dataclass
class Forwards:
    """Forward calls of any model of transformers, and the tokens in them."""

    calls: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Likely:
    """Log-probabilities (nats a token) of V versions of a prompt: of all tokens but the first,
    and of those that were kept [V]; of the original, `whole`. `seconds` and `forwards`: what
    the replacements took."""

    versions: FloatArray
    kept: FloatArray
    kept_before: FloatArray
    whole: float
    seconds: float
    forwards: Forwards


@contextmanager
def counted(networks: Sequence[torch.nn.Module]) -> Iterator[Forwards]:
    """Counts the forwards of these models meanwhile."""
    seen = Forwards()

    def count(_: torch.nn.Module, __: object, given: dict[str, torch.Tensor]) -> None:
        seen.calls += 1
        seen.tokens += given["input_ids"].numel()

    hooks = [each.register_forward_pre_hook(count, with_kwargs=True) for each in networks]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def log_probabilities(scorer: TransformersScorer, token_ids: list[int]) -> FloatArray:
    """[L - 1] of all tokens but the first, nats."""
    inputs = np.asarray([token_ids[:-1]], np.int64)
    return scorer.score(inputs, token_ids[1:]).log_probabilities[0]


def masks_of(prompt: Prompt) -> tuple[BoolArray, FloatArray]:
    """Which tokens each version replaces [V, L], and the draws that say by what."""
    config, n = Config(selection="exact", ratio=RATIO), len(prompt.units)
    length = len(prompt.token_ids)
    masks = np.stack([unit_mask(n, config, 0, step) for step in range(VERSIONS)])
    draws = [replacement_draws(n, length, config, 0, step) for step in range(VERSIONS)]
    return token_mask(prompt, masks), np.stack(draws)


def measured(
    text: str,
    replacer: Replacer,
    scorer: TransformersScorer,
    networks: Sequence[torch.nn.Module],
) -> Likely:
    """Replace parts of one prompt and read what became of it; `networks`: whose work counts."""
    prompt = build_prompt(text, scorer.tokenizer)
    masks, draws = masks_of(prompt)
    started = time.perf_counter()
    with counted(networks) as forwards:
        versions = replacer.prepare(prompt)(masks, draws)
    seconds = time.perf_counter() - started
    before = log_probabilities(scorer, list(prompt.token_ids))
    after = np.stack([log_probabilities(scorer, ids) for ids in versions.tolist()])
    kept = ~masks[:, 1:]
    return Likely(
        versions=after.mean(1),
        kept=np.array([row[own].mean() for row, own in zip(after, kept, strict=True)]),
        kept_before=np.array([before[own].mean() for own in kept]),
        whole=float(before.mean()),
        seconds=seconds,
        forwards=forwards,
    )


def row_of(name: str, found: list[Likely]) -> Row:
    """Means over the prompts."""
    return {
        "replacer": name,
        "replaced text (nats a token)": fmean(float(each.versions.mean()) for each in found),
        "its kept tokens (nats a token)": fmean(float(each.kept.mean()) for each in found),
        f"within {WITHIN:g} nat of the original": fmean(
            float((each.whole - each.versions <= WITHIN).mean()) for each in found
        ),
        "seconds a prompt": fmean(each.seconds for each in found),
        "forward calls a prompt": fmean(each.forwards.calls for each in found),
        "tokens through a model": fmean(each.forwards.tokens for each in found),
    }


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masked-model", help="hub id or folder; left out where none is given")
    parser.add_argument(
        "--prompts", type=int, default=len(PROMPTS), help="at least so many, short and long"
    )
    given = parser.parse_args()
    masked, prompts = given.masked_model, PROMPTS[:: len(PROMPTS) // given.prompts]
    scorer = models.load("bundled")
    names: list[ReplacerName] = ["causal_lm", "causal_lm_reranked", "uniform"]
    configs = [Config(replacer=name) for name in names]
    if masked:
        configs.append(Config(replacer="masked_lm", replacer_model=masked))
    networks = [scorer._model]
    if masked:
        networks.append(load_masked_model(masked).model)
    rows: list[Row] = []
    for config in configs:
        replacer = make_replacer(config, scorer)
        measured(prompts[0], replacer, scorer, networks)  # what is done once a model is not counted
        found = [measured(text, replacer, scorer, networks) for text in prompts]
        rows.append(row_of(config.replacer, found))
    original: Row = {
        "replacer": "the original text",
        "replaced text (nats a token)": fmean(each.whole for each in found),
        "its kept tokens (nats a token)": fmean(float(each.kept_before.mean()) for each in found),
    }
    lengths = [len(build_prompt(text, scorer.tokenizer).token_ids) for text in prompts]
    notes = [
        f"{len(prompts)} prompts of {min(lengths)} to {max(lengths)} tokens, {VERSIONS} versions "
        f"of each with {RATIO:.0%} of the tokens replaced, the same ones by every replacer; "
        "log-probabilities of the bundled model, of all tokens but the first.",
        "Seconds and forwards are those of the replacements of all versions, not of the "
        "log-probabilities.",
    ]
    save("replacers", [original, *rows], notes)


if __name__ == "__main__":
    main()
