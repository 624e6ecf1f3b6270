"""Make the word-pair prompts that ship with the app, with the real bundled model.

    python scripts/make_longra.py

Writes assets/studies/longra-dev.jsonl, to try things out on, and longra-test.jsonl, to measure
with, from the pairs and patterns of longra.toml beside them. As in the
first task of Zhao & Shan 2024 (LongRA, after Vafa et al. 2021, "Rationales for Sequential
Predictions"), what comes next depends on one earlier word, the key, with or without a sentence in
between that has nothing to do with it. Only prompts are kept that the model answers right, and of
every kind only so many that none outweighs the others. The kinds take turns in a file, so that its
first prompts are of all kinds.

Columns: `prompt`; `target`, the word that follows; `key`, which stands in the prompt once; `foil`,
what would follow another key (why Tokyo rather than Paris?); `kind` of pair; `distracted`, whether
there is a sentence in between; `split`, "dev" or "test": both prompts of a pair lie in one;
`key_needed`: see `needs_key`.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from reagent_core import models
from reagent_core.answer import answer_of
from reagent_core.prompt import Prompt, build_prompt
from reagent_core.scorers.base import Scorer

FOLDER = Path(__file__).parents[1] / "assets" / "studies"
SOURCE = FOLDER / "longra.toml"

# Other keys that are put in a key's place to see whether it is needed.
OTHER_KEYS = 8

# Prompts of each kind in each part, beside those that the method was developed on.
MOST = 6


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kind(_Record):
    """One relation between words. `opening` holds "{key}"; `closing` ends before the target."""

    opening: str
    closing: str
    pairs: tuple[tuple[str, str], ...]


class Source(_Record):
    """What the prompts are made of: all that is written by hand."""

    distractions: tuple[str, ...]
    kinds: dict[str, Kind]
    developed_on: tuple[tuple[str, str], ...] = ()


class Candidate(_Record):
    """A prompt, before a model has seen it."""

    prompt: str
    target: str
    key: str
    foil: str
    kind: str
    distracted: bool
    split: Literal["dev", "test"]


class Example(Candidate):
    """A prompt that the model answers right."""

    key_needed: bool


def read_source() -> Source:
    """The pairs and patterns."""
    return Source.model_validate(tomllib.loads(SOURCE.read_text("utf-8")))


def candidates(source: Source) -> Iterator[Candidate]:
    """All prompts, kind by kind: without the sentence in between, then with it.

    The pairs of a kind go to the test and to the dev part in turns, but for those that the method
    was developed on, which are dev; a pair of several kinds goes where the first one sends it.

    Raises:
        ValueError: a key stands in its prompt more than once, or target or foil stand there, too.
    """
    sent: dict[tuple[str, str], Literal["dev", "test"]] = dict.fromkeys(source.developed_on, "dev")
    for name, kind in source.kinds.items():
        for place, (key, target) in enumerate(in_random_order(name, kind)):
            part = sent.setdefault((key, target), "dev" if place % 2 else "test")
            foil = next(word for _, word in others(kind, name, key, target) if word != key)
            for distraction in ("", _distraction(source, place, key, target)):
                parts = (kind.opening.format(key=key), distraction, kind.closing)
                prompt = " ".join(filter(None, parts))
                if prompt.count(key) != 1 or re.search(rf"\b({target}|{foil})\b", prompt):
                    raise ValueError(f"{name}: {key!r} and {target!r} do not fit {prompt!r}")
                yield Candidate(
                    prompt=prompt,
                    target=target,
                    key=key,
                    foil=foil,
                    kind=name,
                    distracted=bool(distraction),
                    split=part,
                )


def in_random_order(name: str, kind: Kind) -> list[tuple[str, str]]:
    """The pairs by the hash of their key: always the same order, and none that anyone chose."""
    return sorted(kind.pairs, key=lambda pair: sha256(f"{name} {pair[0]}".encode()).digest())


def others(kind: Kind, name: str, key: str, target: str) -> list[tuple[str, str]]:
    """The pairs of a kind that have another target, those first that follow `in_random_order`."""
    pairs = in_random_order(name, kind)
    place = pairs.index((key, target))
    return [pair for pair in (*pairs[place:], *pairs[:place]) if pair[1] != target]


def _distraction(source: Source, place: int, key: str, target: str) -> str:
    """The next sentence, from one that depends on the pair's place, without key or target."""
    count = len(source.distractions)
    turned = (source.distractions[(place + i) % count] for i in range(count))
    return next(text for text in turned if key not in text and target not in text)


def is_next_word(prompt: str, target: str, scorer: Scorer) -> bool:
    """Whether the model's answer begins with the target, as a whole word."""
    if not any(tops([prompt], target, scorer)):
        return False
    built = build_prompt(prompt, scorer.tokenizer)
    length = len(_following(built, target, scorer)) + 1
    answer, _ = answer_of(built, scorer.generate(built.token_ids, length), scorer.tokenizer)
    return re.match(rf" {re.escape(target)}\b", answer) is not None


def tops(prompts: Sequence[str], target: str, scorer: Scorer) -> list[bool]:
    """Of each prompt whether the target is what the model finds likeliest next."""
    built = [build_prompt(prompt, scorer.tokenizer) for prompt in prompts]
    wanted = _following(built[0], target, scorer)
    found = [False] * len(prompts)
    by_length = sorted(range(len(built)), key=lambda i: len(built[i].token_ids))
    for _, group in groupby(by_length, key=lambda i: len(built[i].token_ids)):
        rows = list(group)
        inputs = np.array([[*built[i].token_ids, *wanted[:-1]] for i in rows], np.int64)
        for i, ranks in zip(rows, scorer.score(inputs, wanted).ranks, strict=True):
            found[i] = bool((ranks == 1).all())
    return found


def _following(prompt: Prompt, target: str, scorer: Scorer) -> tuple[int, ...]:
    """The tokens of the target after the prompt."""
    both = scorer.tokenizer.encode(f"{prompt.text} {target}", add_special_tokens=True).token_ids
    return both[len(prompt.token_ids) :]


def needs_key(candidate: Candidate, source: Source, scorer: Scorer) -> bool:
    """Whether the target is the model's answer with none of eight other keys in the key's place.

    They are keys of the same kind that have another target: as natural in the prompt as the key
    itself, and made by no replacer.
    """
    key, kind = candidate.key, source.kinds[candidate.kind]
    following = others(kind, candidate.kind, key, candidate.target)[:OTHER_KEYS]
    changed = [candidate.prompt.replace(key, other) for other, _ in following]
    return not any(tops(changed, candidate.target, scorer))


def main() -> None:
    """Try every prompt, and write those that are answered right, each split into its own file."""
    source, scorer = read_source(), models.load("bundled")
    tried: Counter[str] = Counter()
    kept: Counter[tuple[str, str]] = Counter()
    lines: dict[str, list[tuple[int, str]]] = {"dev": [], "test": []}
    for candidate in candidates(source):
        known = (candidate.key, candidate.target) in source.developed_on
        if kept[candidate.kind, candidate.split] >= MOST and not known:
            continue
        tried[candidate.kind] += 1
        if not is_next_word(candidate.prompt, candidate.target, scorer):
            continue
        needed = needs_key(candidate, source, scorer)
        example = Example(**candidate.model_dump(), key_needed=needed)
        turn, line = kept[candidate.kind, candidate.split], example.model_dump()
        lines[candidate.split].append((turn, json.dumps(line, ensure_ascii=False)))
        kept[candidate.kind, candidate.split] += 1
        kept[candidate.kind, "need their key"] += needed
    for split, own in lines.items():
        in_turns = sorted(own, key=itemgetter(0))
        text = "".join(f"{line}\n" for _, line in in_turns)
        (FOLDER / f"longra-{split}.jsonl").write_text(text, "utf-8")
    for kind, count in tried.items():
        told = ", ".join(f"{kept[kind, each]} {each}" for each in ("dev", "test", "need their key"))
        print(f"{kind}: {count} tried, {told}")
    print(f"{sum(map(len, lines.values()))} prompts")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
