"""Make the explanations that ship with the app, their checks, and comparisons of methods on them,
with the real bundled model.

    python -m scripts.make_examples [--checks] [--methods] [ID ...]

Writes assets/examples/ID.json for each example (or only the named ones), and index.json; of those
that the page Explain lists also checks/ID.json, the check of the word they open on; of some
methods/ID.json, all methods on that word, as `reagent compare-methods --json` writes it. `--checks`
and `--methods` make only these, of the explanations that are there. The files are what the engine
gives: equal versions of this program make equal numbers, but for the seconds.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

from components.examples import (
    FOLDER,
    Comparison,
    Example,
    MethodsExample,
    check_file,
    methods_file,
)
from reagent_core import models
from reagent_core.baselines.comparison import compare_methods
from reagent_core.baselines.methods import METHODS, REAGENT
from reagent_core.checker import check_now
from reagent_core.config import PRESETS, Granularity
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation, dump, load
from reagent_core.request import AnswerTokens, Request, Turn
from reagent_core.scorers.base import Scorer
from reagent_core.strip import answer_words


@dataclass(frozen=True)
class Recipe:
    """A prompt worth looking at. The answer is the model's own, cut after `length` tokens."""

    example: Example
    prompt: str | tuple[Turn, ...]
    length: int
    granularity: Granularity = "token"
    seed: int = 0


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
    # What follows is there for Compare alone.
    Recipe(
        Example(id="review-moved", title="Sentiment, the other way round", offered=False),
        "The staff were friendly and the food was delicious. Overall, the review of this "
        "restaurant is very",
        2,
    ),
    Recipe(
        Example(id="review-changed", title="Sentiment, two words changed", offered=False),
        "The food was cold and the staff were rude. Overall, the review of this restaurant is very",
        2,
    ),
    Recipe(
        Example(id="capital", title="A known fact", offered=False),
        "The capital of France is",
        2,
    ),
    Recipe(
        Example(id="capital-reworded", title="A known fact, in other words", offered=False),
        "The capital city of France is called",
        2,
    ),
    Recipe(
        Example(id="capital-distracted", title="A known fact, with a distraction", offered=False),
        "She lived in London for years. The capital of France is",
        2,
    ),
    Recipe(
        Example(id="capital-seed", title="A known fact, another seed", offered=False),
        "The capital of France is",
        2,
        seed=1,
    ),
)
COMPARISONS = (
    Comparison(title="Words changed and moved", examples=("sentiment", "review-changed",
                                                          "review-moved")),
    Comparison(title="One question in three wordings", examples=("capital", "capital-reworded",
                                                                 "capital-distracted")),
    Comparison(title="One prompt, two seeds", examples=("capital", "capital-seed")),
)
METHODS_EXAMPLES = (
    MethodsExample(id="travel", title="A hidden fact"),
    MethodsExample(id="sentiment", title="Sentiment"),
)


def main(only: list[str], checks_alone: bool, methods_alone: bool) -> None:
    """Make the named examples, or all; or their checks or comparisons of methods alone."""
    scorer = models.load("bundled")
    for recipe in RECIPES:
        name = recipe.example.id
        if only and name not in only:
            continue
        file = FOLDER / f"{name}.json"
        if checks_alone or methods_alone:
            explanation = load(file.read_bytes())
            if checks_alone:
                write_check(recipe.example, explanation, scorer)
            if methods_alone:
                write_methods(recipe.example, explanation, scorer)
            continue
        request = Request(
            prompt=recipe.prompt,
            max_new_tokens=recipe.length,
            config=PRESETS["standard"].model_copy(
                update={"granularity": recipe.granularity, "seed": recipe.seed}
            ),
        )
        explanation = explain_now(request, scorer)
        file.write_text(dump(explanation) + "\n", "utf-8")
        print(f"{name}: {explanation.answer!r} in {explanation.seconds:.0f} s")
        write_check(recipe.example, explanation, scorer)
        write_methods(recipe.example, explanation, scorer)
    index = {
        "examples": [recipe.example.model_dump(exclude_defaults=True) for recipe in RECIPES],
        "comparisons": [comparison.model_dump() for comparison in COMPARISONS],
        "methods": [each.model_dump() for each in METHODS_EXAMPLES],
    }
    text = json.dumps(index, ensure_ascii=False, indent=2)
    (FOLDER / "index.json").write_text(text + "\n", "utf-8")


def write_check(example: Example, explanation: Explanation, scorer: Scorer) -> None:
    """Check the focus word of an example that the page Explain lists."""
    if not example.offered:
        return
    words = answer_words(explanation)
    focused = (word.explained for word in words if word.text.strip() == example.focus)
    found = check_now(next(filter(None, focused), explanation), scorer)
    file = check_file(example.id)
    file.parent.mkdir(exist_ok=True)
    file.write_text(found.model_dump_json(indent=1) + "\n", "utf-8")
    print(f"{example.id}: {found.text} ({found.seconds:.0f} s)", flush=True)


def write_methods(example: Example, explanation: Explanation, scorer: Scorer) -> None:
    """Compare all methods on the focus word of an example that the page Methods offers."""
    if example.id not in [each.id for each in METHODS_EXAMPLES] or explanation.request is None:
        return
    word = next(
        word for word in answer_words(explanation) if word.text.strip() == example.focus
    )
    target = AnswerTokens(start=word.token_start, stop=word.token_stop)
    request = explanation.request.model_copy(update={"target": target})
    names = [REAGENT, *(method.name for method in METHODS)]
    for step in compare_methods(names, request, scorer):
        print(f"{example.id}: {step.doing}", flush=True)
    assert step.compared is not None
    file = methods_file(example.id)
    file.parent.mkdir(exist_ok=True)
    file.write_text(step.compared.model_dump_json() + "\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", metavar="ID")
    parser.add_argument("--checks", action="store_true")
    parser.add_argument("--methods", action="store_true")
    options = parser.parse_args()
    main(options.only, options.checks, options.methods)
