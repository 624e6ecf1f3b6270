"""How time and work grow with prompt and answer: `python -m benchmarks.scaling`.

Quick preset. The plot goes to docs/scaling.svg.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import altair as alt
import pandas as pd

from benchmarks.prompts import PROMPTS
from benchmarks.record import Row, save
from reagent_core import models
from reagent_core.config import PRESETS
from reagent_core.explain import explain_now
from reagent_core.request import AnswerTokens, Request, WholeAnswer
from reagent_core.scorers.base import Scorer

PROMPT_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048)
ANSWER_TOKENS = (1, 2, 4, 8, 16, 32, 64)
PLOT = Path(__file__).parent.parent / "docs" / "scaling.svg"


def text_of(tokens: int, scorer: Scorer) -> str:
    """The benchmark prompts one after the other, cut to so many tokens."""
    text = " ".join(PROMPTS[::-1] * (1 + tokens // 300))
    offsets = scorer.tokenizer.encode(text, add_special_tokens=True).offsets
    return text[: offsets[tokens - 1][1]]


def measured(kind: str, size: int | None, request: Request, scorer: Scorer) -> Row:
    """Seconds and work of one explanation. `size`: of the prompt in tokens, None where the answer
    grows, which is as long as the model makes it."""
    explanation = explain_now(request, scorer)
    return {
        "grows": kind,
        "tokens": size or len(explanation.answer_tokens),
        "seconds": round(explanation.seconds, 1),
        "sequences": explanation.counts.sequences,
        "tokens through the model": explanation.counts.tokens,
    }


def plot(rows: list[Row]) -> None:
    """Seconds over size, both logarithmic: straight lines of slope one are proportional growth."""
    frame = pd.DataFrame(rows)
    base = alt.Chart(frame).encode(
        x=alt.X("tokens:Q", scale=alt.Scale(type="log", base=2), title="tokens"),
        y=alt.Y("seconds:Q", scale=alt.Scale(type="log"), title="seconds"),
        color=alt.Color("grows:N", title=None, legend=alt.Legend(orient="top")),
    )
    chart = (base.mark_line() + base.mark_point(filled=True, size=50)).properties(
        width=520, height=260, background="white"
    )
    PLOT.parent.mkdir(exist_ok=True)
    chart.save(PLOT)


def main() -> None:
    """Measure, save and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--longest", type=int, default=PROMPT_TOKENS[-1])
    longest = parser.parse_args().longest
    scorer = models.load("bundled")
    quick = PRESETS["quick"]
    rows = []
    for size in PROMPT_TOKENS:
        if size <= longest:
            text = text_of(size, scorer)
            request = Request(prompt=text, target=AnswerTokens(), max_new_tokens=1, config=quick)
            rows.append(measured("prompt (one answer token)", size, request, scorer))
    for size in ANSWER_TOKENS:
        request = Request(
            prompt=PROMPTS[17], target=WholeAnswer(), max_new_tokens=size, config=quick
        )
        rows.append(measured("answer (prompt of 48 tokens)", None, request, scorer))
    notes = [
        "Quick preset. An answer may be as long as "
        f"{', '.join(map(str, ANSWER_TOKENS))} tokens; its row says how many the model made.",
    ]
    save("scaling", rows, notes)
    plot(rows)


if __name__ == "__main__":
    main()
