"""Where else a run's rows go. A logger that fails warns once and never ends a run."""

import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from src.results.status import Status
from src.targets import build


class Logger(Protocol):
    """What a logger must do; each class of this package does it for one library.

    The library is imported in `start`, since it is an optional extra.
    """

    def start(self, folder: Path, config: Mapping[str, Any], step: int) -> None:
        """Open what belongs to the run in `folder`.

        Args:
            folder: of the run.
            config: nested.
            step: after which rows will come; not 0 in a run that is resumed. Rows that were
                logged after it will come again.
        """

    def row(self, row: Mapping[str, Any]) -> None:
        """Take an evaluation."""

    def close(self, status: str) -> None:
        """End the run."""


class Loggers:
    """All of a run's loggers; each is left out after its first failure.

    Args:
        settings: `logger` of the config, one node per logger.

    Raises:
        InputError: a setting that a logger refuses.
    """

    def __init__(self, settings: Mapping[str, dict[str, Any]]) -> None:
        self.live: dict[str, Logger] = {}
        for name, node in settings.items():
            self.live[name] = build(f"logger.{name}", node, object)  # type: ignore[assignment]

    def start(self, folder: Path, config: Mapping[str, Any], step: int) -> None:
        self._each(lambda logger: logger.start(folder, config, step))

    def row(self, row: Mapping[str, Any]) -> None:
        self._each(lambda logger: logger.row(row))

    def close(self, status: str) -> None:
        self._each(lambda logger: logger.close(status))

    def _each(self, action: Callable[[Logger], None]) -> None:
        for name, logger in list(self.live.items()):
            try:
                action(logger)
            except Exception as error:  # whatever a library raises must not end a run
                del self.live[name]
                with suppress(Exception):  # it may hold files or a process
                    logger.close(Status.FAILED.value)
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                print(f"warning: logger {name} failed and is left out: {reason}", file=sys.stderr)


def metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row but its counters."""
    counters = ("step", "epoch", "sample_in_epoch")
    return {name: float(value) for name, value in row.items() if name not in counters}


def read_id(file: Path) -> str | None:
    """The library's name for this run, if an earlier start of it left one."""
    with suppress(OSError):
        text = file.read_text()
        return text if re.fullmatch(r"\w{1,64}", text) else None
    return None
