"""How runs end: the words that records, checkpoints, studies and loggers hold."""

from enum import StrEnum
from typing import Literal, get_args


class Status(StrEnum):
    """How a run ended; equal to its word, and shown as that.

    A checkpoint holds the `value`, because it is read without classes of ours.
    """

    COMPLETED = "completed"
    EARLY_STOPPED = "early_stopped"
    DIVERGED = "diverged"
    PRUNED = "pruned"
    INTERRUPTED = "interrupted"
    FAILED = "failed"

    __repr__ = str.__repr__


Ended = Literal[Status.COMPLETED, Status.EARLY_STOPPED, Status.DIVERGED, Status.PRUNED]
# Groups that a word from a file can be looked up in, whatever it is.
ENDED: tuple[Ended, ...] = get_args(Ended)  # nothing is left to do
COMPLETE = (Status.COMPLETED, Status.EARLY_STOPPED)  # the objective has its value
BAD = (Status.DIVERGED, Status.FAILED)  # no good can come of the settings
