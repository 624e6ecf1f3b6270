"""What the runners of the other tools share: a job in, an outcome out, one JSON line each.

Runs in the tool's own environment, so it knows nothing of this project but this folder. What
the model does is counted at its `forward`, and one job runs at a time.
"""

from __future__ import annotations

import functools
import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

# How far the same answer's log-probability may be off in another process (nats): rounding alone.
TOLERANCE = 1e-2


@dataclass(frozen=True)
class Job:
    """Attribute `answer` to the tokens of `prompt`.

    `prompt_ids`, `answer_ids`: the tokens of both, and `log_probability` of the answer (nats),
    which a tool with the same model finds too. `method`: which of a tool's methods.
    `max_steps`: for a method that goes on until it has settled.
    """

    prompt: str
    prompt_ids: tuple[int, ...]
    answer: str
    answer_ids: tuple[int, ...]
    log_probability: float
    method: str = ""
    seed: int = 0
    max_steps: int = 0


@dataclass(frozen=True)
class Finding:
    """What a method found: one score for each prompt token, higher speaks for the answer.

    `steps`: steps made, for all answer tokens together. `probes_stopped`: probes that ended by
    the method's own stop test, for the last answer token.
    """

    scores: tuple[float, ...]
    steps: int = 0
    probes_stopped: int = 0


@dataclass(frozen=True)
class Outcome:
    """A finding with what it took: wall-clock seconds, forward calls, sequences, tokens.

    Tokens are those that went through the model, padding included.
    """

    finding: Finding
    seconds: float
    forwards: int
    sequences: int
    tokens: int


class Counter:
    """Counts what goes through a model's `forward`, called as a module or directly."""

    def __init__(self, model: Any) -> None:
        self.forwards = self.sequences = self.tokens = 0
        forward = model.forward

        # `wraps` keeps the signature, which transformers looks at before it generates.
        @functools.wraps(forward)
        def counted(*args: Any, **kwargs: Any) -> Any:
            given = args[0] if args else kwargs.get("input_ids")
            read = kwargs["inputs_embeds"] if given is None else given
            self.forwards += 1
            self.sequences += read.shape[0]
            self.tokens += read.shape[0] * read.shape[1]
            return forward(*args, **kwargs)

        model.forward = counted

    def reset(self) -> None:
        """Start again at zero."""
        self.forwards = self.sequences = self.tokens = 0


def serve(load: Callable[[str], tuple[Any, Any, Callable[[Job], Finding]]]) -> None:
    """Answer jobs until the input ends.

    `load` gets the folder of the model and gives the model, its tokenizer and the function that
    is timed. The first line written says that it is ready.
    """
    # Whatever else prints goes to the log: only answers may reach the reader.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    model, tokenizer, attribute = load(sys.argv[1])
    counter = Counter(model)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        outcome = _outcome(Job(**json.loads(line)), model, tokenizer, counter, attribute)
        print(json.dumps(asdict(outcome)), file=answers, flush=True)


def _outcome(
    job: Job, model: Any, tokenizer: Any, counter: Counter, attribute: Callable[[Job], Finding]
) -> Outcome:
    import numpy as np
    import torch

    found = tokenizer(job.prompt + job.answer)["input_ids"]
    if found != [*job.prompt_ids, *job.answer_ids]:
        raise SystemExit(f"the tokens differ: {found} for {job}")
    log_probability = _log_probability(model, job)
    if abs(log_probability - job.log_probability) > TOLERANCE:
        raise SystemExit(f"not the same model: {log_probability} here for {job}")
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(job.seed)
    counter.reset()
    started = time.perf_counter()
    finding = attribute(job)
    seconds = time.perf_counter() - started
    if len(finding.scores) != len(job.prompt_ids):
        raise SystemExit(f"{len(finding.scores)} scores for {len(job.prompt_ids)} tokens")
    return Outcome(
        finding=finding,
        seconds=seconds,
        forwards=counter.forwards,
        sequences=counter.sequences,
        tokens=counter.tokens,
    )


def _log_probability(model: Any, job: Job) -> float:
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*job.prompt_ids, *job.answer_ids]])).logits[0]
    rows = logits[len(job.prompt_ids) - 1 : -1].log_softmax(-1)
    return float(rows.gather(1, torch.tensor(job.answer_ids)[:, None]).sum())
