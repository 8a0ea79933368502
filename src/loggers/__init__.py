"""Where else a run's rows go. A logger that fails warns once and never ends a run."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from src.config import Config, build


class Logger(Protocol):
    """What a logger must do; each class of this package does it for one library."""

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Open a run that belongs to `folder`; `config` is nested."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Take an evaluation."""

    def close(self, status: str) -> None:
        """End the run."""


class Loggers:
    """All of a run's loggers; each is left out after its first failure.

    Args:
        config: of the run; `config.logger` has one node per logger.
        folder: of the run.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        self.live: dict[str, Logger] = {}
        for name, settings in config.logger.items():
            logger = build(f"logger.{name}", settings, object)
            self.live[name] = logger  # type: ignore[assignment]
        values = config.model_dump()
        self._each(lambda logger: logger.start(folder, values))

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
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                print(f"warning: logger {name} failed and is left out: {reason}", file=sys.stderr)


def metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row but its counters."""
    counters = ("step", "epoch", "sample_in_epoch")
    return {name: float(value) for name, value in row.items() if name not in counters}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys."""
    items: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        items |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return items
