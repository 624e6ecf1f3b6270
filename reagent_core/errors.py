"""The one family of exceptions the library raises on purpose.

Every message is a sentence for a person: what is wrong and what to do about it.
Pages and the command line show it as it is; anything outside this family is a defect.
"""

from __future__ import annotations


class ReagentError(Exception):
    """Base of every error this library raises on purpose."""


class InputError(ReagentError):
    """Something the user typed or chose cannot be used.

    `field` names the input it belongs to, so a page can show the sentence next to it:
    "prompt", "system", "target", "model", "settings" or "file".
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class ModelError(ReagentError):
    """A model cannot be found, loaded or run."""


class UnknownModelError(InputError, ModelError):
    """The model named is none that can be had: bad input to a page, a model that cannot be found
    to a caller of the library. Its `field` is "model"."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "model")


class Cancelled(ReagentError):
    """The caller asked for the work to stop before there was anything to keep."""


class Interrupted(ModelError):
    """The model cannot be asked any more, for now: a server was lost, or a budget is spent.

    What was found until then is worth keeping, and the same run may be taken up again.
    """


class OutOfMemory(ModelError):
    """A batch did not fit into memory; half of it may."""
