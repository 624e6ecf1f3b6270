"""What a person waits for: `python -m benchmarks.felt`. Model loaded, medians over the runs."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import fmean, median

from benchmarks.prompts import PROMPTS
from benchmarks.record import Row, save
from reagent_core import models
from reagent_core.config import PRESETS
from reagent_core.cost import estimate, measure_speed
from reagent_core.explain import explain
from reagent_core.explanation import Explanation
from reagent_core.prompt import build_prompt
from reagent_core.request import AnswerTokens, Request, WholeAnswer
from reagent_core.scorers.base import Scorer
from reagent_core.sentences import ranking
from reagent_core.store import Store

QUICK = PROMPTS[12:17]  # 24 to 27 tokens
STANDARD = (PROMPTS[12], PROMPTS[13], PROMPTS[16])  # 24 to 27 tokens


def timed(request: Request, scorer: Scorer) -> tuple[float, float, Explanation]:
    """Seconds to the first step shown, seconds to the end, and the explanation."""
    started, first = time.perf_counter(), 0.0
    for progress in explain(request, scorer):
        if progress.done and not first:
            first = time.perf_counter() - started
    return first, time.perf_counter() - started, progress.explanation


def top(explanation: Explanation) -> set[int]:
    """The five strongest units of the whole answer."""
    return set(ranking(explanation)[:5])


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    scorer = models.load("bundled")
    speed = measure_speed(scorer)

    def said(request: Request) -> float:
        prompt = build_prompt(request.prompt, scorer.tokenizer)
        return estimate(prompt, request, scorer, speed).seconds or 0.0

    quick = [
        Request(
            prompt=prompt,
            target=AnswerTokens(),
            max_new_tokens=1,
            config=PRESETS["quick"].model_copy(update={"seed": seed}),
        )
        for seed in range(runs)
        for prompt in QUICK
    ]
    quicks = [timed(request, scorer) for request in quick]
    pairs, seconds, told = [], [], []
    for prompt in STANDARD:
        both = []
        for seed in (0, 1):
            request = Request(
                prompt=prompt,
                target=WholeAnswer(),
                max_new_tokens=10,
                config=PRESETS["standard"].model_copy(update={"seed": seed}),
            )
            _, took, explanation = timed(request, scorer)
            both.append(explanation)
            seconds.append(took)
            told.append(said(request) / took)
        pairs.append(len(top(both[0]) & top(both[1])) / 5)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store.sqlite3")
        store.put("key", both[0])
        started = time.perf_counter()
        store.get("key")
        cached = time.perf_counter() - started
        store.close()
    rows: list[Row] = [
        {"what": "first steps shown (s)", "goal": "1", "median": median(q[0] for q in quicks)},
        {
            "what": "Quick, 25 tokens, one answer token (s)",
            "goal": "4",
            "median": median(q[1] for q in quicks),
        },
        {
            "what": "the same, share of runs that settled",
            "goal": "",
            "median": fmean(q[2].verdict.settled for q in quicks),
        },
        {"what": "Standard, 10-token answer (s)", "goal": "15", "median": median(seconds)},
        {"what": "the same, top-5 overlap of two seeds", "goal": "0.9", "median": fmean(pairs)},
        {"what": "opened from the store (s)", "goal": "0.3", "median": cached},
        {
            "what": "seconds said / seconds taken, Standard",
            "goal": "0.67 to 1.5",
            "median": median(told),
        },
        {
            "what": "seconds said / seconds taken, Quick",
            "goal": "0.67 to 1.5",
            "median": median(said(r) / q[1] for r, q in zip(quick, quicks, strict=True)),
        },
    ]
    notes = [
        f"Bare forwards made {speed.tokens_per_second:.0f} tokens/s when this ran. Quick: "
        f"{len(QUICK)} prompts with {runs} seeds each; Standard: {len(STANDARD)} prompts with two; "
        "overlap is a mean.",
    ]
    save("felt", [{**row, "median": round(float(row["median"] or 0), 2)} for row in rows], notes)


if __name__ == "__main__":
    main()
