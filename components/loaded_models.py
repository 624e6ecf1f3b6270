"""The models in memory: loaded behind the first page, their speed, and servers that answer.

Process-wide state: the models with their speed, what is being asked, and how far the last
estimates were off.
"""

from __future__ import annotations

import gc
import logging
import math
import threading
import time
from collections import deque
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING
from weakref import WeakSet

from reagent_core import models
from reagent_core.errors import ReagentError
from reagent_core.request import Request

if TYPE_CHECKING:
    from reagent_core.cost import Cost, Speed
    from reagent_core.scorers.base import Scorer

log = logging.getLogger(__name__)

# Importing torch keeps a core busy for seconds: it waits for the first page to be out, or for this
# long when nobody comes.
_WARM_UP_PATIENCE_S = 20.0
_page_is_out = threading.Event()
_warm_up: threading.Thread | None = None

# Models that have been in memory, and how fast they are here; None for those behind a server.
_speeds: dict[str, Speed | None] = {}

# Models that are being asked or loaded, and why others could not be, with the time of it.
_connecting: set[str] = set()
_unreachable: dict[str, tuple[float, str]] = {}
_UNREACHABLE_S = 20.0

# The models that the garbage collector need not look at.
_frozen: WeakSet[Scorer] = WeakSet()

# What the last runs took, as multiples of what they were said to take.
_errors: deque[float] = deque(maxlen=5)


def load_model(model_id: str) -> Scorer:
    """The model, loaded once as long as it stays in memory. Not for a page's own thread.

    Raises:
        ReagentError: it cannot be loaded; the sentence says why.
    """
    scorer = models.load(model_id)
    # A full garbage collection looks at every object, and torch and transformers bring very many.
    # Those that stay need not be looked at again. A model that leaves undoes this (`give_back`).
    if scorer not in _frozen:
        _frozen.add(scorer)
        gc.collect()
        gc.freeze()
    return scorer


def models_ready() -> bool:
    """Whether there is a model whose speed is known."""
    return bool(_speeds)


def measured(model_id: str) -> tuple[Scorer, Speed | None] | None:
    """The model and its speed (None behind a server), None while it is not ready to say."""
    scorer = models.in_memory(model_id) if model_id in _speeds else None
    return None if scorer is None else (scorer, _speeds[model_id])


def cost_of(request: Request) -> Cost | None:
    """What the run would cost, None while the model is not ready to say.

    Raises:
        ReagentError: there is no such run; the sentence says why.
    """
    found = measured(request.model)
    if found is None:
        return None
    scorer, speed = found
    from reagent_core.cost import estimate
    from reagent_core.prompt import build_prompt

    config = request.config
    prompt = build_prompt(request.prompt, scorer.tokenizer, config.granularity, request.protected)
    cost = estimate(prompt, request, scorer, speed)
    if cost.seconds is None:
        return cost
    return replace(cost, seconds=cost.seconds * _usual_error())


def learn_from(request: Request, seconds: float) -> None:
    """Take into account what a run took, for what is said of the next ones."""
    told = cost_of(request)
    if told is not None and told.seconds is not None:
        _errors.append(seconds / told.seconds * _usual_error())


def _usual_error() -> float:
    return median(_errors) if _errors else 1.0


def warm_up() -> None:
    """Load the bundled model in the background, so that the first run need not wait for it."""

    def load() -> None:
        import components.run_view  # noqa: F401  (what the first page is drawn with)

        _page_is_out.wait(_WARM_UP_PATIENCE_S)
        time.sleep(1.0)  # the browser draws it, often on the same machine
        try:
            import reagent_core.explain  # noqa: F401  (SciPy takes a second of its own)

            ready("bundled")
        except ReagentError as error:
            log.warning("%s", error)

    global _warm_up
    _warm_up = threading.Thread(target=load, name="warm-up", daemon=True)
    _warm_up.start()


def warming_up() -> bool:
    """Whether the bundled model is still being loaded and its speed measured."""
    return _warm_up is not None and _warm_up.is_alive()


def get_in_touch(model_id: str) -> str | None:
    """What a model can tell, or why it cannot be asked; None where it has not answered yet, or is
    being loaded.

    It is asked in the background, and again after a while where it did not answer.
    """
    found = measured(model_id)
    if found is not None:
        return str(found[0].capabilities)
    since, sentence = _unreachable.get(model_id, (-math.inf, ""))
    if time.monotonic() - since < _UNREACHABLE_S:
        return sentence
    if model_id not in _connecting:
        _connecting.add(model_id)

        def connect() -> None:
            try:
                ready(model_id)
            except ReagentError as error:
                _unreachable[model_id] = (time.monotonic(), str(error))
            except Exception:  # a defect; said in words, and not tried again every second
                log.exception("connecting to %s", model_id)
                _unreachable[model_id] = (time.monotonic(), "This server cannot be used.")
            finally:
                _connecting.discard(model_id)

        threading.Thread(target=connect, name="connect", daemon=True).start()
    return None


def ready(model_id: str) -> Scorer:
    """The model with its speed known. Not for a page's own thread.

    Raises:
        ReagentError: it cannot be loaded; the sentence says why.
    """
    scorer = load_model(model_id)
    if model_id not in _speeds:
        from reagent_core.cost import measure_speed

        _speeds[model_id] = None if scorer.requests_for(1, 1) else measure_speed(scorer)
    return scorer


def page_is_out() -> None:
    """Tell the warm-up that a first page has been drawn."""
    _page_is_out.set()
