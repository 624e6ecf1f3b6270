"""How long the notebook's file takes to import: `python -m benchmarks.importing`. No model.

The file is made as the notebook makes it, with RoBERTa tokens and five listed tokens a prompt; its
numbers are drawn at random.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.prompts import PROMPTS
from benchmarks.record import Row, save
from reagent_core.importing import read_explanation, read_file
from reagent_core.notebook_tokens import roberta_tokenizer
from reagent_core.store import Store

PROMPT = PROMPTS[12]  # 27 tokens
BYTES = 1_000_000

# In a process of its own: from the file to the id, with all that is loaded on the way.
_FIRST = """
import sys, time
from pathlib import Path
started = time.perf_counter()
from reagent_core.importing import read_file
from reagent_core.store import Store
store = Store(Path(sys.argv[2]))
store.add(read_file(Path(sys.argv[1])))
print(time.perf_counter() - started)
"""


def notebook_file(size: int, seed: int) -> bytes:
    """A file of the notebook of at least `size` bytes."""
    draw = np.random.default_rng(seed)
    tokenizer = roberta_tokenizer()
    if tokenizer is None:
        raise SystemExit("This needs a RoBERTa-compatible tokenizer: see the README.")
    tokens = [PROMPT[start:end] for start, end in tokenizer.spans([PROMPT])[0]]
    n = len(tokens)
    original = _listed([0.4, 0.2, 0.1, 0.05, 0.01])
    scores = np.zeros(n)
    rows: list[str] = []
    while sum(map(len, rows)) < size:
        replaced = np.sort(draw.choice(n, round(0.3 * n), replace=False))
        mask = np.isin(np.arange(n), replaced)
        drop = 0.9 if mask[5] else 0.2  # one token matters
        probability = float(0.4 * math.exp(-draw.exponential(drop)))
        modified = [
            draw.choice(tokens[1:]) if out else t for t, out in zip(tokens, mask, strict=True)
        ]
        change = 0.4 - probability
        signed = (np.where(mask, change, -change) + 1) / 2
        before = scores.tolist()
        scores = scores + np.where(mask, 0.7, 0.3) * np.log(signed / (1 - signed))
        weights = np.exp(scores - scores.max())
        rows.append(
            json.dumps(
                {
                    "iteration": len(rows),
                    "original_input": PROMPT,
                    "modified_input": "".join(modified),
                    "replaced_indices": replaced.tolist(),
                    "original_probs": original,
                    "modified_probs": _listed([probability, 0.3, 0.1, 0.05, 0.01]),
                    "prob_diff": change,
                    "scaled_delta_p": (change + 1) / 2,
                    "scaled_probs_diff_vect": signed.tolist(),
                    "logit_scores_before_logit_update": before,
                    "logit_scores_before_softmax": scores.tolist(),
                    "normalized_scores_after_softmax": (weights / weights.sum()).tolist(),
                }
            )
        )
    return f"[{','.join(rows)}]".encode()


def _listed(probabilities: list[float]) -> list[list[dict[str, object]]]:
    words = (" Bangkok", " Thailand", " the", " a", " my")
    return [[{"token": w, "prob": p} for w, p in zip(words, probabilities, strict=True)]]


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = []
        for seed in range(runs + 1):
            files.append(folder / f"iterations_data-{seed}.json")
            files[-1].write_bytes(notebook_file(BYTES, seed))
        first, command, reading, adding = [], [], [], []
        store = Store(folder / "store.sqlite3")
        environment = {**os.environ, "REAGENT_CACHE_DIR": str(folder / "cache")}
        explanation = read_explanation(files[-1].read_bytes(), "the file that warms up")
        store.add(explanation)
        for file in files[:-1]:
            started = time.perf_counter()
            found = read_file(file)
            read = time.perf_counter()
            store.add(found)
            reading.append(read - started)
            adding.append(time.perf_counter() - read)
            told = subprocess.run(
                [sys.executable, "-c", _FIRST, str(file), str(folder / f"{file.stem}.sqlite3")],
                check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
            first.append(float(told))
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "reagent_core.cli", "import", str(file)],
                check=True, capture_output=True, env=environment,
            )  # fmt: skip
            command.append(time.perf_counter() - started)
        store.close()
        size = files[0].stat().st_size
    rows: list[Row] = [
        {"what": "read, checked, effects and verdict computed (s)", "median": median(reading)},
        {"what": "put into the library (s)", "median": median(adding)},
        {
            "what": "both (s)",
            "goal": "1",
            "median": median(a + b for a, b in zip(reading, adding, strict=True)),
        },
        {"what": "both, the first file of a process (s)", "median": median(first)},
        {"what": "`reagent import FILE`, start to end (s)", "median": median(command)},
    ]
    notes = [
        f"A file of {size / 1e6:.2f} MB: {len(explanation.trace)} iterations of "
        f"{len(explanation.units)} tokens; {explanation.verdict.warnings[0]} Runs: {runs}, each "
        "with another file."
    ]
    save("importing", [{"what": "", "goal": "", **row} for row in rows], notes)


if __name__ == "__main__":
    main()
