"""The two sides of a comparison: ours here, the other tool in an environment of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

from benchmarks.tools.worker import Finding, Job, Outcome
from reagent_core import bundled
from reagent_core.config import Config
from reagent_core.explain import explain_now
from reagent_core.explanation import Explanation
from reagent_core.request import AnswerTokens, Request, WholeAnswer
from reagent_core.scorers.base import Scorer

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".bench"

# Those that we run, so that the tool alone differs.
_SHARED = ("torch", "transformers")


def python_of(name: str, packages: Sequence[str], bare: Sequence[str] = ()) -> Path:
    """The interpreter of the environment `.bench/NAME`, made on first use (minutes, 2 GB).

    `bare` are installed without what they depend on. An environment that was made for other
    packages is made anew.
    """
    folder = FOLDER / name
    python = folder / "bin" / "python"
    shared = [f"{package}=={version(package)}".partition("+")[0] for package in _SHARED]
    done, wanted = folder / "packages.json", [*shared, *packages, *bare]
    if done.is_file() and json.loads(done.read_text("utf-8")) == wanted:
        return python
    print(f"Making the environment {folder.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)

    def install(*arguments: str) -> None:
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
        # From elsewhere than the project's root, where pip would take our package for installed.
        subprocess.run([*pip, *arguments], cwd=FOLDER, check=True)

    install(shared[0])  # alone and first: it decides which build
    install(*shared, *packages)
    if bare:
        install("--no-deps", *bare)
    done.write_text(json.dumps(wanted), "utf-8")
    return python


class Tool:
    """Another tool in a process that keeps its model loaded and runs one job at a time.

    `name` is that of `benchmarks/tools/NAME_tool.py`; what it prints is kept in
    `.bench/NAME.log`.
    """

    def __init__(self, name: str, packages: Sequence[str], bare: Sequence[str] = ()) -> None:
        python = python_of(name, packages, bare)
        self._log = FOLDER / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-m", f"benchmarks.tools.{name}_tool", bundled.prepared_folder()],
                cwd=ROOT,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        self._read()  # "ready"

    def run(self, job: Job) -> Outcome:
        """Run one job; the process ends, and so does this one, if its model is not ours."""
        assert self._process.stdin is not None
        print(json.dumps(dataclasses.asdict(job)), file=self._process.stdin, flush=True)
        reply = json.loads(self._read())
        return Outcome(finding=Finding(**reply.pop("finding")), **reply)

    def __enter__(self) -> Tool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        if error is not None:
            self._process.kill()
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            tail = self._log.read_text("utf-8", "replace").splitlines()[-20:]
            raise SystemExit("\n".join(["The tool ended:", *tail]))
        return line


def job_for(prompt: str, answer_tokens: int, scorer: Scorer) -> Job:
    """The job of explaining the model's own answer of `answer_tokens` tokens."""
    shortest = Config(probes=1, min_steps=1, max_steps=1)
    explanation = _explain(prompt, answer_tokens, shortest, scorer)
    answer_ids = tuple(token.token_id for token in explanation.answer_tokens)
    if len(answer_ids) != answer_tokens:
        raise SystemExit(f"the model answers with {len(answer_ids)} tokens: {prompt!r}")
    return Job(
        prompt=prompt,
        prompt_ids=tuple(scorer.tokenizer.encode(prompt, add_special_tokens=True).token_ids),
        answer=explanation.answer,
        answer_ids=answer_ids,
        log_probability=explanation.target.value,
    )


def ours(job: Job, config: Config, scorer: Scorer) -> Outcome:
    """Our side of a job: a request to its end, which generates the answer too.

    The scores are the effects, for a published setting (one that starts at random) its softmax
    scores. `steps` are those of all probes together; the work is what `Counts` covers.
    """
    config = config.model_copy(update={"seed": job.seed})
    started = time.perf_counter()
    explanation = _explain(job.prompt, len(job.answer_ids), config, scorer)
    seconds = time.perf_counter() - started
    published = config.init == "uniform"
    scores = [unit.score if published else unit.effect for unit in explanation.units]
    return Outcome(
        finding=Finding(
            # A unit that too few steps tell of ranks last.
            scores=tuple(float("-inf") if score is None else score for score in scores),
            steps=len(explanation.trace),
            probes_stopped=explanation.verdict.probes_stopped,
        ),
        seconds=seconds,
        forwards=explanation.counts.forwards,
        sequences=explanation.counts.sequences,
        tokens=explanation.counts.tokens,
    )


def _explain(prompt: str, answer_tokens: int, config: Config, scorer: Scorer) -> Explanation:
    target = WholeAnswer() if answer_tokens > 1 else AnswerTokens()
    request = Request(prompt=prompt, target=target, max_new_tokens=answer_tokens, config=config)
    return explain_now(request, scorer)
