"""Models of the Hugging Face hub: what one is, whether it is on disk, and getting it.

What is on disk is used without asking the hub. Only what transformers reads is downloaded, and
only safetensors weights: other weight files can run code. No torch here.
"""

from __future__ import annotations

import errno
import functools
import math
import queue
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from reagent_core.errors import ModelError, UnknownModelError

T = TypeVar("T")

# No answer of the hub takes longer, name resolution and slow trickles included.
LOOK_UP_SECONDS = 8.0
_TIMEOUT_S = 5.0
_REMEMBERED_S = 60

_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_OTHERS = re.compile(r"[^/]+\.(json|txt|model|jinja)")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubModel:
    """A model as the hub describes it at one commit.

    `files`: name and bytes of each file that is needed. `parameters`: None where the hub does not
    say.
    """

    repo: str
    sha: str
    files: tuple[tuple[str, int], ...]
    parameters: int | None

    @property
    def download_bytes(self) -> int:
        """What all files take."""
        return sum(size for _, size in self.files)


def on_disk(repo: str, revision: str) -> Path | None:
    """The folder of this revision in the hub's cache, if it is complete there. No network.

    Its name is the commit.
    """
    from huggingface_hub import constants

    # The cache's own reader takes 0.2 s to import: a first page does not pay it for nothing.
    if not Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}").is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repo, "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    complete = _weights_complete(folder) and any((folder / name).is_file() for name in _TOKENIZERS)
    return folder if complete else None


def look_up(repo: str, revision: str) -> HubModel:
    """Ask the hub what this model is: within 8 s, and at most once a minute.

    Raises:
        UnknownModelError: the hub has no such model or revision.
        ModelError: the hub cannot be reached, or the model has no safetensors weights.
    """
    asked_at, found = _answers.get((repo, revision), (-math.inf, None))
    if found is None or time.monotonic() - asked_at > _REMEMBERED_S:
        found = _answer(repo, revision)
        _answers[repo, revision] = (time.monotonic(), found)
    if isinstance(found, ModelError):
        raise found.with_traceback(None)
    return found


def download(model: HubModel, revision: str) -> Path:
    """Get every file of `model` that is not on disk yet; returns their folder.

    Raises:
        ModelError: it cannot be had; the sentence says why and what to do.
    """
    from huggingface_hub import constants, hf_hub_download

    _check_disk(model, Path(constants.HF_HUB_CACHE))
    get = functools.partial(
        hf_hub_download, model.repo, etag_timeout=_TIMEOUT_S, tqdm_class=_quiet_bar()
    )
    try:
        paths = [Path(get(filename=name, revision=model.sha)) for name, _ in model.files]
        if not _COMMIT.fullmatch(revision):
            # Notes on disk which commit the revision is. Last, so that a download that was cut
            # off is not taken for a complete one.
            get(filename="config.json", revision=revision)
    except Exception as error:  # as many kinds as there are layers below
        raise _sentence(error, model.repo, revision) from error
    return paths[0].parent


def forget() -> None:
    """Ask anew at the next look-up: the network, the token or the hub is another one now."""
    _answers.clear()


# When which model was asked for, and the answer. A failure is remembered, too: pages ask at every
# redraw, and must not wait each time.
_answers: dict[tuple[str, str], tuple[float, HubModel | ModelError]] = {}


def _answer(repo: str, revision: str) -> HubModel | ModelError:
    try:
        return _described(repo, _within(LOOK_UP_SECONDS, lambda: _asked(repo, revision)))
    except ModelError as error:
        return error
    except Exception as error:  # as many kinds as there are layers below
        return _sentence(error, repo, revision)


def _asked(repo: str, revision: str) -> Any:
    from huggingface_hub import HfApi

    return HfApi().model_info(repo, revision=revision, timeout=_TIMEOUT_S, files_metadata=True)


def _described(repo: str, info: Any) -> HubModel:
    files = tuple(
        (file.rfilename, int(file.size or 0))
        for file in info.siblings or ()
        if _WEIGHTS.fullmatch(file.rfilename) or _OTHERS.fullmatch(file.rfilename)
    )
    names = {name for name, _ in files}
    if not any(_WEIGHTS.fullmatch(name) for name in names):
        raise ModelError(
            f"The model {repo} has no safetensors weights on the hub. Other weight files are not "
            "loaded, because they can run code. Load it elsewhere with transformers, write it to a "
            "folder with save_pretrained, and choose that folder."
        )
    if "config.json" not in names:
        raise ModelError(f"{repo} has no config.json on the hub, so it is no transformers model.")
    total = info.safetensors.total if info.safetensors else None
    return HubModel(repo, str(info.sha), files, total)


def _weights_complete(folder: Path) -> bool:
    from huggingface_hub import errors, get_local_safetensors_metadata

    try:
        get_local_safetensors_metadata(folder)  # opens every file of the index
    except (errors.NotASafetensorsRepoError, errors.SafetensorsParsingError, OSError, ValueError):
        return False
    return True


def _check_disk(model: HubModel, cache: Path) -> None:
    from rich.filesize import decimal

    existing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if model.download_bytes > free:
        raise ModelError(
            f"The model {model.repo} takes {decimal(model.download_bytes)} of disk, and "
            f"{decimal(free)} are free in {existing}. Free some, or name another folder in the "
            "environment variable HF_HUB_CACHE."
        )


def _within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises; TimeoutError when that takes longer. It is left to itself."""
    answer: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put((work(), None))
        except Exception as error:
            answer.put((None, error))

    threading.Thread(target=run, name="hub", daemon=True).start()
    try:
        value, error = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def _quiet_bar() -> Any:
    from huggingface_hub.utils import tqdm

    class Quiet(tqdm):
        """Draws nothing: what a page or the command line shows is theirs."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

    return Quiet


def _sentence(error: BaseException, repo: str, revision: str) -> ModelError:
    """What went wrong, for a person. Libraries wrap errors in others: the first known one counts"""
    from huggingface_hub import errors, get_token

    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) and len(chain) < 10:
        chain.append(below)

    def any_is(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in chain)

    page = f"https://huggingface.co/{repo}"
    if any_is(errors.GatedRepoError):
        token = "your token's account" if get_token() else "an account there"
        then = "try again" if get_token() else (
            "set the environment variable HF_TOKEN to an access token of it "
            "(https://huggingface.co/settings/tokens) and start again"
        )  # fmt: skip
        return ModelError(
            f"The model {repo} is gated: its licence must be accepted first. Accept it at {page} "
            f"with {token}, then {then}."
        )
    if any_is(errors.RepositoryNotFoundError, errors.HFValidationError):
        return UnknownModelError(
            f"The hub has no model {repo}, or it is private. Check the spelling; for a private "
            "model set the environment variable HF_TOKEN to an access token that may read it."
        )
    if any_is(errors.RevisionNotFoundError):
        return UnknownModelError(
            f"The model {repo} has no revision {revision!r}. Its branches and tags are listed at "
            f"{page}/tree/main."
        )
    if any_is(errors.OfflineModeIsEnabled):
        return ModelError(
            f"The model {repo} is not on disk, and HF_HUB_OFFLINE forbids to download it. Unset "
            "this environment variable, or choose another model."
        )
    full = [e for e in chain if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT)]
    if full:
        return ModelError(
            f"The disk is full: the model {repo} could not be downloaded. Free some space, or name "
            "another folder in the environment variable HF_HUB_CACHE."
        )
    answered = [each for each in chain if isinstance(each, errors.HfHubHTTPError)]
    if answered:
        status = answered[0].response.status_code
        hint = (
            "Check the access token in the environment variable HF_TOKEN."
            if status in (401, 403)
            else "Try again later, or choose a model that is on disk."
        )
        return ModelError(f"The hub refused to give {repo} (status {status}). {hint}")
    return ModelError(
        f"The model {repo} is not on disk, and the hub cannot be reached. Check the network, or "
        "choose a model that is on disk."
    )
