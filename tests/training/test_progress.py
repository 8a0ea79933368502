"""A run on a terminal, and in a pipe."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from src.training.progress import RunProgress

ROW: dict[str, Any] = {
    "epoch": 1,
    "samples": 50,
    "sample_in_epoch": 50,
    "batch_loss": 1.25,
    "train_loss": 1.5,
    "train_accuracy": 0.5,
    "test_loss": 1.75,
    "test_accuracy": 0.25,
    "train_seconds": 0.5,
}


def test_plain_lines_carry_what_the_originals_carried() -> None:
    console = Console(file=io.StringIO(), highlight=False, soft_wrap=True)
    with RunProgress(2, 100, console) as progress:
        progress.tick(10, 3.0)
        progress.row(ROW)
    assert console.file.getvalue() == (  # type: ignore[attr-defined]
        "epoch 1/2  sample 50/100  batch_loss 1.2500  train_loss 1.5000  train_accuracy 0.5000"
        "  test_loss 1.7500  test_accuracy 0.2500\n"
    )


@pytest.mark.parametrize("width", [80, 120])
def test_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    with RunProgress(2, 100, console) as progress:
        progress.tick(10, 3.0)
        progress.bar.refresh()
        assert "batch_loss 3.0000" in console.file.getvalue()  # type: ignore[attr-defined]
        progress.row(ROW)
        progress.bar.refresh()
        progress.row({**ROW, "epoch": 2, "samples": 100, "test_loss": 1.0625})
    above, below, *table = console.file.getvalue().splitlines()[-4:]  # type: ignore[attr-defined]
    above = re.sub(r"\x1b\[\w+", "", above)  # the bar's removal
    assert above.split() == ["batch", "train", "train", "test", "test"]
    names = ["epoch", "sample", "loss", "loss", "accuracy", "loss", "accuracy", "seconds"]
    assert below.split() == names
    values = ["1.2500", "1.5000", "0.5000", "1.7500", "0.2500", "0.50"]
    assert table[0].split() == ["1", "50", *values]
    assert table[1].split() == ["2", "50", *values[:3], "1.0625", *values[4:]]
    assert max(map(len, [above, below, *table])) <= width


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that a bar sees: the list's number."""
    monkeypatch.setenv("TERM", "xterm")
    now = [0.0]
    monkeypatch.setattr("src.training.progress.time.monotonic", lambda: now[0])
    return now


def test_the_bar_moves_between_rows(clock: list[float]) -> None:
    with RunProgress(2, 100, terminal()) as progress:
        (task,) = progress.bar.tasks
        assert (task.total, task.fields) == (200, {"epoch": "1/2", "losses": ""})
        progress.tick(30, 3.0)
        assert task.completed == 30
        assert task.fields == {"epoch": "1/2", "losses": "batch_loss 3.0000"}
        clock[0] = 0.19
        progress.tick(40, 3.5)  # too soon to be worth drawing
        assert task.completed == 30
        clock[0] = 0.2
        progress.tick(100, 3.5)
        assert (task.completed, task.fields["epoch"]) == (100, "1/2")
        clock[0] = 0.4
        progress.tick(101, 3.5)
        assert (task.completed, task.fields["epoch"]) == (101, "2/2")


def test_the_bar_shows_the_last_row(clock: list[float]) -> None:
    """And beside it the loss of the last batch."""
    with RunProgress(2, 100, terminal()) as progress:
        (task,) = progress.bar.tasks
        progress.row({**ROW, "samples": 150, "epoch": 2})
        assert (task.completed, task.fields["epoch"]) == (150, "2/2")
        rest = "train_loss 1.5000  train_accuracy 0.5000  test_loss 1.7500  test_accuracy 0.2500"
        assert task.fields["losses"] == f"batch_loss 1.2500  {rest}"
        progress.tick(160, 3.0)
        assert task.fields["losses"] == f"batch_loss 3.0000  {rest}"


def test_the_table_follows_the_bar(clock: list[float]) -> None:
    """The bar goes; the table has a line for each row, with numbers below one another."""
    with RunProgress(2, 100, terminal()) as progress:
        progress.row({name: ROW[name] for name in ROW if "test" not in name})
    *_, hidden, below, line = progress.console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert hidden.startswith("\x1b[1A\x1b[2K")  # one line up, and cleared
    assert below == " epoch  sample    loss    loss  accuracy  seconds "
    assert line == "     1      50  1.2500  1.5000    0.5000     0.50 "


def test_no_row_no_table(clock: list[float]) -> None:
    with RunProgress(2, 100, terminal()) as progress:
        pass
    assert "epoch  sample" not in progress.console.file.getvalue()  # type: ignore[attr-defined]


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet, count in [({"quiet": True}, 0), ({}, 1), ({"quiet": False}, 1)]:
        with RunProgress(2, 100, **quiet) as progress:
            progress.tick(10, 3.0)
            progress.row(ROW)
        assert len(capsys.readouterr().out.splitlines()) == count


def test_a_run_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "src.train", "trainer.epochs=2"]
    command.append(f"hydra.run.dir={tmp_path / 'terminal'}")
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "━" in text
    assert "val_accuracy" in text
    assert f"result: {tmp_path / 'terminal'}" in text
