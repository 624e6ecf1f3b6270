"""Replicas that go wrong on purpose. Ray's workers import them from here."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil

from reagent_core.errors import Interrupted
from reagent_core.request import ModelInfo
from reagent_core.study.plan import Task
from reagent_core.study.ray_engine import Replica
from reagent_core.study.work import Worked
from tests.tiny import TinyScorer
from tests.waiting import until


class Tiny(Replica):
    """Has the tiny model for every name that begins with "tiny"."""

    def load(self, model: str) -> ModelInfo | str:
        if not model.startswith("tiny"):
            return super().load(model)
        self._scorer = TinyScorer()
        return self._scorer.info


class Deadly(Tiny):
    """Dies of row 1."""

    def work(self, task: Task) -> Worked:
        if task.row == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().work(task)


class Slow(Tiny):
    """Takes a minute for every row from the third on."""

    def work(self, task: Task) -> Worked:
        time.sleep(60 if task.row >= 2 else 0)
        return super().work(task)


class Troubled(Deadly):
    """Cannot ask the model "tiny server" either."""

    def work(self, task: Task) -> Worked:
        if task.model == "tiny server":
            raise Interrupted("The server is lost.")
        return super().work(task)


class OtherWeights(Tiny):
    """Each says that it has weights of its own; the model is a folder, where each leaves its
    number. Works once only one of two is left."""

    def load(self, model: str) -> ModelInfo | str:
        self._scorer = TinyScorer()
        Path(model, str(os.getpid())).touch()
        return ModelInfo(id="tiny", revision_or_sha256=str(os.getpid()))

    def work(self, task: Task) -> Worked:
        def one_left() -> bool:
            numbers = [int(file.name) for file in Path(task.model).iterdir()]
            return len(numbers) >= 2 and sum(map(psutil.pid_exists, numbers)) <= 1

        until(one_left)
        return super().work(task)
