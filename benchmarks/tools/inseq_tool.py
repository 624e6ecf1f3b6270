"""Inseq's ReAGent with its defaults, but for the number of steps, which is capped."""

from __future__ import annotations

import collections
import importlib.util
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

# The sampler's groups of words are kept here, not in the home folder. Read when inseq is imported.
os.environ["INSEQ_HOME"] = str(Path(sys.prefix) / "inseq_home")

import inseq
import nltk

from benchmarks.tools.worker import Finding, Job, serve

_TAGGER = "averaged_perceptron_tagger_eng"


class _PlainUnpickler(pickle.Unpickler):
    """Reads a pickle of plain values alone, so that none of its code can run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("__builtin__", "set"):
            return set
        if (module, name) == ("collections", "defaultdict"):
            return collections.defaultdict
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


def place_tagger() -> None:
    """Write NLTK's part-of-speech tagger from the pickle that it was ported from.

    Inseq downloads it at run time, from no package index. The perceptron of the package
    textblob-aptagger is its origin: the same three tables, in another format.
    """
    folder = Path(sys.prefix) / "nltk_data" / "taggers" / _TAGGER
    if folder.is_dir():
        return
    spec = importlib.util.find_spec("textblob_aptagger")
    if spec is None or spec.origin is None:
        raise SystemExit("textblob-aptagger is not installed")
    with (Path(spec.origin).parent / "trontagger-0.1.0.pickle").open("rb") as stream:
        weights, tags, classes = _PlainUnpickler(stream, encoding="latin1").load()
    draft = folder.with_suffix(".tmp")
    draft.mkdir(parents=True, exist_ok=True)
    tables = {"weights": weights, "tagdict": tags, "classes": sorted(classes)}
    for name, table in tables.items():
        (draft / f"{_TAGGER}.{name}.json").write_text(json.dumps(table), "utf-8")
    draft.rename(folder)


def load(folder: str) -> tuple[Any, Any, Any]:
    """The model, its tokenizer, and the attribution of one job."""
    place_tagger()
    nltk.download = lambda *_, **__: True  # it is in place
    tool = inseq.load_model(folder, "reagent")
    rationalizer = tool.attribution_method.method.rationalizer
    evaluator = rationalizer.importance_score_evaluator
    steps = 0
    update = evaluator.update_importance_score

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        steps += 1
        return update(*args, **kwargs)

    evaluator.update_importance_score = counted

    def attribute(job: Job) -> Finding:
        nonlocal steps
        steps = 0
        evaluator.max_steps = job.max_steps
        tool.attribute(job.prompt, job.prompt + job.answer, show_progress=False)
        # The mean over the probes that stopped; not a number when none did within the cap, and
        # then the mean over all is the nearest there is.
        stopped = int(evaluator.stop_mask.sum())
        mean = rationalizer.mean_importance_score if stopped else evaluator.importance_score.mean(0)
        return Finding(tuple(mean[: len(job.prompt_ids)].tolist()), steps, stopped)

    return tool.model, tool.tokenizer, attribute


if __name__ == "__main__":
    serve(load)
