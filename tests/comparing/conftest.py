"""Comparisons in this process: their searches run here too, not as commands of their own."""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Session

SMALL = ("methods=[sgd,adam]", "model=logreg", "trainer.epochs=1", "trainer.threads=1",
         "protocol.n_trials=2", "protocol.seeds=2", "pruner=none")  # fmt: skip


class Here:
    """Stands in for the process of a search: has ended when it is made."""

    def __init__(self, command: list[str], log: Path) -> None:
        from src.errors import InputError
        from src.train import job

        sys.argv = command[1:]  # without -m
        self.status, said = 0, io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                job()
            except SystemExit as leaving:
                assert isinstance(leaving.__cause__, InputError)
                print(f"error: {leaving.__cause__}")
                self.status = 1
        log.write_text(said.getvalue())

    def poll(self) -> int:
        return self.status


@pytest.fixture
def compared(session: Session, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Calls `src.compare.compare` with a small budget; returns its result and its folder."""
    from src import compare
    from src.config import register

    outputs = session.folder / "outputs"
    monkeypatch.setattr("src.compare.OUTPUTS", outputs)
    monkeypatch.setattr(
        "src.comparing.searching.Searches._start", lambda self, command, log: Here(command, log)
    )
    monkeypatch.setattr("src.reporting.figures_paper.save", lambda figure, folder: None)  # slow
    monkeypatch.setattr(sys, "argv", ["compare"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    register()

    def call(*overrides: str) -> tuple[dict[str, Any], Path]:
        found = compare.compare([*SMALL, *overrides])
        folder = outputs / "comparisons" / found["name"]
        assert (folder / "report.html").is_file()
        return found, folder

    return call


def runs_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
