"""Make the explanations that ship with the app, with the real bundled model.

    python scripts/make_examples.py [ID ...]

Writes assets/examples/ID.json for each example (or only the named ones), and index.json. The files
are what the engine gives: equal versions of this program make equal numbers.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from components.examples import FOLDER, Example
from reagent_core import models
from reagent_core.config import PRESETS, Granularity
from reagent_core.explain import explain_now
from reagent_core.explanation import Turn, dump
from reagent_core.request import Request


@dataclass(frozen=True)
class Recipe:
    """A prompt worth looking at. The answer is the model's own, cut after `length` tokens."""

    example: Example
    prompt: str | tuple[Turn, ...]
    length: int
    granularity: Granularity = "token"


RECIPES = (
    Recipe(
        Example(id="travel", title="A hidden fact", focus="Bangkok"),
        "When my flight landed in Thailand, I converted my currency and slowly fell asleep. "
        "I was staying in the capital city of",
        2,
    ),
    Recipe(
        Example(id="why", title="A “why” question", focus="hungry"),
        "Anna was hungry, so she went to the kitchen and made a sandwich. Why did Anna make a "
        "sandwich? Because she was",
        2,
    ),
    Recipe(
        Example(id="arithmetic", title="Arithmetic", focus="five"),
        "Two plus three equals",
        2,
    ),
    Recipe(
        Example(id="sentiment", title="Sentiment", focus="positive"),
        "The food was delicious and the staff were friendly. Overall, the review of this "
        "restaurant is very",
        2,
    ),
    Recipe(
        Example(id="needle", title="One sentence in a long text", focus="red"),
        "The village lies in a quiet valley between two hills. A narrow road leads past the old "
        "mill and the church to the market square, where farmers sell apples, cheese and bread "
        "every Saturday. Maria works in the small library next to the school. She keeps the key "
        "of the library under the red flowerpot behind the house. In the evening she walks along "
        "the river with her dog and talks to the fishermen. Her brother repairs bicycles in a "
        "workshop near the station, and their father plays the violin in the town orchestra. When "
        "Maria wants to open the library in the morning, she takes the key from under the",
        3,
        "word",
    ),
    Recipe(
        Example(id="chat", title="A chat turn", focus="Tokyo"),
        (
            Turn(role="system", content="You are a helpful assistant."),
            Turn(role="user", content="What is the capital of Japan?"),
        ),
        8,
    ),
)


def main(only: list[str]) -> None:
    """Make the named examples, or all."""
    scorer = models.load("bundled")
    for recipe in RECIPES:
        name = recipe.example.id
        if only and name not in only:
            continue
        request = Request(
            prompt=recipe.prompt,
            max_new_tokens=recipe.length,
            config=PRESETS["standard"].model_copy(update={"granularity": recipe.granularity}),
        )
        explanation = explain_now(request, scorer)
        (FOLDER / f"{name}.json").write_text(dump(explanation) + "\n", "utf-8")
        print(f"{name}: {explanation.answer!r} in {explanation.seconds:.0f} s")
    index = [recipe.example.model_dump() for recipe in RECIPES]
    text = json.dumps(index, ensure_ascii=False, indent=2)
    (FOLDER / "index.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
