"""Reasons why trials fail: their settings, or something else."""

import errno
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from optuna.trial import TrialState

from src.errors import InputError
from src.files import full_disk, no_room, write_whole
from src.results.status import Status
from src.sweeping.storage import AWAY, ROOM, unusable
from src.sweeping.study import Outcome

OUT_OF_MEMORY = "out of memory"
# Words of the allocators that raise a plain RuntimeError; the last is of sizes beyond any memory.
NO_MEMORY = (
    *("out of memory", "not enough memory", "can't allocate memory", "bad_alloc"),
    *("alloc_failed", "storage size calculation overflowed"),
)


def failure(error: Exception, folder: Path) -> Outcome:
    """The outcome of a trial that raised an error; the traceback is written to `error.txt`.

    A trial that fails by its settings would fail again, so it counts, as a bad point.

    Raises:
        OSError: a disk is full, so the trial isn't to blame.
    """
    if full := full_disk(error) or no_room(folder):
        full.filename = full.filename or str(folder)
        raise full
    text = "".join(traceback.format_exception(error))
    with suppress(OSError):  # the database holds the end of it, too
        write_whole(folder / "error.txt", text.encode())
    settings_error = by_settings(error)
    reason = settings_error or f"{type(error).__name__}: {error}"
    facts = {
        "status": Status.FAILED.value,
        "error": text[-2000:],  # a database column should stay short
        "reason": _line(reason)[:300],
    }
    return Outcome(TrialState.PRUNED if settings_error else TrialState.FAIL, None, facts)


def by_settings(error: Exception) -> str | None:
    """Why the trial would fail again with these settings; None if they aren't to blame.

    A class raises ValueError for a setting that it refuses, sometimes only in a step.
    """
    causes = list(_causes(error))
    if any(_is_memory(cause) for cause in causes):
        return OUT_OF_MEMORY
    elsewhere = any(isinstance(cause, (OSError, *AWAY)) for cause in causes)
    if elsewhere or not isinstance(error, ValueError):
        return None
    root_text, text = _line(str(causes[-1])), _line(str(error))
    return root_text if root_text and text.endswith(root_text) else text or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in NO_MEMORY)


def cannot_go_on(error: Exception, folder: Path, url: str) -> InputError:
    """The error that ends a sweep, in one line that names the disk or the database."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, AWAY) or not isinstance(error, OSError):
        return unusable(error, url)
    room = f"; {ROOM}" if full_disk(error) else ""
    return InputError(f"{error.filename or folder}: {error.strerror or error}{room}")


def _line(text: str) -> str:
    return " ".join(text.split())
