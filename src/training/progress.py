"""The progress of a run: a bar and a table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, SupportsFloat

from rich.console import Console
from rich.progress import BarColumn, TimeRemainingColumn
from rich.table import Table

from src.console import bar, print_line, stdout
from src.metrics import is_metric

TICK_SECONDS = 0.2


class RunProgress:
    """Shows the rows of one run as they come.

    Args:
        epochs: of the run.
        samples: training samples in an epoch.
        console: where to; standard output by default.
        quiet: show nothing.
    """

    def __init__(
        self,
        epochs: int,
        samples: int,
        console: Console | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        self.console = console or stdout(quiet=quiet)
        self.epochs, self.samples = epochs, samples
        self.rows: list[Mapping[str, Any]] = []
        self.next_tick = 0.0
        epoch, losses = "epoch {task.fields[epoch]}", "{task.fields[losses]}"
        columns = (epoch, BarColumn(), TimeRemainingColumn(), losses)
        self.bar = bar(self.console, *columns, transient=True)
        self.task = self.bar.add_task("", total=epochs * samples, epoch=f"1/{epochs}", losses="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()
        if self.console.is_terminal and self.rows:
            self.console.print(_table(self.rows))

    def tick(self, samples: int, loss: SupportsFloat) -> None:
        """Move the bar between rows, a few times a second; `loss` is that of the last batch."""
        now = time.monotonic()
        if not self.console.is_terminal or now < self.next_tick:
            return
        self.next_tick = now + TICK_SECONDS
        row = self.rows[-1] if self.rows else {}
        epoch = (samples - 1) // self.samples + 1
        self._move(samples, epoch, {**row, "batch_loss": float(loss)})

    def row(self, row: Mapping[str, Any]) -> None:
        """Show one evaluation."""
        if self.console.quiet:  # what is drawn for nobody takes longer than a step
            return
        self.rows.append(row)
        self._move(row["samples"], row["epoch"], row)
        epoch = f"{row['epoch']}/{self.epochs}"
        sample = f"{row['sample_in_epoch']}/{self.samples}"
        print_line(self.console, f"epoch {epoch}  sample {sample}  {_values(row)}")

    def _move(self, samples: int, epoch: int, row: Mapping[str, Any]) -> None:
        position = f"{epoch}/{self.epochs}"
        self.bar.update(self.task, completed=samples, epoch=position, losses=_values(row))


def _shown(row: Mapping[str, Any]) -> list[str]:
    return ["batch_loss", *filter(is_metric, row)]


def _values(row: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {_number(row[name])}" for name in _shown(row))


def _number(value: float) -> str:
    """Four decimals, unless they would say nothing, or too much."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3g}"


def _table(rows: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None)
    names = _shown(rows[0])
    for heading in ("epoch", "sample", *names, "seconds"):
        table.add_column(
            heading.replace("_", "\n"), justify="right"
        )  # narrow enough for 80 columns
    for row in rows:
        values = (_number(row[name]) for name in names)
        sample = str(row["sample_in_epoch"])
        table.add_row(str(row["epoch"]), sample, *values, f"{row['train_seconds']:.2f}")
    return table
