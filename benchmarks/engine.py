"""How near the engine is to the machine's limit: `python -m benchmarks.engine`.

Tokens a second of an attribution (from its first step to its end, all bookkeeping included) over
those of the bare batched forwards of the same sequences, in turns, medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.prompts import PROMPTS
from benchmarks.record import Row, save
from reagent_core import models
from reagent_core.config import PRESETS
from reagent_core.explain import explain
from reagent_core.request import AnswerTokens, Request, WholeAnswer
from reagent_core.scorers.base import IntArray, Prefix, TokenScores
from reagent_core.scorers.transformers_lm import TransformersScorer

PROMPT = PROMPTS[12]
CASES: dict[str, Request] = {
    "one answer token": Request(
        prompt=PROMPT, target=AnswerTokens(), max_new_tokens=2, config=PRESETS["standard"]
    ),
    "10-token answer": Request(
        prompt=PROMPT, target=WholeAnswer(), max_new_tokens=10, config=PRESETS["standard"]
    ),
}

Call = tuple[IntArray, int]


class Recorder:
    """A scorer that notes what it was asked for."""

    def __init__(self, scorer: TransformersScorer) -> None:
        self._scorer = scorer
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)

    def for_run(self, cancelled: Callable[[], bool]) -> Recorder:
        """Itself, so that nothing goes past it."""
        return self

    def score(
        self, inputs: IntArray, targets: Sequence[int], prefix: Prefix | None = None
    ) -> TokenScores:
        """Pass the call on."""
        self.calls.append((inputs, len(targets)))
        return self._scorer.score(inputs, targets, prefix)


def finish(device: torch.device) -> None:
    """Wait for what a GPU has been told to do; a processor has done it."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


@torch.inference_mode()
def bare(model: Any, calls: Sequence[Call]) -> float:
    """Tokens a second of the model alone, logits of the read places included."""
    finish(model.device)
    started = time.perf_counter()
    for inputs, reads in calls:
        ids = torch.from_numpy(inputs).to(model.device)
        model(input_ids=ids, use_cache=False, logits_to_keep=reads)
    finish(model.device)
    return sum(inputs.size for inputs, _ in calls) / (time.perf_counter() - started)


def attribution(scorer: TransformersScorer, request: Request) -> tuple[float, float, list[Call]]:
    """Tokens a second from the first step on, seconds in all, and what was scored."""
    recorder = Recorder(scorer)
    started = time.perf_counter()
    before = 0
    for progress in explain(request, recorder):
        if progress.explanation.status == "running" and progress.done == 0:
            begun, before = time.perf_counter(), len(recorder.calls)
    ended = time.perf_counter()
    calls = recorder.calls[before:]
    tokens = sum(inputs.size for inputs, _ in calls)
    return tokens / (ended - begun), ended - started, calls


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    scorer = models.load("bundled")
    rows: list[Row] = []
    for name, request in CASES.items():
        attribution(scorer, request)  # warm
        ours, alone, seconds = [], [], []
        for _ in range(runs):
            rate, took, calls = attribution(scorer, request)
            ours.append(rate)
            seconds.append(took)
            alone.append(bare(scorer._model, calls))
        ratios = np.array(ours) / np.array(alone)
        rows.append(
            {
                "explained": name,
                "sequences": sum(len(inputs) for inputs, _ in calls),
                "ours, tokens/s": round(median(ours)),
                "bare forwards, tokens/s": round(median(alone)),
                "ratio": round(float(np.median(ratios)), 2),
                "whole run, seconds": round(median(seconds), 1),
            }
        )
    save("engine", rows, [f"Standard preset, a prompt of 24 tokens, {runs} runs in turns."])


if __name__ == "__main__":
    main()
